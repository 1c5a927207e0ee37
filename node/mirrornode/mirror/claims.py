"""Files that this node is fetching from an origin alone: claims, so that a team does that once.

Machines that start one job together ask for the same model at the same moment. Only the hash of the
whole can prove bytes that an origin sends, so they cannot be shared leaf by leaf as what peers
bring. Instead one node fetches, and the others read along from it as they would from the origin,
and check the whole at their own end.

Who fetches: the node that fetches already; among those that are only asking, the one with the
lowest peer id. A claim is made before anybody is asked, so of two that ask each other at least one
sees the other's. Format: docs/formats/ticket.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from mirrornode.wire.ticket import Arriving

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.routing.find import Found

SILENCE_S = 30.0  # without a byte, readers are let go
LOOK_AGAIN_S = 0.02


class Arrival(Protocol):
    """Bytes that arrive, read from any thread."""

    def arrived_until(self, offset: int) -> int:
        """Return the end of what has arrived from `offset` on; `offset` when nothing has."""

    def open_part(self) -> int:
        """Open them for reading.

        Raises:
            StoreError: They are not there.
        """


class Claim:
    """One file that this node fetches, or is about to."""

    def __init__(self, cid: Cid, size_bytes: int) -> None:
        self.cid = cid
        self.size_bytes = size_bytes
        self.arrival: Arrival | None = None  # None until bytes can come
        self.is_fetching = False  # False while it only asks who else fetches
        self.is_over = False

    def wait(self, start: int) -> int:
        """Wait for bytes from `start` on; blocking.

        Returns:
            The end of what can be read now; `start` when the claim is over, or nothing came for
            `SILENCE_S`.
        """
        deadline = time.monotonic() + SILENCE_S
        while True:
            arrival, is_over = self.arrival, self.is_over
            end = arrival.arrived_until(start) if arrival is not None else start
            if end > start or is_over or time.monotonic() > deadline:
                return end
            time.sleep(LOOK_AGAIN_S)


class Claims:
    """All claims of a node, by the raw CID of the file's SHA-256. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[bytes, Claim] = {}

    def begin(self, cid: Cid, size_bytes: int) -> Claim:
        """Claim a file; whoever does must `end` it."""
        claim = Claim(cid, size_bytes)
        with self._lock:
            self._claims[cid.multihash] = claim
        return claim

    def end(self, claim: Claim) -> None:
        """Withdraw a claim; readers are cut off, unless all of the file is there by then."""
        with self._lock:
            claim.is_over = True
            if self._claims.get(claim.cid.multihash) is claim:
                del self._claims[claim.cid.multihash]

    def find(self, multihash: bytes) -> Claim | None:
        """Return the claim of a file, None when there is none."""
        with self._lock:
            return self._claims.get(multihash)

    def arriving(self, asked: Sequence[Cid]) -> tuple[Arriving, ...]:
        """Return what a peer is told of the asked CIDs."""
        found = [(cid, self.find(cid.multihash)) for cid in asked]
        return tuple(
            Arriving(cid, claim.size_bytes, is_fetching=claim.is_fetching)
            for cid, claim in found
            if claim is not None
        )


def choose_leader(
    found: Sequence[Found], cid: Cid, size_bytes: int, own_id: str, is_bad: Callable[[str], bool]
) -> Found | None:
    """Return the peer to read along from; None when this node is the one to fetch.

    Args:
        is_bad: Tells by peer id who is not to be followed any more.
    """
    claims = [
        (not arriving.is_fetching, one.peer_id, one)
        for one in found
        for arriving in one.ticket.arriving
        if arriving.cid == cid and arriving.size_bytes == size_bytes and not is_bad(one.peer_id)
    ]
    for is_asking, peer_id, one in sorted(claims, key=lambda claim: claim[:2]):
        if not is_asking or peer_id < own_id:
            return one
    return None

"""A peer that speaks bitswap as a source: leaves of a file by their CIDs, single blocks.

All lanes share one conversation, and with it one window: more lanes do not ask for more at a time,
they only hash and write side by side. A lane asks for its whole run at once, so that leaves are
under way while earlier ones are taken.
Spec: bitswap 1.2.0.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from mirrornode.content.leaf_form import leaf_block_size, leaf_prefix, leaf_suffix
from mirrornode.errors import CidMismatch, SourceGone, SourceRefused

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.sources.bitswap_client import Claims, Conversation
    from mirrornode.sources.ports import FileOfTransfer, Pace

LANES: Final = 3
NODE_BYTES: Final = 64 * 1024  # about what an inner node has: their sizes are not known before
LIFE_BYTES: Final = 4096  # `received_bytes` changes with each so many bytes of the peer
LIFE_VALUES: Final = 2048


class BitswapSource:
    """One peer; safe to use from several threads."""

    def __init__(self, peer_id: str, talk: Callable[[str], Conversation]) -> None:
        """Prepare.

        Args:
            talk: Returns the conversation with a peer, another one when the peer was away.
        """
        self.peer_id = peer_id
        self.source_id = f"bitswap:{peer_id}"
        self._talk = talk
        self.max_lanes = LANES
        self.max_batch = 0
        self._lock = threading.Lock()
        self._fetching: set[Claims] = set()

    def open_lane(self) -> BitswapLane:
        """Return a lane; it asks for nothing before its first run."""
        return BitswapLane(self)

    def conversation(self) -> Conversation:
        """Return the conversation of now."""
        return self._talk(self.peer_id)

    def fetch_blocks(self, cids: Sequence[Cid]) -> list[bytes | None]:
        """Return the unverified bytes of each block, None where the peer lacks it."""
        claims = self.conversation().claim([(cid, NODE_BYTES) for cid in cids], keeps=True)
        with self._lock:
            self._fetching.add(claims)
        try:
            return [_take_or_none(claims, cid) for cid in cids]
        finally:
            with self._lock:
                self._fetching.discard(claims)
            claims.release()

    def abort_fetches(self) -> None:
        """Break off every `fetch_blocks` that is going on."""
        with self._lock:
            fetching = list(self._fetching)
        for claims in fetching:
            claims.abort()


class BitswapLane:
    """One run after the other of what a peer is asked for."""

    def __init__(self, source: BitswapSource) -> None:
        self._source = source
        self._lock = threading.Lock()  # guards _claims, which `abort` wakes from any thread
        self._claims: Claims | None = None
        self._file: FileOfTransfer | None = None
        self._next = 0
        self._skip_bytes = 0
        self._pace: Pace | None = None

    def set_pace(self, pace: Pace) -> None:
        """See `PacedLane.set_pace`."""
        self._pace = pace

    @property
    def received_bytes(self) -> int:
        """See `Lane.received_bytes`.

        Only a sign of life: what arrives is for all lanes, and not in the leaf's buffer yet. It
        never changes by so much that a part of the buffer would be taken for filled.
        """
        return self._source.conversation().received_bytes // LIFE_BYTES % LIFE_VALUES

    def begin(self, file: FileOfTransfer, first: int, stop: int, skip_bytes: int = 0) -> None:
        """Ask for the leaves `[first, stop)`; see `Lane.begin`."""
        self.end()
        self._file, self._next, self._skip_bytes = file, first, skip_bytes
        file_map = file.map
        claims = self._source.conversation().claim(
            [
                (
                    file_map.leaf_cid(leaf),
                    leaf_block_size(file_map.leaf_form, file_map.lengths[leaf]),
                )
                for leaf in range(first, stop)
            ]
        )
        with self._lock:
            self._claims = claims

    def read_leaf(self, view: memoryview) -> None:
        """Fill `view` with the next leaf of the run."""
        claims = self._claims
        if claims is None or self._file is None:
            raise SourceGone("broken off", source_id=self._source.source_id)
        file_map = self._file.map
        cid = file_map.leaf_cid(self._next)
        self._next += 1
        skip_bytes, self._skip_bytes = self._skip_bytes, 0
        length = skip_bytes + len(view)
        prefix = leaf_prefix(file_map.leaf_form, length)
        suffix = leaf_suffix(file_map.leaf_form, length)
        with memoryview(claims.take(cid)) as block:
            if len(block) != len(prefix) + length + len(suffix):
                raise SourceRefused("has a leaf of another size", source_id=self._source.source_id)
            start, stop = len(prefix), len(prefix) + length
            if block[:start] != prefix or block[stop:] != suffix:
                raise CidMismatch(cid, "not the wrapping of a leaf")
            view[:] = block[start + skip_bytes : stop]
        if self._pace is not None:
            for at in range(0, length, self._pace.piece_bytes):
                part = min(self._pace.piece_bytes, length - at)
                self._pace.wait(part, lambda: claims.is_aborted)

    def end(self) -> None:
        """Give up what was not read of the run."""
        with self._lock:
            claims, self._claims = self._claims, None
        if claims is not None:
            claims.release()

    def abort(self) -> None:
        """Wake the thread that waits in `read_leaf`; the lane may be used again."""
        with self._lock:
            claims = self._claims
        if claims is not None:
            claims.abort()


def _take_or_none(claims: Claims, cid: Cid) -> bytes | None:
    try:
        return bytes(claims.take(cid))
    except SourceRefused as exc:
        if exc.status != 404:
            raise
        return None

"""One iterative lookup: whom to ask next on the way to a key, and when to stop.

A state machine without I/O: it hands out peers to ask (at most `alpha` open at a time), is told
what came back, and is finished when the `beta` nearest peers that are not known to be dead have
all answered, when nobody is left, or when its budget of queries is spent. What is asked
(FIND_NODE, GET_PROVIDERS) and of which answers records are taken is the caller's business.

Every number a hostile peer could inflate is bounded: queries, candidates kept, and candidates one
answer may add.

Driven by: `routing.kad.node`. Spec: libp2p kad-dht, "Peer routing"; Amino: alpha 10, beta 3.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from mirrornode.routing.kad.keys import peer_kad_id
from mirrornode.routing.kad.table import K


@dataclass(frozen=True, slots=True)
class LookupLimits:
    """Shape and bounds of a lookup."""

    k: int = K  # candidates that matter, and the most one answer may add
    alpha: int = 10  # queries open at a time
    beta: int = 3  # the nearest this many must have answered
    max_queries: int = 128  # 10,000 servers need some 40
    max_candidates: int = 512  # kept in mind; beyond, the farthest unasked are forgotten


class _State(Enum):
    HEARD = 0
    ASKED = 1
    ANSWERED = 2
    FAILED = 3


class Lookup:
    """The state of one lookup.

    Args:
        target: Place of the key looked for.
        seeds: Where to begin, usually the k nearest of the routing table.
        own_peer_id: Never asked, never a result.
        limits: Bounds.
    """

    def __init__(
        self,
        target: int,
        seeds: Iterable[str],
        *,
        own_peer_id: str,
        limits: LookupLimits | None = None,
    ) -> None:
        self._target = target
        self._own_peer_id = own_peer_id
        self._limits = limits or LookupLimits()
        self._states: dict[str, _State] = {}
        self._order: list[tuple[int, str]] = []  # (distance, peer), nearest first, all states
        self._open = 0
        self.queries = 0
        self._hear(seeds)

    @property
    def finished(self) -> bool:
        """Whether no more queries will be handed out; open ones may be dropped."""
        if self._nearest_have_answered():
            return True
        if self._open:
            return False
        return self.queries >= self._limits.max_queries or not self._unasked(1)

    def next_queries(self) -> list[str]:
        """Return peers to ask now; each must be answered by `answered` or `failed`."""
        if self._nearest_have_answered():
            return []
        limits = self._limits
        room = min(limits.alpha - self._open, limits.max_queries - self.queries)
        chosen = self._unasked(room)
        for peer_id in chosen:
            self._states[peer_id] = _State.ASKED
        self._open += len(chosen)
        self.queries += len(chosen)
        return chosen

    def answered(self, peer_id: str, closer: Iterable[str]) -> None:
        """Take an answer; only its first k peers are looked at."""
        self._close(peer_id, _State.ANSWERED)
        self._hear(peer for _, peer in zip(range(self._limits.k), closer, strict=False))

    def failed(self, peer_id: str) -> None:
        """Note that an asked peer did not answer, or not sensibly."""
        self._close(peer_id, _State.FAILED)

    def closest(self) -> list[str]:
        """Return the peers not known to be dead, nearest to the target first.

        Those beyond the `beta` nearest may not have been asked.
        """
        return [peer for _, peer in self._order if self._states[peer] is not _State.FAILED]

    def _close(self, peer_id: str, state: _State) -> None:
        if self._states.get(peer_id) is not _State.ASKED:
            raise ValueError(f"{peer_id} was not asked")
        self._states[peer_id] = state
        self._open -= 1

    def _hear(self, peers: Iterable[str]) -> None:
        for peer_id in peers:
            if peer_id == self._own_peer_id or peer_id in self._states:
                continue
            self._states[peer_id] = _State.HEARD
            insort(self._order, (peer_kad_id(peer_id) ^ self._target, peer_id))
        excess = len(self._order) - self._limits.max_candidates
        if excess > 0:
            self._forget_farthest(excess)

    def _forget_farthest(self, count: int) -> None:
        unasked = [entry for entry in self._order if self._states[entry[1]] is _State.HEARD]
        forgotten = set(unasked[len(unasked) - count :] if count < len(unasked) else unasked)
        self._order = [entry for entry in self._order if entry not in forgotten]
        for _, peer_id in forgotten:
            del self._states[peer_id]

    def _unasked(self, count: int) -> list[str]:
        """Return the nearest peers not asked yet among the k nearest living ones."""
        chosen: list[str] = []
        living = 0
        for _, peer_id in self._order:
            state = self._states[peer_id]
            if state is _State.FAILED:
                continue
            if len(chosen) >= count or living == self._limits.k:
                break
            living += 1
            if state is _State.HEARD:
                chosen.append(peer_id)
        return chosen

    def _nearest_have_answered(self) -> bool:
        answered = 0
        for _, peer_id in self._order:
            state = self._states[peer_id]
            if state is _State.ANSWERED:
                answered += 1
                if answered == self._limits.beta:
                    return True
            elif state is not _State.FAILED:
                return False
        return False  # fewer than beta are alive: go on until nobody is left to ask

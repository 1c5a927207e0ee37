"""Rate limits: how many bytes may move now, and whose turn it is. Pure: the time is an argument.

Driven by: `transfer.pacing`, under its lock; by the tests in virtual time.

`TokenBucket` holds a rate; waiting is the caller's. `FairTurns` shares one rate among peers: turns
go round the peers that ask, not their connections, so sixteen connections get what one gets. A
small request goes before large ones as long as its peer has not had much more than its share.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

BURST_S: Final = 0.1  # seconds of a rate that may go at once: a limit is smooth within that
PIECE_S: Final = 0.02  # seconds of a rate that one piece carries
MIN_PIECE_BYTES: Final = 1024
MAX_PIECE_BYTES: Final = 1 << 20
SMALL_BYTES: Final = 256 * 1024  # an answer up to this is not left behind large ones
SMALL_AHEAD_BYTES: Final = 1 << 20  # how far beyond its share a peer's small answers go first
MAX_KNOWN_PEERS: Final = 1024  # whose shares are remembered while they ask for nothing


def piece_bytes(rate_bytes_per_s: float) -> int:
    """Return how large the pieces are in which a limited rate is used up."""
    return int(max(MIN_PIECE_BYTES, min(MAX_PIECE_BYTES, rate_bytes_per_s * PIECE_S)))


class TokenBucket:
    """A rate in bytes a second: in any time `t` at most `rate * t + burst` bytes."""

    def __init__(self, rate_bytes_per_s: float, now: float) -> None:
        self._rate = rate_bytes_per_s
        self._burst = max(rate_bytes_per_s * BURST_S, float(MIN_PIECE_BYTES))
        self._level = self._burst
        self._at = now

    def wait_s(self, size_bytes: int, now: float) -> float:
        """Return the seconds until `size_bytes` may be taken; 0 when they may now."""
        missing = min(size_bytes, self._burst) - self._level_at(now)
        return max(0.0, missing / self._rate)

    def take(self, size_bytes: int, now: float) -> None:
        """Use up `size_bytes`; what was not there yet is owed by whoever comes next."""
        self._level = self._level_at(now) - size_bytes
        self._at = max(self._at, now)

    def reserve(self, size_bytes: int, now: float) -> float:
        """Take `size_bytes` for a caller that waits so many seconds as are returned."""
        wait = self.wait_s(size_bytes, now)
        self.take(size_bytes, now)
        return wait

    def _level_at(self, now: float) -> float:
        return min(self._burst, self._level + max(0.0, now - self._at) * self._rate)


@dataclass(slots=True, eq=False)
class Turn:
    """One piece that a connection of `peer` wants to send.

    Attributes:
        is_small: It belongs to an answer of at most `SMALL_BYTES`.
        wake: For the driver: called once the turn has come.
    """

    peer: str
    size_bytes: int
    is_small: bool
    wake: Callable[[], None]


@dataclass(slots=True)
class _Asker:
    """One peer: what it used, and what it waits for."""

    used: float  # bytes, on the common clock of `FairTurns`: who has used least is next
    bucket: TokenBucket | None
    small: deque[Turn] = field(default_factory=deque)
    large: deque[Turn] = field(default_factory=deque)

    def first(self) -> Turn | None:
        return self.small[0] if self.small else self.large[0] if self.large else None


class FairTurns:
    """Whose piece goes next: the peer's that has used least, within the rates.

    Not thread-safe; at most one turn for each connection of the node waits here.
    """

    def __init__(self, rate_bytes_per_s: float, rate_per_peer: float, now: float) -> None:
        """Begin; a rate of 0 is no limit."""
        self._bucket = TokenBucket(rate_bytes_per_s, now) if rate_bytes_per_s else None
        # A peer that is between two pieces keeps its place for so many bytes.
        self._patience_bytes = rate_bytes_per_s * BURST_S
        self._rate_per_peer = rate_per_peer
        self._askers: dict[str, _Asker] = {}
        self._clock = 0.0  # what peers that wait have used at least; newcomers begin here

    def ask(self, turn: Turn, now: float) -> None:
        """Let a turn wait; `grant` tells when it has come."""
        asker = self._askers.get(turn.peer)
        if asker is None:
            self._forget_idle()
            bucket = TokenBucket(self._rate_per_peer, now) if self._rate_per_peer else None
            asker = self._askers[turn.peer] = _Asker(self._clock, bucket)
        if asker.first() is None:
            # No more credit than that for having asked for nothing.
            asker.used = max(asker.used, self._clock - self._patience_bytes)
        (asker.small if turn.is_small else asker.large).append(turn)

    def cancel(self, turn: Turn) -> None:
        """Take back a turn that nobody waits for any more; one that has come is gone already."""
        asker = self._askers.get(turn.peer)
        if asker is not None:
            for queue in (asker.small, asker.large):
                if turn in queue:
                    queue.remove(turn)

    def grant(self, now: float) -> tuple[list[Turn], float | None]:
        """Return the turns that have come, and in how many seconds to ask again.

        None instead of seconds: nobody waits.
        """
        granted: list[Turn] = []
        while True:
            turn, wait_s = self._next(now)
            if turn is None:
                return granted, wait_s
            granted.append(turn)

    def drain(self) -> list[Turn]:
        """Return every turn that still waits, and forget them all."""
        waiting = [t for asker in self._askers.values() for t in (*asker.small, *asker.large)]
        self._askers.clear()
        return waiting

    def _next(self, now: float) -> tuple[Turn | None, float | None]:
        best: tuple[float, Turn, _Asker] | None = None
        least_used = soonest = float("inf")
        for asker in self._askers.values():
            turn = asker.first()
            if turn is None:
                continue
            own_wait = asker.bucket.wait_s(turn.size_bytes, now) if asker.bucket else 0.0
            if own_wait > 0:
                soonest = min(soonest, own_wait)
                continue
            least_used = min(least_used, asker.used)
            rank = asker.used - (SMALL_AHEAD_BYTES if turn.is_small else 0)
            if best is None or rank < best[0]:
                best = rank, turn, asker
        if best is None:
            return None, None if soonest == float("inf") else soonest
        _, turn, asker = best
        if self._bucket is not None:
            # Whoever is next waits for its bytes; a smaller piece must not slip past it for ever.
            wait = self._bucket.wait_s(turn.size_bytes, now)
            if wait > 0:
                return None, min(wait, soonest)
            self._bucket.take(turn.size_bytes, now)
        if asker.bucket is not None:
            asker.bucket.take(turn.size_bytes, now)
        (asker.small if turn.is_small else asker.large).popleft()
        self._clock = max(self._clock, least_used)
        asker.used += turn.size_bytes
        return turn, 0.0

    def _forget_idle(self) -> None:
        if len(self._askers) >= MAX_KNOWN_PEERS:
            self._askers = {
                peer: asker for peer, asker in self._askers.items() if asker.first() is not None
            }

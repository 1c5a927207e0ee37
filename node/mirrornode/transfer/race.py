"""What a lane may take from runs under way: tails of slow ones, and copies of slow leaves. Pure.

Driven by: `transfer.plan`, for a lane that found nothing else to do, or for a reader who waits.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirrornode.transfer.run import PlannedSource, Run
    from mirrornode.transfer.score import Rate

RUN_S = 0.4  # seconds of a lane's rate that one request asks for, if its latency is short
MIN_RUN_S = 0.05  # a shorter request costs more than it evens out
STEAL_MARGIN_S = 0.05  # what a stolen run costs: a closed connection and a new request
STUCK_S = 3.0  # a copy silent for so long no longer counts: all of them may trickle for ever
MAX_COPIES = 3  # of one leaf under way: a storm of duplicates would cost more than the tail


class Race:
    """Compares a lane that has time with the runs of others."""

    def __init__(
        self,
        edges: Sequence[int],
        done: bytearray,
        active: Collection[Run],
        batch_stop: int,
    ) -> None:
        """Look at `done` and `active` as they change; see `Plan` for the rest."""
        self._edges = edges
        self._done = done
        self._active = active
        self._batch_stop = batch_stop
        self._head = 0  # no leaf before it is missing
        self._slowest: list[Run] = []
        self._slowest_at = -math.inf

    def steal(self, source: PlannedSource, rate: Rate, now: float) -> tuple[int, int] | None:
        """Return the tail of the run that will finish last, or a copy of its last leaf.

        None when this lane would not be through sooner than whoever is at it.
        """
        if source.is_sequential:
            return None
        holding = source.holding
        for victim in self._slowest_first(now):
            if not victim.is_open or self._done.find(0, victim.pos, victim.stop) < 0:
                continue
            if _is_as_fast(source, victim, now):
                continue
            last = victim.stop - 1
            if not (holding.has(last) or holding.has(victim.pos)):
                continue
            mine_s = self._leaf_s(source, last, rate)
            if victim.left_s(self._edges, now) <= 1.5 * mine_s + STEAL_MARGIN_S:
                if holding.available is None:
                    return None  # what follows ends sooner still
                continue
            if last > victim.pos:
                span = self._split(victim, source, rate, now)
            else:
                span = self._copy(victim, source, rate, now)
            if span is not None:
                return span
        return None

    def for_reader(
        self, source: PlannedSource, rate: Rate, want_bytes: float, now: float
    ) -> tuple[int, int] | None:
        """Return the first missing leaf and what follows it, when whoever is at it looks slow.

        Args:
            want_bytes: How much to take over from its owner at most.
        """
        head = self._head = self._done.find(0, self._head)
        copies = self._copies(head)
        if not copies or _lively(copies, now) >= MAX_COPIES or not source.holding.has(head):
            return None
        if not rate.is_known and any(run in source.runs for run in copies):
            return None
        edges = self._edges
        mine_s = self._leaf_s(source, head, rate)
        owner = min(copies, key=lambda run: run.left_s(edges, now, head + 1))
        if _is_as_fast(source, owner, now):
            return None
        if owner.left_s(edges, now, head + 1) > 2 * mine_s + STEAL_MARGIN_S:
            limit = bisect_right(edges, edges[head] + want_bytes, head + 1, owner.stop + 1) - 1
            stop = max(head + 1, limit)
            if source.holding.available is not None:
                hole = source.holding.available.find(0, head, stop)
                stop = stop if hole < 0 else hole
            if stop == owner.stop:
                owner.stop = head + 1
            return head, stop
        if owner.stop - owner.pos > 1 and owner.left_s(edges, now) > 2 * mine_s + RUN_S:
            return self._split(owner, source, rate, now)
        return None

    # -- private ---------------------------------------------------------------------------------

    def _slowest_first(self, now: float) -> list[Run]:
        """Return the runs under way of a moment ago: idle lanes ask often, and all at once."""
        if now - self._slowest_at > MIN_RUN_S / 2 or now < self._slowest_at:
            self._slowest_at = now
            self._slowest = sorted(self._active, key=lambda run: -run.left_s(self._edges, now))
        return self._slowest

    def _split(
        self, victim: Run, source: PlannedSource, rate: Rate, now: float
    ) -> tuple[int, int] | None:
        """Cut a tail off a run so that both end together; its first leaf is under way."""
        edges = self._edges
        mine, his = rate.bytes_per_s, victim.speed(edges, now)
        ahead_s = victim.left_s(edges, now) - source.score.latency_s
        share = ahead_s / (1 / mine + 1 / his)  # bytes that take me as long as him the rest
        start = bisect_right(edges, edges[victim.stop] - share, victim.pos + 1, victim.stop)
        start, stop = min(max(start, victim.pos + 1), victim.stop - 1), victim.stop
        if stop <= self._batch_stop:  # a batch: so many files as this source takes at once
            start = max(start, stop - max(1, source.max_batch))
        if source.holding.available is not None:
            hole = source.holding.available.rfind(0, start, stop)
            start = start if hole < 0 else hole + 1
        if start >= stop:
            return None
        victim.stop = start
        return start, stop

    def _copy(
        self, victim: Run, source: PlannedSource, rate: Rate, now: float
    ) -> tuple[int, int] | None:
        """Return the last leaf of a run for a race, when every copy under way looks slow."""
        leaf = victim.pos
        if not source.holding.has(leaf) or self._done[leaf]:
            return None
        copies = self._copies(leaf)
        if _lively(copies, now) >= MAX_COPIES:
            return None
        if not rate.is_known and any(run in source.runs for run in copies):
            return None
        soonest_s = min(run.left_s(self._edges, now, leaf + 1) for run in copies)
        if soonest_s <= 2 * self._leaf_s(source, leaf, rate) + STEAL_MARGIN_S:
            return None
        return leaf, victim.stop

    def _copies(self, leaf: int) -> list[Run]:
        return [run for run in self._active if run.pos <= leaf < run.stop]

    def _leaf_s(self, source: PlannedSource, leaf: int, rate: Rate) -> float:
        """Return how long a lane would need for one leaf."""
        size = self._edges[leaf + 1] - self._edges[leaf]
        return source.score.latency_s + size / rate.bytes_per_s


def _is_as_fast(source: PlannedSource, run: Run, now: float) -> bool:
    """Tell whether a run is of `source` itself, and another lane of that would gain nothing.

    The lanes of a near source share what it gives: what it has sent for the run already would only
    be sent twice. Those of a far one are slowed by lost packets, each by its own.
    """
    return run in source.runs and now < run.slow_at and not source.score.is_far


def _lively(copies: Sequence[Run], now: float) -> int:
    """Count the copies of a leaf under way that may still end."""
    return sum(now - run.last_at < STUCK_S for run in copies)

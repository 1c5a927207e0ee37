"""What a plan keeps in mind: runs, when they will be through, and the sources they are from. Pure.

A run is a stretch of consecutive leaves that one lane is fetching.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirrornode.transfer.score import FIRST_RATE, Rate, Score

if TYPE_CHECKING:
    from mirrornode.transfer.lanes import LaneTrials
    from mirrornode.transfer.todo import Holding

STALL_S = 0.5  # a lane silent for longer than this, and thrice its leaf time, looks slow


@dataclass(slots=True, eq=False)
class Run:
    """Consecutive leaves `[pos, stop)` that one lane is fetching.

    `stop` may shrink while the lane works (its tail was taken): the lane must look at it after
    every leaf. The request to the source may name more.

    Attributes:
        rate: The lane's.
        latency_s: How long the source is likely to take for its answer.
        last_at: When the last leaf arrived or the answer began.
        slow_at: When the run as a whole is far behind what the rate promised.
        is_answered: Whether the source has begun to answer.
        is_late: Whether its leaf under way was put back for others.
        is_open: Whether the lane still works on it.
    """

    source_id: str
    lane: object
    pos: int
    stop: int
    began_at: float
    last_at: float
    rate: Rate
    latency_s: float
    slow_at: float = 0.0
    is_answered: bool = False
    is_late: bool = False
    is_open: bool = True

    def leaf_s(self, edges: Sequence[int]) -> float:
        """Return how long the leaf under way should take, from `last_at` on."""
        seconds = (edges[self.pos + 1] - edges[self.pos]) / self.rate.bytes_per_s
        return seconds if self.is_answered else seconds + self.latency_s

    def speed(self, edges: Sequence[int], now: float) -> float:
        """Return the lane's bytes a second, lowered while nothing arrives: a stall shows."""
        rate = self.rate.bytes_per_s
        idle = now - self.last_at
        if idle > STALL_S and self.pos < self.stop and idle > 3 * self.leaf_s(edges):
            rate = min(rate, (edges[self.pos + 1] - edges[self.pos]) / idle)
        return max(1.0, rate)

    def left_s(self, edges: Sequence[int], now: float, stop: int = -1) -> float:
        """Return how long the lane needs for the rest of the run, or up to the leaf `stop`.

        A leaf that is overdue is likely to need about as long again as it is overdue.
        """
        stop = self.stop if stop < 0 else stop
        if self.pos >= stop:
            return 0.0
        leaf_s = self.leaf_s(edges)
        idle = now - self.last_at
        first_s = max(leaf_s - idle, idle - leaf_s, 0.1 * leaf_s)
        return first_s + (edges[stop] - edges[self.pos + 1]) / self.speed(edges, now)


@dataclass(slots=True)
class PlannedSource:
    """One source as the plan sees it."""

    holding: Holding
    trials: LaneTrials
    max_batch: int
    cursor: int
    lacked: int = 0  # grows with each "not here" in a row
    score: Score = field(default_factory=Score)
    is_sequential: bool = False  # ignores ranges: one lane, from the start of the file to its end
    is_banned: bool = False
    lanes: dict[object, Rate] = field(default_factory=dict)
    runs: dict[Run, None] = field(default_factory=dict)  # a set that keeps its order

    @property
    def is_usable(self) -> bool:
        return not self.is_banned and not self.score.is_given_up

    @property
    def lane_rate(self) -> float:
        """Return the bytes a second to expect of one lane."""
        known = [rate.bytes_per_s for rate in self.lanes.values() if rate.is_known]
        return sum(known) / len(known) if known else FIRST_RATE

    def first_leaf_s(self, edges: Sequence[int], leaf: int) -> float:
        """Return how long it takes from a request to its first leaf."""
        return self.score.latency_s + (edges[leaf + 1] - edges[leaf]) / self.lane_rate

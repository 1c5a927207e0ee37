"""The real planner in virtual time: sources with rates and scripted faults, no sockets, no clock.

A source's rate is shared by its lanes. Faults are words of a script:
    stall:F    goes silent after the fraction F of what it would serve alone
    trickle    delivers 1 KB/s from the start
    lie        its leaves never verify
    gone:T     the connection breaks at T seconds, and every later request fails
    late:T     shows up at T seconds
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from mirrornode.transfer.board import IDLE_WAIT_S
from mirrornode.transfer.plan import Plan, Run

READ_TIMEOUT_S = 8.0
MAX_VIRTUAL_S = 3600.0


@dataclass(frozen=True)
class SimSource:
    """One source: total rate in bytes a second, seconds of latency a request, a fault script."""

    name: str
    rate: float
    latency_s: float = 0.001
    lanes: int = 2
    script: str = ""

    def word(self, name: str) -> float | None:
        for word in self.script.split():
            key, _, value = word.partition(":")
            if key == name:
                return float(value or 0)
        return None


@dataclass(eq=False)
class SimResult:
    """What came out: seconds of virtual time, bytes fetched twice, bytes by source."""

    seconds: float
    duplicate_bytes: int
    by_source: dict[str, int]
    is_complete: bool


@dataclass(eq=False)
class _Lane:
    source: SimSource
    number: int
    run: Run | None = None
    served: float = 0.0
    epoch: int = 0


@dataclass(eq=False)
class Simulation:
    """Drives one `Plan` to its end."""

    edges: Sequence[int]
    sources: Sequence[SimSource]
    file_stops: Sequence[int] = ()
    _events: list[tuple[float, int, str, _Lane, int]] = field(default_factory=list)
    _admitted: set[str] = field(default_factory=set)
    _order: itertools.count[int] = field(default_factory=itertools.count)

    def run(self) -> SimResult:
        plan = Plan(self.edges, self.file_stops or [len(self.edges) - 1])
        leaves = len(self.edges) - 1
        for index, source in enumerate(self.sources):
            start = source.word("late") or 0.0
            for number in range(source.lanes):
                lane = _Lane(source, number)
                if number == 0:
                    self._push(start, "admit", lane, index * leaves // len(self.sources))
                self._push(start, "ask", lane, 0)
        now = 0.0
        while self._events and not plan.is_complete and now < MAX_VIRTUAL_S:
            now, _, kind, lane, extra = heapq.heappop(self._events)
            if kind == "admit":
                plan.add_source(lane.source.name, cursor=extra)
                self._admitted.add(lane.source.name)
            elif kind == "ask":
                self._ask(plan, lane, now)
            elif lane.run is not None and extra == lane.epoch:
                if kind == "leaf":
                    self._leaf(plan, lane, now)
                else:
                    self._end(plan, lane, now, failure=kind)
        return SimResult(
            now,
            plan.duplicate_bytes,
            {name: plan.score(name).received_bytes for name in sorted(self._admitted)},
            plan.is_complete,
        )

    def _push(self, at: float, kind: str, lane: _Lane, extra: int) -> None:
        heapq.heappush(self._events, (at, next(self._order), kind, lane, extra))

    def _ask(self, plan: Plan, lane: _Lane, now: float) -> None:
        state = plan.state(lane.source.name)
        if state in ("banned", "failed"):
            return
        run = plan.next_run(lane.source.name, lane, now)
        if run is None:
            self._push(now + IDLE_WAIT_S, "ask", lane, 0)
            return
        lane.run, lane.epoch = run, lane.epoch + 1
        self._schedule(lane, now, lane.source.latency_s)

    def _schedule(self, lane: _Lane, now: float, latency_s: float) -> None:
        assert lane.run is not None
        source = lane.source
        size = self.edges[lane.run.pos + 1] - self.edges[lane.run.pos]
        rate = source.rate / source.lanes
        if source.word("trickle") is not None:
            rate = 1000.0
        at = now + latency_s + size / rate
        gone = source.word("gone")
        if gone is not None and at >= gone:
            self._push(max(now, gone) + latency_s, "gone", lane, lane.epoch)
            return
        stall = source.word("stall")
        if stall is not None:
            fair_share = self.edges[-1] * source.rate / sum(s.rate for s in self.sources)
            if lane.served >= stall * fair_share / source.lanes:
                self._push(now + READ_TIMEOUT_S, "stalled", lane, lane.epoch)
                return
        self._push(at, "leaf", lane, lane.epoch)

    def _leaf(self, plan: Plan, lane: _Lane, now: float) -> None:
        run = lane.run
        assert run is not None
        if lane.source.word("lie") is not None:
            plan.ban(lane.source.name, "wrong bytes")
            self._end(plan, lane, now, failure=None)
            return
        lane.served += self.edges[run.pos + 1] - self.edges[run.pos]
        plan.leaf_arrived(run, now)
        if plan.wants_more(run):
            self._schedule(lane, now, 0.0)
        else:
            self._end(plan, lane, now, failure=None)

    def _end(self, plan: Plan, lane: _Lane, now: float, *, failure: str | None) -> None:
        run, lane.run = lane.run, None
        assert run is not None
        plan.end_run(run, now, failure=failure)
        self._push(now, "ask", lane, 0)


def uniform_edges(leaves: int, size_bytes: int = 1 << 20) -> list[int]:
    """Return the edges of `leaves` equal leaves."""
    return [leaf * size_bytes for leaf in range(leaves + 1)]

"""The real planner in virtual time: sources with rates and scripted faults, no sockets, no clock.

A source sends the leaves asked of it one after the other at its rate, so that its lanes share it;
each lane may have a limit of its own. Faults are words of a script (times in virtual seconds):
    stall:F    goes silent after the fraction F of what it would serve alone
    trickle    delivers 1 KB/s from the start
    lie        its leaves never verify
    gone:T     the connection breaks at T, and every later request fails
    returns:T  with `gone`: is back at T
    late:T     shows up at T
    slow:T     its rate grows evenly from nothing until T
    lacks:F    answers 404 for the last fraction F of the row, which nobody knew before
    busy:T     answers 429 with Retry-After 1 until T

`python -m support.transfer_sim --sources 200 --seeds 100` prints how near transfers with many
faulty sources come to the ideal.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from mirrornode.transfer.board import IDLE_WAIT_S
from mirrornode.transfer.plan import Plan
from mirrornode.transfer.run import Run
from mirrornode.transfer.session import TICK_S

READ_TIMEOUT_S = 8.0
MAX_VIRTUAL_S = 3600.0
TRICKLE = 1000.0
RETRY_AFTER_S = 1.0
UNLIMITED = 1e12
MIB = 1 << 20
MB = 1_000_000


@dataclass(frozen=True)
class SimSource:
    """One source.

    Attributes:
        rate: Bytes a second, of all lanes together.
        latency_s: From a request to its first byte.
        lanes: At most so many.
        lane_rate: Bytes a second that one lane reaches at most.
        parts: Partial from the start: has the leaves `[lo, hi)`, as fractions of the row.
    """

    name: str
    rate: float
    latency_s: float = 0.001
    lanes: int = 2
    script: str = ""
    lane_rate: float = UNLIMITED
    parts: tuple[float, float] | None = None

    def word(self, name: str) -> float | None:
        for word in self.script.split():
            key, _, value = word.partition(":")
            if key == name:
                return float(value or 0)
        return None

    def delivers_by(self, now: float, fair_bytes: float) -> float:
        """Return what it can have delivered at `now` at best: what an ideal planner gets."""
        if self.word("lie") is not None:
            return 0.0
        if self.word("trickle") is not None:
            return TRICKLE * now
        begin = max(self.word("late") or 0.0, self.word("busy") or 0.0)
        end = now
        if (gone := self.word("gone")) is not None:
            end = min(now, gone)
        size = self.rate * max(0.0, end - begin)
        if gone is not None and (back := self.word("returns")) is not None:
            size += self.rate * max(0.0, now - back)
        if (ramp := self.word("slow")) is not None:
            size -= self.rate * min(now, ramp) * (1 - min(now, ramp) / (2 * ramp))
        stall = self.word("stall")
        return size if stall is None else min(size, stall * fair_bytes)


@dataclass(eq=False)
class SimResult:
    """What came out.

    Attributes:
        head_s: When every leaf before and up to this one was there; for readers in order.
        most_lanes: The most lanes each source had at once.
    """

    seconds: float
    duplicate_bytes: int
    by_source: dict[str, int]
    is_complete: bool
    head_s: list[float]
    most_lanes: dict[str, int]


@dataclass(eq=False)
class Upload:
    """The sending side of a host, one leaf after the other at its rate."""

    rate: float
    free_at: float = 0.0
    sent_bytes: int = 0

    def send(self, size_bytes: int, now: float, ramp_s: float = 0.0) -> float:
        """Return when the leaf is out; the rate grows evenly from nothing until `ramp_s`."""
        at = max(self.free_at, now)
        self.sent_bytes += size_bytes
        if at < ramp_s:
            at = math.sqrt(at * at + 2 * ramp_s * size_bytes / self.rate)
            if at <= ramp_s:
                self.free_at = at
                return at
            size_bytes, at = int((at * at - ramp_s * ramp_s) * self.rate / (2 * ramp_s)), ramp_s
        self.free_at = at + size_bytes / self.rate
        return self.free_at


@dataclass(eq=False)
class SimLane:
    """A connection of one taker to one source."""

    source: SimSource
    run: Run | None = None
    epoch: int = 0


@dataclass(eq=False)
class Simulation:
    """Drives one `Plan` to its end."""

    edges: Sequence[int]
    sources: Sequence[SimSource]
    file_stops: Sequence[int] = ()
    in_order: bool = False
    now: float = 0.0
    _events: list[tuple[float, int, str, SimSource, SimLane | None, int]] = field(
        default_factory=list
    )
    _order: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        leaves = len(self.edges) - 1
        self.plan = Plan(self.edges, self.file_stops or [leaves], in_order=self.in_order)
        self.head_s: list[float] = []
        self._uploads = {
            source.name: Upload(TRICKLE if source.word("trickle") is not None else source.rate)
            for source in self.sources
        }
        self._lanes: dict[str, list[SimLane]] = {source.name: [] for source in self.sources}
        self._most: dict[str, int] = dict.fromkeys(self._lanes, 0)
        self._all_rates = sum(source.rate for source in self.sources)
        self._admitted: set[str] = set()
        for index, source in enumerate(self.sources):
            cursor = index * leaves // len(self.sources)
            self._push(source.word("late") or 0.0, "admit", source, None, cursor)
            if (back := source.word("returns")) is not None:
                self._push(back, "admit", source, None, cursor)

    def run(self) -> SimResult:
        plan = self.plan
        while self._events and not plan.is_complete and self.now < MAX_VIRTUAL_S:
            self.now, _, kind, source, lane, extra = heapq.heappop(self._events)
            if kind == "admit":
                self._admit(source, extra)
            elif kind == "tend":
                self._tend(source)
                self._push(self.now + TICK_S, "tend", source, None, 0)
            elif lane is not None and kind == "ask":
                self._ask(lane)
            elif lane is not None and lane.run is not None and extra == lane.epoch:
                self._step(kind, lane, lane.run)
        return SimResult(
            self.now,
            plan.duplicate_bytes,
            {name: plan.score(name).received_bytes for name in sorted(self._admitted)},
            plan.is_complete,
            self.head_s,
            self._most,
        )

    def _push(
        self, at: float, kind: str, source: SimSource, lane: SimLane | None, extra: int
    ) -> None:
        heapq.heappush(self._events, (at, next(self._order), kind, source, lane, extra))

    # -- sources and lanes -----------------------------------------------------------------------

    def _admit(self, source: SimSource, cursor: int) -> None:
        if source.name in self._admitted and self.plan.state(source.name) != "failed":
            return
        available = None
        if source.parts is not None:
            leaves = self.plan.leaves
            lo, hi = (int(part * leaves) for part in source.parts)
            available = bytearray(leaves)
            available[lo:hi] = b"\x01" * (hi - lo)
        self.plan.add_source(
            source.name, available=available, cursor=cursor, max_lanes=source.lanes
        )
        if source.name not in self._admitted:
            self._admitted.add(source.name)
            self._push(self.now, "tend", source, None, 0)

    def _tend(self, source: SimSource) -> None:
        lanes = self._lanes[source.name]
        for _ in range(self.plan.wanted_lanes(source.name, self.now) - len(lanes)):
            lane = SimLane(source)
            lanes.append(lane)
            self._push(self.now, "ask", source, lane, 0)
        self._most[source.name] = max(self._most[source.name], len(lanes))

    def _ask(self, lane: SimLane) -> None:
        name = lane.source.name
        if not self.plan.keeps_lane(name, lane):
            self._lanes[name].remove(lane)
            return
        lane.run = self.plan.next_run(name, lane, self.now)
        if lane.run is None:
            self._push(self.now + IDLE_WAIT_S, "ask", lane.source, lane, 0)
            return
        lane.epoch += 1
        self._later(lane, self.now + lane.source.latency_s, "answer")

    # -- one request -----------------------------------------------------------------------------

    def _later(self, lane: SimLane, at: float, kind: str) -> None:
        """Let something happen to a lane, unless its source leaves or comes to a halt before."""
        source = lane.source
        gone, back = source.word("gone"), source.word("returns")
        if gone is not None and at >= gone and (back is None or self.now < back):
            at, kind = max(self.now, gone) + source.latency_s, "gone"
        self._push(at, kind, source, lane, lane.epoch)

    def _step(self, kind: str, lane: SimLane, run: Run) -> None:
        plan, source = self.plan, lane.source
        if kind == "answer":
            busy, lacks = source.word("busy"), source.word("lacks")
            if busy is not None and self.now < busy:
                self._end(lane, run, "too busy", RETRY_AFTER_S)
            elif lacks is not None and run.pos >= (1 - lacks) * plan.leaves:
                plan.lacks(run)
                self._end(lane, run)
            else:
                plan.answered(run, self.now)
                self._send(lane, run)
        elif kind == "leaf" and source.word("lie") is not None:
            plan.ban(source.name, "wrong bytes")
            self._end(lane, run)
        elif kind == "leaf":
            leaf = run.pos
            if plan.leaf_arrived(run, self.now):
                self._note_head(leaf)
            if plan.wants_more(run):
                self._send(lane, run)
            else:
                self._end(lane, run)
        else:
            self._end(lane, run, kind)

    def _send(self, lane: SimLane, run: Run) -> None:
        """Let the source send the next leaf of a run."""
        source = lane.source
        size = self.edges[run.pos + 1] - self.edges[run.pos]
        upload = self._uploads[source.name]
        stall = source.word("stall")
        if stall is not None:
            fair_bytes = self.edges[-1] * source.rate / self._all_rates
            if upload.sent_bytes >= stall * fair_bytes:
                self._later(lane, self.now + READ_TIMEOUT_S, "stalled")
                return
        at = upload.send(size, self.now, source.word("slow") or 0.0)
        self._later(lane, max(at, self.now + size / source.lane_rate), "leaf")

    def _end(
        self, lane: SimLane, run: Run, failure: str | None = None, retry: float | None = None
    ) -> None:
        lane.run = None
        self.plan.end_run(run, self.now, failure=failure, retry_after_s=retry)
        self._push(self.now, "ask", lane.source, lane, 0)

    def _note_head(self, leaf: int) -> None:
        if leaf == len(self.head_s):
            head = self.plan.done.find(0, leaf)
            head = self.plan.leaves if head < 0 else head
            self.head_s += [self.now] * (head - leaf)


def uniform_edges(leaves: int, size_bytes: int = MIB) -> list[int]:
    """Return the edges of `leaves` equal leaves."""
    return [leaf * size_bytes for leaf in range(leaves + 1)]


def ideal_s(sources: Sequence[SimSource], size_bytes: int) -> float:
    """Return when the last byte could be there if every source gave all it can, at once."""
    all_rates = sum(source.rate for source in sources)

    def delivered(now: float) -> float:
        return sum(s.delivers_by(now, size_bytes * s.rate / all_rates) for s in sources)

    low, high = 0.0, 1.0
    while delivered(high) < size_bytes and high < MAX_VIRTUAL_S:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if delivered(middle) < size_bytes else (low, middle)
    return high


FAULTS = (
    "stall:0.3",
    "stall:0.9",
    "trickle",
    "lie",
    "gone:1",
    "gone:1 returns:4",
    "late:3",
    "slow:5",
    "lacks:0.5",
    "busy:2",
)


def motley(count: int, rng: random.Random) -> list[SimSource]:
    """Return sources from 1 to 20 MB/s and 1 to 100 ms away, a third of them faulty."""
    return [
        SimSource(
            f"s{number}",
            rng.uniform(1, 20) * MB,
            rng.uniform(0.001, 0.1),
            script=rng.choice(FAULTS) if number % 3 == 0 else "",
        )
        for number in range(count)
    ]


@dataclass(frozen=True)
class Efficiency:
    """One transfer against two ideals: all that was offered, and the faultless sources alone."""

    of_all: float
    of_good: float
    duplicate_share: float
    seconds: float


def measure(seed: int, count: int, leaves: int) -> Efficiency:
    """Run one transfer from `count` sources, a third of them faulty."""
    sources = motley(count, random.Random(seed))
    size_bytes = leaves * MIB
    result = Simulation(uniform_edges(leaves), sources).run()
    assert result.is_complete, seed
    good_s = size_bytes / sum(source.rate for source in sources if not source.script)
    return Efficiency(
        ideal_s(sources, size_bytes) / result.seconds,
        good_s / result.seconds,
        result.duplicate_bytes / size_bytes,
        result.seconds,
    )


def main(arguments: Sequence[str]) -> None:
    """Print the efficiencies of many seeds."""
    parser = argparse.ArgumentParser(prog="python -m support.transfer_sim")
    parser.add_argument("--sources", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--leaves", type=int, default=16_384, help="of 1 MiB")
    options = parser.parse_args(arguments)
    began = time.process_time()
    found = [measure(seed, options.sources, options.leaves) for seed in range(options.seeds)]
    used_s = time.process_time() - began
    rows = {
        "of all that was offered": [item.of_all for item in found],
        "of the faultless alone": [item.of_good for item in found],
        "fetched twice": [item.duplicate_share for item in found],
        "seconds": [item.seconds for item in found],
    }
    write = sys.stdout.write
    write(f"{options.sources} sources, {options.leaves} MiB, {options.seeds} seeds, ")
    write(f"{used_s / options.seeds:.2f} CPU s a seed\n")
    write(f"{'':28}{'median':>9}{'worst':>9}{'best':>9}\n")
    for name, values in rows.items():
        is_cost = name in ("fetched twice", "seconds")
        worst, best = (max, min) if is_cost else (min, max)
        write(f"{name:28}{median(values):9.3f}{worst(values):9.3f}{best(values):9.3f}\n")


if __name__ == "__main__":
    main(sys.argv[1:])

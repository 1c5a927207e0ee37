"""A crowd in virtual time: one seed with a capped upload, takers that exchange what they have.

Every taker is a real plan. It learns what another has by a have-map, asked anew every `refresh_s`
as of the moment the answer was sent; a leaf it has is served from that moment on. Uploads send one
leaf after the other, so that whoever asks gets an equal share.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field

from mirrornode.transfer.board import IDLE_WAIT_S
from mirrornode.transfer.plan import Plan
from mirrornode.transfer.run import Run
from mirrornode.transfer.session import TICK_S
from support.transfer_sim import MAX_VIRTUAL_S, MB, Upload, uniform_edges

SEED = "seed"


@dataclass(frozen=True)
class CrowdSettings:
    """A room: rates in bytes a second, of each host's upload."""

    takers: int = 8
    leaves: int = 512  # of 1 MiB
    seed_rate: float = 50 * MB
    peer_rate: float = 110 * MB
    latency_s: float = 0.002
    refresh_s: float = 1.0
    max_lanes: int = 4
    meet_s: float = 0.0  # until a taker knows of the others
    join_every_s: float = 0.0  # between one taker's begin and the next's
    random_seed: int = 1


@dataclass(frozen=True)
class CrowdResult:
    """When each taker was through, from its begin on, and what the seed had to send."""

    seconds: list[float]
    seed_copies: float
    duplicate_share: float


@dataclass(eq=False)
class _Taker:
    name: str
    plan: Plan
    upload: Upload
    begins_at: float
    ends_at: float = 0.0
    cursor: int = 0
    lanes: dict[str, list[_Lane]] = field(default_factory=dict)


@dataclass(eq=False)
class _Lane:
    taker: _Taker
    source: str
    run: Run | None = None


class Crowd:
    """Drives the plans of all takers to their ends."""

    def __init__(self, settings: CrowdSettings) -> None:
        self.settings = settings
        self.edges = uniform_edges(settings.leaves)
        self.seed = Upload(settings.seed_rate)
        self.now = 0.0
        self._rng = random.Random(settings.random_seed)
        self._order = itertools.count()
        self._events: list[tuple[float, int, str, _Taker, _Lane | None]] = []
        self.takers: dict[str, _Taker] = {}
        for number in range(settings.takers):
            name = f"peer:{number}"
            plan = Plan(self.edges, [settings.leaves], own_id=name)
            begins_at = number * settings.join_every_s
            self.takers[name] = _Taker(name, plan, Upload(settings.peer_rate), begins_at)
        for taker in self.takers.values():
            self._push(taker.begins_at, "begin", taker)

    def run(self) -> CrowdResult:
        settings = self.settings
        while self._events and self.now < MAX_VIRTUAL_S:
            self.now, _, kind, taker, lane = heapq.heappop(self._events)
            if kind == "begin":
                self._begin(taker)
            elif taker.plan.is_complete:
                continue
            elif kind == "meet":
                self._meet(taker)
            elif kind == "tend":
                self._tend(taker)
                self._push(self.now + TICK_S, "tend", taker)
            elif kind == "refresh":
                self._refresh(taker)
                self._push(self.now + settings.refresh_s, "refresh", taker)
            elif lane is not None and kind == "ask":
                self._ask(taker, lane)
            elif lane is not None and lane.run is not None:
                self._step(kind, taker, lane, lane.run)
        size_bytes = self.edges[-1]
        takers = self.takers.values()
        assert all(taker.plan.is_complete for taker in takers)
        return CrowdResult(
            [taker.ends_at - taker.begins_at for taker in takers],
            self.seed.sent_bytes / size_bytes,
            sum(taker.plan.duplicate_bytes for taker in takers) / size_bytes / len(takers),
        )

    def _push(self, at: float, kind: str, taker: _Taker, lane: _Lane | None = None) -> None:
        heapq.heappush(self._events, (at, next(self._order), kind, taker, lane))

    def _begin(self, taker: _Taker) -> None:
        taker.cursor = self._rng.randrange(self.settings.leaves)
        self._add_source(taker, SEED)
        self._push(self.now, "tend", taker)
        self._push(self.now + self.settings.meet_s, "meet", taker)

    def _meet(self, taker: _Taker) -> None:
        for name in self.takers:
            if name != taker.name:
                self._add_source(taker, name)
        self._push(self.now + self._rng.random() * self.settings.refresh_s, "refresh", taker)

    def _add_source(self, taker: _Taker, name: str) -> None:
        leaves = self.settings.leaves
        taker.cursor = int(taker.cursor + 0.618 * leaves) % leaves
        available = None if name == SEED else bytearray(leaves)
        taker.plan.add_source(
            name, available=available, cursor=taker.cursor, max_lanes=self.settings.max_lanes
        )
        taker.lanes[name] = []

    def _refresh(self, taker: _Taker) -> None:
        for other in self.takers.values():
            if other is not taker and self.now >= other.begins_at:
                have = None if other.plan.is_complete else bytearray(other.plan.done)
                taker.plan.set_available(other.name, have)

    def _tend(self, taker: _Taker) -> None:
        for source, lanes in taker.lanes.items():
            for _ in range(taker.plan.wanted_lanes(source, self.now) - len(lanes)):
                lane = _Lane(taker, source)
                lanes.append(lane)
                self._push(self.now, "ask", taker, lane)

    def _ask(self, taker: _Taker, lane: _Lane) -> None:
        if not taker.plan.keeps_lane(lane.source, lane):
            taker.lanes[lane.source].remove(lane)
            return
        lane.run = taker.plan.next_run(lane.source, lane, self.now)
        if lane.run is None:
            self._push(self.now + IDLE_WAIT_S, "ask", taker, lane)
        else:
            self._push(self.now + self.settings.latency_s, "answer", taker, lane)

    def _step(self, kind: str, taker: _Taker, lane: _Lane, run: Run) -> None:
        plan = taker.plan
        if kind == "answer":
            plan.answered(run, self.now)
        else:
            plan.leaf_arrived(run, self.now)
            if plan.is_complete:
                taker.ends_at = self.now
                return
        if not plan.wants_more(run):
            plan.end_run(run, self.now)
            lane.run = None
            self._push(self.now, "ask", taker, lane)
            return
        if lane.source == SEED:
            upload = self.seed
        else:
            other = self.takers[lane.source]
            upload = other.upload
            assert other.plan.done[run.pos], "asked for what it does not have"
        size = self.edges[run.pos + 1] - self.edges[run.pos]
        self._push(upload.send(size, self.now), "leaf", taker, lane)

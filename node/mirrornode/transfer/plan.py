"""Which leaves to ask of whom next. Pure: events and the time come in, runs go out.

Driven by: `transfer.session`, under its lock; by the simulator in virtual time.

The rules, in the order they apply to a lane that asks for work:
1. a run of leaves nobody works on, as long as the lane's rate fills in `RUN_S`, never across the
   end of a file (but many small files in one run), starting where this source left off;
2. else the tail of the run that will finish last, if this lane would finish it sooner (work
   stealing), split in proportion to both rates;
3. else a copy of a run's last leaf when every copy under way looks slow, at most `MAX_COPIES`;
4. else nothing for now.
A source whose bytes were wrong is banned and never asked again; what failed goes back to the row.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from mirrornode.transfer.score import Rate, Score

RUN_S = 0.4  # seconds of a lane's rate that one request asks for
MAX_RUN_BYTES = 64 << 20
STEAL_MARGIN_S = 0.05  # what a stolen run costs: a closed connection and a new request
MAX_COPIES = 3  # of one leaf under way: a storm of duplicates would cost more than the tail
STALL_S = 0.5  # a lane silent for longer than this, and thrice its leaf time, looks slow


@dataclass(slots=True, eq=False)
class Run:
    """Consecutive leaves `[pos, stop)` that one lane is fetching.

    `stop` may shrink while the lane works (its tail was stolen): the lane must look at it after
    every leaf. `asked_stop` is what the request to the source named.
    """

    source_id: str
    lane: object
    pos: int
    stop: int
    asked_stop: int
    last_at: float


@dataclass(slots=True)
class _Source:
    score: Score = field(default_factory=Score)
    available: bytearray | None = None  # one byte a leaf, 1 where the source has it; None = all
    cursor: int = 0
    is_sequential: bool = False  # ignores ranges: one lane, from the start of the file to its end
    is_banned: bool = False
    max_batch: int = 0
    lanes: dict[object, Rate] = field(default_factory=dict)


class Plan:
    """The state of one transfer's work; not thread-safe, the caller holds a lock."""

    def __init__(
        self,
        edges: Sequence[int],
        file_stops: Sequence[int],
        done: bytearray | None = None,
        *,
        batch_stop: int = 0,
    ) -> None:
        """Begin with all leaves to do but those marked in `done` (one byte a leaf, 1 = done).

        Args:
            edges: Byte position of each leaf in the row, the total as last element.
            file_stops: Leaf number after the last leaf of each file, ascending.
            done: Taken over, not copied.
            batch_stop: Leaves `[0, batch_stop)` are small files of one leaf each, of which a
                source that takes batches may bring many in one run.
        """
        self._edges = edges
        self._file_stops = file_stops
        self._batch_stop = batch_stop
        self.leaves = len(edges) - 1
        self.done = bytearray(self.leaves) if done is None else done
        self.left = self.done.count(0)
        self.duplicate_bytes = 0
        self._sources: dict[str, _Source] = {}
        self._active: list[Run] = []
        self._todo: list[tuple[int, int]] = _gaps(self.done)

    # -- sources ---------------------------------------------------------------------------------

    def add_source(
        self,
        source_id: str,
        *,
        available: bytearray | None = None,
        cursor: int = 0,
        max_batch: int = 0,
    ) -> None:
        """Admit a source, or revive one that was given up; a banned one stays banned."""
        source = self._sources.get(source_id)
        if source is None:
            self._sources[source_id] = _Source(
                available=available, cursor=cursor, max_batch=max_batch
            )
        else:
            source.available = available
            source.score.failures = 0

    def set_available(self, source_id: str, available: bytearray | None) -> None:
        """Replace what a partial source is known to have."""
        self._sources[source_id].available = available

    def lacks(self, run: Run) -> None:
        """Note that a source answered "not here" for the rest of a run, in one file.

        A batch ends at its first missing file and tells nothing of those behind it.
        """
        source = self._sources[run.source_id]
        if source.available is None:
            source.available = bytearray(b"\x01") * self.leaves
        stop = min(run.stop, self._file_stop(run.pos))
        source.available[run.pos : stop] = bytes(stop - run.pos)

    def set_sequential(self, run: Run) -> bool:
        """Note that a run's source ignores ranges, so that only one lane may use it, in order.

        Returns:
            Whether this run is the one that goes on: the one nearest to the start.
        """
        self._sources[run.source_id].is_sequential = True
        same = [other.pos for other in self._active if other.source_id == run.source_id]
        return run.pos == min(same)

    def ban(self, source_id: str, reason: str) -> None:
        """Never ask this source again in this transfer."""
        source = self._sources[source_id]
        source.is_banned = True
        source.score.last_reason = reason

    def score(self, source_id: str) -> Score:
        return self._sources[source_id].score

    def state(self, source_id: str) -> str:
        """Return "banned", "failed", "active" or "idle"."""
        source = self._sources[source_id]
        if source.is_banned:
            return "banned"
        if source.score.is_given_up:
            return "failed"
        return "active" if any(r.source_id == source_id for r in self._active) else "idle"

    def rate(self, source_id: str, now: float) -> float:
        """Return the bytes a second that a source delivers at present, over its busy lanes."""
        return sum(
            self._run_rate(run, now)
            for run in self._active
            if run.source_id == source_id and self._lane_rate(run).is_known
        )

    @property
    def is_complete(self) -> bool:
        return self.left == 0

    # -- work ------------------------------------------------------------------------------------

    def next_run(self, source_id: str, lane: object, now: float) -> Run | None:
        """Return what `lane` should fetch next, or None when there is nothing for it now."""
        source = self._sources[source_id]
        if (
            self.left == 0
            or source.is_banned
            or source.score.is_given_up
            or now < source.score.blocked_until
        ):
            return None
        if source.is_sequential and any(run.source_id == source_id for run in self._active):
            return None
        rate = source.lanes.setdefault(lane, Rate())
        run = self._take(source, source_id, lane, rate, now) or self._steal(
            source, source_id, lane, rate, now
        )
        if run is not None:
            self._active.append(run)
        return run

    def leaf_arrived(self, run: Run, now: float) -> bool:
        """Note that `run.pos` has arrived and verified; return True when it was still missing."""
        leaf = run.pos
        size = self._edges[leaf + 1] - self._edges[leaf]
        source = self._sources[run.source_id]
        source.lanes[run.lane].record(size, now - run.last_at)
        run.last_at = now
        run.pos = leaf + 1
        source.cursor = run.pos
        if self.done[leaf]:
            # Not counted for the source: what all sources brought is the size of the whole.
            source.score.succeeded(0)
            self.duplicate_bytes += size
            return False
        source.score.succeeded(size)
        self.done[leaf] = 1
        self.left -= 1
        return True

    def wants_more(self, run: Run) -> bool:
        """Tell whether any leaf of the run is still missing; the lane asks after every leaf."""
        return self.done.find(0, run.pos, run.stop) >= 0

    def extend(self, run: Run) -> bool:
        """Let a run of a sequential source go on past its end; False when nothing follows."""
        stop = self._file_stop(run.stop - 1)
        if run.stop >= stop or self.done.find(0, run.stop, stop) < 0:
            return False
        grown = min(stop, run.stop + 16)
        self._todo = _without(self._todo, run.stop, grown)
        run.stop = grown
        return True

    def end_run(
        self,
        run: Run,
        now: float,
        *,
        failure: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Take a run out of work; what it did not bring goes back to the row.

        Args:
            failure: The reason when the source failed; None when the lane simply stopped.
            retry_after_s: What the source asked for, if it did.
        """
        self._active.remove(run)
        if failure is not None:
            self._sources[run.source_id].score.failed(now, failure, retry_after_s)
        missing = _gaps(self.done, run.pos, run.stop)
        for other in self._active:
            missing = _without(missing, other.pos, other.stop)
        if missing:
            self._todo = _joined(self._todo + missing)

    # -- private ---------------------------------------------------------------------------------

    def _take(
        self, source: _Source, source_id: str, lane: object, rate: Rate, now: float
    ) -> Run | None:
        found = self._find(source)
        if found is None:
            return None
        start, limit = found
        if source.max_batch and start < self._batch_stop:
            limit = min(limit, self._batch_stop, start + source.max_batch)
        else:
            limit = min(limit, self._file_stop(start))
        if source.is_sequential:
            stop = limit
        else:
            lanes = max(1, sum(len(s.lanes) for s in self._sources.values() if not s.is_banned))
            left_bytes = self._edges[-1] * self.left // max(1, self.leaves)
            want = min(MAX_RUN_BYTES, rate.bytes_per_s * RUN_S, left_bytes / (2 * lanes))
            stop = bisect_right(self._edges, self._edges[start] + want, start + 1, limit + 1) - 1
            stop = max(start + 1, min(limit, stop))
        self._todo = _without(self._todo, start, stop)
        return Run(source_id, lane, start, stop, stop, now)

    def _find(self, source: _Source) -> tuple[int, int] | None:
        """Return the first stretch to do that the source has, from its cursor on, cyclically."""
        todo = self._todo
        if not todo:
            return None
        first = bisect_right(todo, (source.cursor, self.leaves + 1)) - 1
        if first >= 0 and todo[first][1] > source.cursor:
            order = [(source.cursor, todo[first][1]), *todo[first + 1 :], *todo[: first + 1]]
        else:
            order = [*todo[first + 1 :], *todo[: first + 1]]
        if source.available is None:
            return order[0]
        for lo, hi in order:
            start = source.available.find(1, lo, hi)
            if start >= 0:
                stop = source.available.find(0, start, hi)
                return start, hi if stop < 0 else stop
        return None

    def _steal(
        self, source: _Source, source_id: str, lane: object, rate: Rate, now: float
    ) -> Run | None:
        if source.is_sequential:
            return None
        mine = rate.bytes_per_s
        slowest_first = sorted(
            ((self._eta(run, now), run) for run in self._active if run.pos < run.stop),
            key=lambda pair: -pair[0],
        )
        for eta, victim in slowest_first:
            size = self._edges[victim.stop] - self._edges[victim.stop - 1]
            if eta <= 1.5 * size / mine + STEAL_MARGIN_S:
                return None
            if victim.lane is lane:
                continue
            if victim.stop - victim.pos > 1:
                span = self._split(victim, source, mine, now)
            else:
                span = self._copy(victim, source, source_id, rate, now)
            if span is not None:
                return Run(source_id, lane, *span, span[1], now)
        return None

    def _split(
        self, victim: Run, source: _Source, mine: float, now: float
    ) -> tuple[int, int] | None:
        """Cut a tail off a run, in proportion to both rates; its first leaf is under way."""
        left = victim.stop - victim.pos
        share = min(left - 1, max(1, round(left * mine / (mine + self._run_rate(victim, now)))))
        start, stop = victim.stop - share, victim.stop
        if stop <= self._batch_stop:  # a batch: so many files as this source takes at once
            start = max(start, stop - max(1, source.max_batch))
        if source.available is not None:
            hole = source.available.rfind(0, start, stop)
            start = start if hole < 0 else hole + 1
        if start >= stop:
            return None
        victim.stop = start
        return start, stop

    def _copy(
        self, victim: Run, source: _Source, source_id: str, rate: Rate, now: float
    ) -> tuple[int, int] | None:
        """Return the last leaf of a run for a race, when every copy under way looks slow."""
        leaf = victim.pos
        if source.available is not None and not source.available[leaf]:
            return None
        copies = [run for run in self._active if run.pos <= leaf < run.stop]
        if len(copies) >= MAX_COPIES:
            return None
        if not rate.is_known and any(run.source_id == source_id for run in copies):
            return None
        size = self._edges[leaf + 1] - self._edges[leaf]
        soonest = min(self._eta(run, now) for run in copies)
        return (leaf, victim.stop) if soonest > 2 * size / rate.bytes_per_s else None

    def _eta(self, run: Run, now: float) -> float:
        return (self._edges[run.stop] - self._edges[run.pos]) / self._run_rate(run, now)

    def _run_rate(self, run: Run, now: float) -> float:
        """Return a lane's rate, lowered while nothing arrives: a stall shows at once."""
        rate = self._lane_rate(run).bytes_per_s
        size = self._edges[run.pos + 1] - self._edges[run.pos] if run.pos < self.leaves else 1
        idle = now - run.last_at
        if idle > STALL_S and idle > 3 * size / rate:
            rate = min(rate, size / idle)
        return max(rate, 1.0)

    def _lane_rate(self, run: Run) -> Rate:
        return self._sources[run.source_id].lanes[run.lane]

    def _file_stop(self, leaf: int) -> int:
        return self._file_stops[bisect_right(self._file_stops, leaf)]


def _gaps(done: bytearray, start: int = 0, stop: int | None = None) -> list[tuple[int, int]]:
    """Return the stretches of zero bytes in `done[start:stop]`."""
    stop = len(done) if stop is None else stop
    gaps = []
    lo = done.find(0, start, stop)
    while lo >= 0:
        hi = done.find(1, lo, stop)
        hi = stop if hi < 0 else hi
        gaps.append((lo, hi))
        lo = done.find(0, hi, stop)
    return gaps


def _without(runs: list[tuple[int, int]], start: int, stop: int) -> list[tuple[int, int]]:
    """Return the stretches with `[start, stop)` cut out."""
    kept = []
    for lo, hi in runs:
        if hi <= start or lo >= stop:
            kept.append((lo, hi))
            continue
        if lo < start:
            kept.append((lo, start))
        if hi > stop:
            kept.append((stop, hi))
    return kept


def _joined(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the stretches sorted, touching ones joined."""
    joined: list[tuple[int, int]] = []
    for lo, hi in sorted(runs):
        if joined and lo <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(hi, joined[-1][1]))
        else:
            joined.append((lo, hi))
    return joined

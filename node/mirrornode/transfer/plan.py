"""Which leaves to ask of whom next. Pure: events and the time come in, runs go out.

Driven by: `transfer.session`, under the board's lock; by the simulator in virtual time.

The rules, in the order they apply to a lane that asks for work:
1. in order only: the leaf that a reader waits for, when whoever fetches it looks slow;
2. a run of leaves nobody works on, the rarest first, at this source's cursor: as long as the
   lane's rate fills in `RUN_S` and many of its latencies, shorter towards the end so that all
   lanes end together, never across the end of a file (but many small files in one run);
3. else the tail of the run that will finish last, if this lane would finish it sooner (work
   stealing), split so that both end together;
4. else a copy of a run's last leaf when every copy under way looks slow, at most `MAX_COPIES`;
5. else nothing for now.
A run that falls far behind what its lane's rate promised gives its rest back before anything
times out. A source whose bytes were wrong is banned and never asked again.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from mirrornode.transfer.lanes import FIRST_LANES, LaneTrials
from mirrornode.transfer.race import MIN_RUN_S, RUN_S, STEAL_MARGIN_S, Race
from mirrornode.transfer.run import STALL_S, PlannedSource, Run
from mirrornode.transfer.score import Rate, Score
from mirrornode.transfer.stretches import cut_out, missing_in
from mirrornode.transfer.todo import Todo

LATENCIES_A_RUN = 32  # a far source gets longer runs: waiting costs it 3 % of its time
MAX_RUN_S = 6.0
ORDER_RUN_S = 0.15  # for a reader the next leaves count, not the long run
ORDER_LATENCIES = 12  # of a far source: with fewer its lanes wait for more than they bring
MAX_ORDER_RUN_S = 2.0
MAX_RUN_BYTES = 64 << 20
LOOK_EVERY_S = 0.1  # between two looks for late runs, and two sums of all rates
FEW_SOURCES = 2  # more of them fill a line with one lane each, until a trial shows otherwise
FAR_LANES = 16  # more for far sources at once, all together: a lost packet stops one of many
FAR_READER_LANES = 4  # not many beside the one that brings what a reader waits for
FAR_LEAVES = 4  # left for each lane at least
TURNED_AWAY_S = 2.0  # a refusal comes within some round trips, a timeout takes longer
LANE_BUDGET = 64  # lanes of all sources together; each source may have one in any case
GROW_LEFT_S = 3.0  # no more lanes are tried when less than this is left to do


class Plan:
    """The state of one transfer's work; not thread-safe, the caller holds a lock."""

    def __init__(
        self,
        edges: Sequence[int],
        file_stops: Sequence[int],
        done: bytearray | None = None,
        *,
        batch_stop: int = 0,
        in_order: bool = False,
        own_id: str = "",
    ) -> None:
        """Begin with all leaves to do but those marked in `done` (one byte a leaf, 1 = done).

        Args:
            edges: Byte position of each leaf in the row, the total as last element.
            file_stops: Leaf number after the last leaf of each file, ascending.
            done: Taken over, not copied.
            batch_stop: Leaves `[0, batch_stop)` are small files of one leaf each, of which a
                source that takes batches may bring many in one run.
            in_order: For a reader who waits for the first leaf that is missing: every source
                takes the earliest leaf to do, in short runs, and slow owners of it are raced.
            own_id: The source ID under which other takers know this one, so that a crowd divides
                what it asks of a seed; see `transfer.territory`.
        """
        self._edges = edges
        self._file_stops = file_stops
        self._batch_stop = batch_stop
        self._in_order = in_order
        self.leaves = len(edges) - 1
        self.done = bytearray(self.leaves) if done is None else done
        self.left = self.done.count(0)
        self.left_bytes = sum(
            edges[hi] - edges[lo] for lo, hi in missing_in(self.done, 0, self.leaves)
        )
        self.duplicate_bytes = 0
        self._sources: dict[str, PlannedSource] = {}
        self._active: dict[Run, None] = {}
        self._todo = Todo(self.done, own_id=own_id, in_order=in_order)
        self._race = Race(edges, self.done, self._active, batch_stop)
        self._look_at = -math.inf
        self._granted = 0  # lanes of all sources, as of the last look and since
        self._speed = 0.0  # of all active runs together, as of the last look

    # -- sources ---------------------------------------------------------------------------------

    def add_source(
        self,
        source_id: str,
        *,
        available: bytearray | None = None,
        cursor: int = 0,
        max_batch: int = 0,
        max_lanes: int = FIRST_LANES,
        near_lanes: int | None = None,
    ) -> None:
        """Admit a source, or revive one that was given up; a banned one stays banned.

        Args:
            available: One byte a leaf, 1 where the source has it; None means all.
            cursor: The leaf to begin with, if the source has it and nobody works on it.
            max_batch: How many small files a run may hold.
            max_lanes: Never grant more lanes than this.
            near_lanes: Nor more than this while the source is not known to be far.
        """
        source = self._sources.get(source_id)
        if source is None:
            is_crowded = len(self._sources) >= FEW_SOURCES
            self._sources[source_id] = PlannedSource(
                self._todo.admit(source_id, available),
                LaneTrials(max_lanes, 1 if is_crowded else FIRST_LANES, near=near_lanes),
                max_batch,
                cursor,
            )
        elif not source.is_banned:
            self._todo.set_available(source.holding, available)
            source.score.revived()
            source.score.failures = 0

    def set_available(self, source_id: str, available: bytearray | None) -> None:
        """Replace what a partial source is known to have."""
        source = self._sources[source_id]
        if not source.is_banned:
            self._todo.set_available(source.holding, available)

    def has_any(self, source_id: str) -> bool:
        """Tell whether a source has any leaf that is still missing, as far as it is known."""
        available = self._sources[source_id].holding.available
        if available is None:
            return self.left > 0
        return any(
            available.find(1, lo, hi) >= 0 for lo, hi in missing_in(self.done, 0, self.leaves)
        )

    def revive(self, source_id: str) -> None:
        """Give a source that was given up one more try; its next failure ends it again."""
        self._sources[source_id].score.revived()

    def lacks(self, run: Run, reason: str = "", *, whole_file: bool = False) -> None:
        """Note that a source answered "not here" for the rest of a run, in one file.

        A batch ends at its first missing file and tells nothing of those behind it.

        Args:
            whole_file: The answer speaks for the whole file that the run begins in.
        """
        source = self._sources[run.source_id]
        start, stop = run.pos, self._file_stop(run.pos)
        if whole_file:
            index = bisect_right(self._file_stops, start)
            start = self._file_stops[index - 1] if index else 0
        else:
            stop = min(run.stop, stop)
        source.score.last_reason = reason or source.score.last_reason
        if not source.is_banned:
            self._todo.lacks(source.holding, start, stop)
            # It is likely to lack what follows as well: look ever further off.
            source.lacked = max(1, 2 * source.lacked)
            source.cursor = (stop + source.lacked * (stop - run.pos)) % self.leaves

    def set_sequential(self, run: Run) -> bool:
        """Note that a run's source ignores ranges, so that only one lane may use it, in order.

        Returns:
            Whether this run is the one that goes on: the one nearest to the start.
        """
        source = self._sources[run.source_id]
        source.is_sequential = True
        return run.pos == min(other.pos for other in source.runs)

    def ban(self, source_id: str, reason: str) -> None:
        """Never ask this source again in this transfer."""
        source = self._sources[source_id]
        if not source.is_banned:
            source.is_banned = True
            self._todo.forget(source.holding)
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
        return "active" if source.runs else "idle"

    def rate(self, source_id: str, now: float) -> float:
        """Return the bytes a second that a source delivers at present, over its busy lanes."""
        runs = self._sources[source_id].runs
        return sum(run.speed(self._edges, now) for run in runs if run.rate.is_known)

    @property
    def is_complete(self) -> bool:
        return self.left == 0

    # -- lanes -----------------------------------------------------------------------------------

    def wanted_lanes(self, source_id: str, now: float) -> int:
        """Return how many lanes a source should have now; ask every few tenths of a second."""
        source = self._sources[source_id]
        if not source.is_usable or self.left == 0:
            return 0
        if source.is_sequential:
            return 1
        room = 0
        if self.left_bytes > GROW_LEFT_S * self._speed and not source.score.late_runs:
            room = max(0, LANE_BUDGET - self._granted)
        busy = sum(rate.is_known for rate in source.lanes.values())
        before = source.trials.wanted
        if source.score.is_far:
            source.trials.note_far(min(room, self._far_room()))
        wanted = source.trials.look(now, busy, room)
        self._granted += wanted - before
        return wanted

    def _far_room(self) -> int:
        """Return how many lanes a far source may have beyond the first, before any trial."""
        most = FAR_READER_LANES if self._in_order else FAR_LANES
        return min(most, self.left // FAR_LEAVES) - self._granted

    def keeps_lane(self, source_id: str, lane: object) -> bool:
        """Tell whether a lane that asks for work should stay; else it ends and is forgotten."""
        source = self._sources[source_id]
        wanted = 1 if source.is_sequential else source.trials.wanted
        others = len(source.lanes) - (lane in source.lanes)
        if source.is_usable and self.left and others < wanted:
            return True
        source.lanes.pop(lane, None)
        return False

    # -- work ------------------------------------------------------------------------------------

    def next_run(self, source_id: str, lane: object, now: float) -> Run | None:
        """Return what `lane` should fetch next, or None when there is nothing for it now."""
        source = self._sources[source_id]
        if self.left == 0 or not source.is_usable or now < source.score.blocked_until:
            return None
        if source.is_sequential and source.runs:
            return None
        if now >= self._look_at:
            self._look(now)
        rate = source.lanes.get(lane)
        if rate is None:
            rate = source.lanes[lane] = Rate(prior=source.lane_rate)
        span = None
        if self._in_order and not source.is_sequential:
            span = self._race.for_reader(source, rate, self._run_bytes(source, rate), now)
        span = span or self._take(source, rate, now) or self._race.steal(source, rate, now)
        if span is None:
            source.trials.starved()
            return None
        start, stop = span
        latency_s = source.score.latency_s
        run = Run(source_id, lane, start, stop, now, now, rate, latency_s)
        promised_s = latency_s + (self._edges[stop] - self._edges[start]) / rate.bytes_per_s
        run.slow_at = now + 2 * promised_s + STALL_S
        if not source.runs:
            source.score.began(now)
        self._active[run] = source.runs[run] = None
        return run

    def answered(self, run: Run, now: float) -> None:
        """Note that the source has begun to answer the (first) request for a run."""
        if run.is_answered:
            return
        self._sources[run.source_id].score.answered(now - run.began_at)
        run.is_answered = True
        run.last_at = now

    def leaf_arrived(self, run: Run, now: float) -> bool:
        """Note that `run.pos` has arrived and verified; return True when it was still missing."""
        leaf = run.pos
        size = self._edges[leaf + 1] - self._edges[leaf]
        source = self._sources[run.source_id]
        run.rate.record(size, now - run.last_at)
        source.trials.arrived(size)
        run.last_at = now
        run.pos = source.cursor = leaf + 1
        run.is_answered = True
        run.is_late = False
        source.lacked = 0
        if self.done[leaf]:
            # Not counted for the source: what all sources brought is the size of the whole.
            source.score.succeeded(0, now)
            self.duplicate_bytes += size
            return False
        source.score.succeeded(size, now)
        self.done[leaf] = 1
        self.left -= 1
        self.left_bytes -= size
        if self._todo.is_open(leaf):  # given back, because it was late
            self._todo.take(leaf, leaf + 1)
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
        self._todo.take(run.stop, grown)
        run.stop = grown
        return True

    def end_run(
        self,
        run: Run,
        now: float,
        *,
        failure: str | None = None,
        retry_after_s: float | None = None,
    ) -> bool:
        """Take a run out of work; what it did not bring is to be done by others.

        Args:
            failure: The reason when the source failed; None when the lane simply stopped.
            retry_after_s: What the source asked for, if it did.

        Returns:
            Whether leaves were given back, so that a lane without work should look again.
        """
        run.is_open = False
        source = self._sources[run.source_id]
        del self._active[run], source.runs[run]
        if not source.runs:
            source.score.rested(now)
        if failure is not None and retry_after_s is None and _is_turned_away(source, run, now):
            source.score.last_reason = failure  # but it has not failed: it has enough of us
            source.trials.refused(now, sum(other.is_answered for other in source.runs))
        elif failure is not None:
            source.score.failed(now, failure, retry_after_s)
            if retry_after_s is not None:
                source.trials.refused(now)
        return self._give_back(run.pos, run.stop)

    # -- what to take ----------------------------------------------------------------------------

    def _take(self, source: PlannedSource, rate: Rate, now: float) -> tuple[int, int] | None:
        """Take leaves out of the row that nobody works on."""
        cursor = self._place_in_order(source, rate, now) if self._in_order else source.cursor
        found = self._todo.find(source.holding, cursor, now)
        if found is None:
            return None
        start, limit = found
        if self._in_order and start < cursor:
            return None  # all that is left is better brought by another
        if source.max_batch and start < self._batch_stop:
            limit = min(limit, self._batch_stop, start + source.max_batch)
        else:
            limit = min(limit, self._file_stop(start))
        if not source.is_sequential:
            if self._is_too_late(source, start, rate):
                return None
            edges = self._edges
            want = self._run_bytes(source, rate)
            limit = bisect_right(edges, edges[start] + want, start + 1, limit + 1) - 1
        stop = self._todo.reach(source.holding, start, max(start + 1, limit))
        self._todo.take(start, stop)
        return start, stop

    def _place_in_order(self, source: PlannedSource, rate: Rate, now: float) -> int:
        """Return from where on a source should look for work when a reader waits.

        That is the start, unless another will bring the earliest leaf much sooner: then it is what
        the reader needs by the time that this source can have brought it.
        """
        found = self._todo.find(source.holding, 0, now)
        if found is None or source.score.last_success_at == -math.inf:
            return 0
        leaf = found[0]
        mine_s = source.first_leaf_s(self._edges, leaf)
        best_s = min(
            (
                other.first_leaf_s(self._edges, leaf)
                for other in self._sources.values()
                if other is not source
                and other.is_usable
                and other.holding.has(leaf)
                and other.score.last_success_at > now - STALL_S
            ),
            default=mine_s,
        )
        if mine_s <= 2 * best_s + STEAL_MARGIN_S:
            return 0
        # Rather too far ahead than too near: what comes after the reader is fetched twice.
        ahead_s = 2 * max(mine_s, self._run_bytes(source, rate) / rate.bytes_per_s)
        return bisect_right(self._edges, self._edges[leaf] + self._speed * ahead_s) - 1

    def _run_bytes(self, source: PlannedSource, rate: Rate) -> float:
        """Return how much a lane should ask for."""
        latency_s = source.score.latency_s
        run_s = max(RUN_S, LATENCIES_A_RUN * latency_s)
        if self._in_order:
            run_s = max(ORDER_RUN_S, min(MAX_ORDER_RUN_S, ORDER_LATENCIES * latency_s))
        run_s = min(run_s, MAX_RUN_S)
        if self._speed:
            left_s = self.left_bytes / self._speed
            run_s = max(min(run_s, left_s / 2), MIN_RUN_S + latency_s)
        return min(MAX_RUN_BYTES, rate.bytes_per_s * run_s * source.score.weight)

    def _is_too_late(self, source: PlannedSource, start: int, rate: Rate) -> bool:
        """Tell whether the others will have brought everything long before this lane one leaf."""
        if not self._speed or not rate.is_known or self._in_order:
            return False
        if self._todo.has_partial_sources:
            return False  # the others may not have what this source has
        leaf_s = (self._edges[start + 1] - self._edges[start]) / rate.bytes_per_s
        left_s = self.left_bytes / self._speed
        return source.score.latency_s + leaf_s > 2 * left_s + STEAL_MARGIN_S

    # -- late runs -------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        """Sum up the rates, and take from late runs what others may bring sooner."""
        self._look_at = now + LOOK_EVERY_S
        edges = self._edges
        self._speed = sum(run.speed(edges, now) for run in self._active)
        self._granted = sum(s.trials.wanted for s in self._sources.values() if s.is_usable)
        for run in self._active:
            if run.is_late or run.pos >= run.stop:
                continue
            idle = now - run.last_at
            if idle > STALL_S and idle > STALL_S + 3 * run.leaf_s(edges):
                if self._others_deliver(run):
                    self._note_late(run, run.pos)
            elif (
                now > run.slow_at
                and run.left_s(edges, now) > 2 * RUN_S
                and self._others_deliver(run)
            ):
                # It still delivers: it keeps what it brings soon.
                keep = edges[run.pos] + run.speed(edges, now) * RUN_S
                self._note_late(run, max(run.pos + 1, bisect_right(edges, keep) - 1))

    def _others_deliver(self, run: Run) -> bool:
        """Tell whether anyone brought anything since: else it is our own line that hangs."""
        return any(
            source.score.last_success_at > run.last_at
            for source_id, source in self._sources.items()
            if source_id != run.source_id
        )

    def _note_late(self, run: Run, start: int) -> None:
        """Give the leaves of a run from `start` on back; its leaf under way may come twice."""
        stop, run.stop = run.stop, max(run.pos + 1, start)
        run.is_late = start == run.pos
        run.slow_at = math.inf
        self._sources[run.source_id].score.late_runs += 1
        self._give_back(start, stop, run)

    # -- private ---------------------------------------------------------------------------------

    def _give_back(self, start: int, stop: int, but: Run | None = None) -> bool:
        """Put what is missing and nobody else works on back into the row."""
        missing = missing_in(self.done, start, stop)
        for other in self._active:
            if other is not but and missing and other.pos < stop and other.stop > start:
                missing = cut_out(missing, other.pos, other.stop)
        for lo, hi in missing:
            self._todo.give_back(lo, hi)
        return bool(missing)

    def _file_stop(self, leaf: int) -> int:
        return self._file_stops[bisect_right(self._file_stops, leaf)]


def _is_turned_away(source: PlannedSource, run: Run, now: float) -> bool:
    """Tell whether a server closed one connection at once while it answers others of ours.

    It has as many as it takes of us, or of all behind our address.
    """
    is_quick = now - run.began_at < TURNED_AWAY_S
    return is_quick and not run.is_answered and any(other.is_answered for other in source.runs)

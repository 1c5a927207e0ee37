"""The one place where lanes and the plan meet: the plan's lock, waiting, and finished files.

Threads of lanes take runs here and report leaves; the session reads progress. Everything behind
`_lock` is short and does no I/O.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirrornode.events import SourceState
from mirrornode.transfer.lanes import FIRST_LANES
from mirrornode.transfer.plan import Plan

if TYPE_CHECKING:
    from mirrornode.transfer.manifest import Manifest
    from mirrornode.transfer.run import Run
    from mirrornode.wire.ranges import Run as ByteRun

IDLE_WAIT_S = 0.05  # how often a lane without work looks again (stealing depends on time)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Progress at one moment."""

    done_bytes: int
    leaves_left: int
    last_arrival: float
    sources: tuple[SourceState, ...]


class Board:
    """Shared state of one running transfer."""

    def __init__(
        self,
        manifest: Manifest,
        done: bytearray,
        *,
        in_order: bool = False,
        own_id: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with the leaves marked in `done` finished already (taken over, not copied).

        Args:
            in_order: See `Plan`.
            own_id: See `Plan`.
        """
        self._manifest = manifest
        self._clock = clock
        lock = threading.Lock()
        self._changed = threading.Condition(lock)  # for the session
        self._work = threading.Condition(lock)  # for lanes: many files end without more to do
        self._plan = Plan(
            manifest.edges,
            [file.stop_leaf for file in manifest.files],
            done,
            batch_stop=manifest.batch_stop,
            in_order=in_order,
            own_id=own_id,
        )
        self._left_in_file = [
            done.count(0, file.first_leaf, file.stop_leaf) for file in manifest.files
        ]
        self._done_bytes = sum(
            file.map.size_bytes
            - sum(
                file.map.lengths[index]
                for index in range(file.map.leaves)
                if not done[file.first_leaf + index]
            )
            for file in manifest.files
        )
        self._finished = [index for index, left in enumerate(self._left_in_file) if left == 0]
        self._is_closed = False
        self._last_arrival = clock()
        self._dirty: set[int] = set()
        self._may_grow: dict[str, bool] = {}  # by source: whether it may get what it lacks

    # -- lanes -----------------------------------------------------------------------------------

    def take(self, source_id: str, lane: object) -> Run | None:
        """Wait for work for a lane; None means the lane should end."""
        with self._work:
            while not self._is_closed and self._plan.keeps_lane(source_id, lane):
                run = self._plan.next_run(source_id, lane, self._clock())
                if run is not None:
                    return run
                self._work.wait(IDLE_WAIT_S)
            return None

    def wanted_lanes(self, source_id: str) -> int:
        """Return how many lanes a source should have now; see `Plan.wanted_lanes`."""
        with self._changed:
            return 0 if self._is_closed else self._plan.wanted_lanes(source_id, self._clock())

    def answered(self, run: Run, rtt_s: float | None = None) -> None:
        """Note that the source has begun to answer the request for a run.

        Args:
            rtt_s: The round trip of the lane's connection, where that is known.
        """
        with self._changed:
            self._plan.answered(run, self._clock())
            if rtt_s is not None:
                self._plan.score(run.source_id).crossed(rtt_s)

    def arrived(self, run: Run) -> bool:
        """Note a verified and written leaf; return whether the lane should go on with the run."""
        with self._changed:
            leaf = run.pos
            now = self._last_arrival = self._clock()
            if self._plan.leaf_arrived(run, now):
                index, number = self._manifest.locate(leaf)
                self._done_bytes += self._manifest.files[index].map.lengths[number]
                self._dirty.add(index)
                self._left_in_file[index] -= 1
                if self._left_in_file[index] == 0:
                    self._finished.append(index)
                    if len(self._finished) == 1:
                        self._changed.notify_all()  # who is awake takes the others, too
                if self._plan.is_complete:
                    self._changed.notify_all()
                    self._work.notify_all()
            return not self._is_closed and self._plan.wants_more(run)

    def extend(self, run: Run) -> bool:
        """Let the run of a sequential source go on past its end, if that brings anything."""
        with self._changed:
            return not self._is_closed and self._plan.extend(run)

    def end(
        self, run: Run, *, failure: str | None = None, retry_after_s: float | None = None
    ) -> None:
        """Give a run back; see `Plan.end_run`."""
        with self._work:
            if self._is_closed:
                failure = None  # broken off by us: what the source did before is its reason
            now = self._clock()
            if self._plan.end_run(run, now, failure=failure, retry_after_s=retry_after_s):
                self._work.notify_all()

    def ban(self, source_id: str, reason: str) -> None:
        """Never ask this source again."""
        with self._work:
            self._plan.ban(source_id, reason)
            self._work.notify_all()

    def lacks(self, run: Run, reason: str, *, whole_file: bool = False) -> None:
        """Note that the run's source does not have its leaves; see `Plan.lacks`."""
        with self._changed:
            self._plan.lacks(run, reason, whole_file=whole_file)

    def set_sequential(self, run: Run) -> bool:
        """Note that a source ignores ranges; return whether this run of it may go on."""
        with self._changed:
            return self._plan.set_sequential(run)

    # -- the session -----------------------------------------------------------------------------

    def add_source(
        self,
        source_id: str,
        available: bytearray | None,
        cursor: int,
        max_batch: int = 0,
        max_lanes: int = FIRST_LANES,
        *,
        may_grow: bool = False,
        near_lanes: int | None = None,
        rtt_s: float | None = None,
    ) -> None:
        """Admit or revive a source; a source that just arrived counts as a sign of life.

        Args:
            near_lanes: See `Plan.add_source`.
            rtt_s: The round trip to the source, where that is known already.
        """
        with self._changed:
            self._may_grow[source_id] = may_grow
            self._plan.add_source(
                source_id,
                available=available,
                cursor=cursor,
                max_batch=max_batch,
                max_lanes=max_lanes,
                near_lanes=near_lanes,
            )
            if rtt_s is not None:
                self._plan.score(source_id).crossed(rtt_s)
            self._last_arrival = self._clock()

    def revive(self, source_id: str) -> None:
        """Ask a source that was given up once more; no sign of life before it has answered."""
        with self._work:
            self._plan.revive(source_id)
            self._work.notify_all()

    def set_available(
        self, source_id: str, available: bytearray | None, *, may_grow: bool = False
    ) -> None:
        """Replace what a partial source is known to have."""
        with self._work:
            self._may_grow[source_id] = may_grow
            self._plan.set_available(source_id, available)
            self._work.notify_all()

    def state(self, source_id: str) -> str:
        with self._changed:
            return self._plan.state(source_id)

    def may_bring(self, source_id: str) -> bool:
        """Tell whether a source is at work and has anything that is missing."""
        with self._changed:
            is_usable = self._plan.state(source_id) in ("active", "idle")
            return not self._is_closed and is_usable and self._plan.has_any(source_id)

    def take_finished(self) -> list[int]:
        """Return the indexes of files whose last leaf has arrived, each once."""
        with self._changed:
            finished, self._finished = self._finished, []
            return finished

    def take_dirty(self) -> dict[int, bytes]:
        """Return a copy of the done map of each unfinished file that changed since the last call.

        The copy is taken before the caller syncs the files, so it never claims unsynced bytes.
        """
        with self._changed:
            dirty, self._dirty = self._dirty, set()
            files = self._manifest.files
            return {
                index: bytes(self._plan.done[files[index].first_leaf : files[index].stop_leaf])
                for index in dirty
                if self._left_in_file[index]
            }

    def snapshot(self, source_ids: Sequence[str]) -> Snapshot:
        """Return the progress now, with one line for each of `source_ids`."""
        with self._changed:
            now = self._clock()
            plan = self._plan
            states = tuple(_state(plan, source_id, now) for source_id in source_ids)
            return Snapshot(self._done_bytes, plan.left, self._last_arrival, states)

    def done_map(self) -> bytes:
        """Return one byte a leaf, 1 where it is verified and written."""
        with self._changed:
            return bytes(self._plan.done)

    def is_hopeless(self) -> bool:
        """Tell whether all sources have said that they lack what is missing, and will go on so.

        One that failed may come back, one that is still fetching may get it: then there is hope.
        """
        with self._changed:
            if not self._may_grow or self._plan.is_complete:
                return False
            for source_id, may_grow in self._may_grow.items():
                state = self._plan.state(source_id)
                if state == "banned":
                    continue
                if may_grow or state == "failed" or self._plan.has_any(source_id):
                    return False
            return True

    def have_runs(self, index: int) -> list[ByteRun]:
        """Return the verified byte runs of a file that is still in transfer."""
        with self._changed:
            file = self._manifest.files[index]
            done = self._plan.done
            runs: list[ByteRun] = []
            leaf = done.find(1, file.first_leaf, file.stop_leaf)
            while leaf >= 0:
                stop = done.find(0, leaf, file.stop_leaf)
                stop = file.stop_leaf if stop < 0 else stop
                last = stop - 1 - file.first_leaf
                start = file.map.starts[leaf - file.first_leaf]
                end = file.map.starts[last] + file.map.lengths[last]
                if start < end:  # a leaf without bytes is no run
                    runs.append((start, end))
                leaf = done.find(1, stop, file.stop_leaf)
            return runs

    def arrived_until(self, index: int, offset: int) -> int:
        """Return the end of what has arrived of a file from `offset` on; `offset` when nothing."""
        with self._changed:
            file = self._manifest.files[index]
            starts, size_bytes = file.map.starts, file.map.size_bytes
            leaf = file.first_leaf + bisect_right(starts, offset) - 1
            missing = self._plan.done.find(0, leaf, file.stop_leaf)
            return size_bytes if missing < 0 else max(offset, starts[missing - file.first_leaf])

    def is_file_complete(self, index: int) -> bool:
        with self._changed:
            return self._left_in_file[index] == 0

    def wait_finished(self, timeout_s: float, gather_s: float) -> None:
        """Sleep until a file is complete or the time is over, and a little longer for more files.

        Args:
            gather_s: How long the first may wait for others, unless nothing more is to come.
        """
        with self._changed:
            if not self._finished and not self._plan.is_complete:
                self._changed.wait(timeout_s)
            if self._finished and not self._plan.is_complete and not self._is_closed:
                self._changed.wait(gather_s)

    def close(self) -> None:
        """End all lanes at their next step."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            self._work.notify_all()


def _state(plan: Plan, source_id: str, now: float) -> SourceState:
    """Return how a source is doing."""
    score = plan.score(source_id)
    return SourceState(
        source_id,
        plan.state(source_id),
        score.received_bytes,
        plan.rate(source_id, now),
        score.last_reason,
        score.first_byte_s,
        score.rtt_s,
        score.busy_until(now),
        score.total_failures,
    )

"""One transfer from start to finish: admits sources, runs their lanes, finishes files.

asyncio plans, threads move bytes: this module starts and ends the threads, turns their progress
into events and decides when to give up. It knows nothing of where sources come from.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirrornode.errors import MirrorError
from mirrornode.events import GetProgress, SourceState
from mirrornode.sources.ports import FarOrNear
from mirrornode.transfer.board import Board
from mirrornode.transfer.finishing import Finishers
from mirrornode.transfer.keeper import Keeper
from mirrornode.transfer.score import Rate
from mirrornode.transfer.worker import LaneWorker

if TYPE_CHECKING:
    from mirrornode.sources.ports import Pace, Source
    from mirrornode.transfer.journal import Journal
    from mirrornode.transfer.manifest import Manifest
    from mirrornode.transfer.outputs import OutputFile

log = logging.getLogger(__name__)

TICK_S = 0.2
FIRST_TICK_S = 0.05  # in the first second: whoever turns out to be far gets more lanes
HOPELESS_S = 5.0  # how long sources that nobody knows of yet may take, when all others lack it
CLAIM_EVERY_S = 5.0  # the sync window: what a power cut may cost
GATHER_S = 0.03  # small files are finished and recorded many at a time: waking up costs more
JOIN_S = 5.0
SPARED_S = 0.02  # between two looks whether this disk has brought all it has
RETRY_EVERY_S = 10.0  # between two tries of a source that was given up


@dataclass(frozen=True, slots=True)
class Offer:
    """A source for the running transfer; `available` has one byte a leaf, None means all."""

    source: Source
    available: bytearray | None = None
    reads_from_start: bool = False  # far servers may ignore ranges: begin with the first leaf
    may_grow: bool = True  # what `available` lacks may come: the source is fetching, too
    is_back: bool = False  # it was away, and answers again: its rest after failures is over
    spares_others: bool = False  # the sources offered after it wait until it has brought all it has

    @property
    def may_get_more(self) -> bool:
        """Whether a later offer of this source may have more."""
        return self.may_grow and self.available is not None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a transfer ended.

    Attributes:
        sources: Final state of every source that was admitted.
        unfinished: Outputs that lack leaves; empty when all is done.
        is_hopeless: Every source said that it lacks what is missing.
    """

    sources: tuple[SourceState, ...]
    unfinished: tuple[OutputFile, ...]
    is_hopeless: bool = False


class TransferSession:
    """Runs one manifest to its end; made for one use."""

    def __init__(
        self,
        manifest: Manifest,
        outputs: Sequence[OutputFile],
        done: bytearray,
        journal: Journal,
        *,
        resumed_bytes: int,
        on_progress: Callable[[GetProgress], None],
        check_whole: Callable[[OutputFile], None],
        on_finished: Callable[[Sequence[OutputFile]], None],
        in_order: bool = False,
        is_followed: bool = False,
        own_id: str = "",
        hopeless_s: float = HOPELESS_S,
        retry_every_s: float = RETRY_EVERY_S,
        pace: Pace | None = None,
    ) -> None:
        """Prepare.

        Args:
            hopeless_s: How long to wait for new sources when those that are known lack the rest.
            done: One byte a leaf of the manifest, 1 where the outputs hold it; taken over.
            check_whole: Called in a thread with each complete file before it gets its final
                name, or with one that has it already; raises when the whole is not what was
                asked for.
            on_finished: Called in a thread with files that just got their final names.
            in_order: For a reader who waits for the first byte that is missing.
            is_followed: Somebody goes through the bytes from the start as they come, without
                haste: the first source begins there, and not just anywhere.
            own_id: The source ID under which other takers know this node; see `Plan`.
            retry_every_s: Pause between two tries of a source that was given up.
            pace: How fast all lanes together may receive; None = no limit.
        """
        self.manifest = manifest
        self.outputs = outputs
        self.board = Board(manifest, done, in_order=in_order, own_id=own_id)
        self._journal = journal
        self._resumed_bytes = resumed_bytes
        self._on_progress = on_progress
        self._check_whole = check_whole
        self._on_finished = on_finished
        self._sources: dict[str, Source] = {}
        self._workers: dict[str, list[LaneWorker]] = {}
        self._hopeless_s = hopeless_s
        self._retry_every_s = retry_every_s
        self._pace = pace
        self._failure: MirrorError | None = None
        self._files_done = 0
        self._rate = Rate()
        self._cursor = 0 if is_followed else random.Random().randrange(max(1, manifest.leaves))

    @property
    def rate_bytes_per_s(self) -> float:
        """Verified bytes a second of late, from all sources together."""
        return self._rate.bytes_per_s if self._rate.is_known else 0.0

    @property
    def sources(self) -> tuple[SourceState, ...]:
        """What every source that was admitted has done so far; also after the end."""
        return self.board.snapshot(list(self._sources)).sources

    async def run(self, offers: AsyncIterator[Offer], timeout_s: float) -> Outcome:
        """Bring every leaf, from whatever `offers` yields, and finish every file.

        Returns early, with `unfinished` files, when nothing has arrived for `timeout_s`, or soon
        after every source has said that it lacks what is missing.

        Raises:
            StoreError: This machine's disk failed.

        Cancelling keeps the parts and their claims; the next run resumes.
        """
        admit = asyncio.create_task(self._admit(offers))
        finish = asyncio.create_task(self._finish_files())
        claim = asyncio.create_task(self._claim_now_and_then())
        keeper = Keeper(self._alive)
        keeper.start()
        retry = asyncio.create_task(self._try_again_now_and_then())
        try:
            await self._watch((finish, admit, claim, retry), timeout_s)
        finally:
            # First what needs no waiting, in case somebody cancels a second time.
            self.board.close()
            keeper.stop()
            for task in (admit, claim, retry, finish):
                task.cancel()
            for worker in self._alive():
                worker.abort()
            await asyncio.gather(admit, claim, retry, finish, return_exceptions=True)
            await self._stop_lanes()
            await asyncio.shield(asyncio.to_thread(self._close))
        if self._failure is not None:
            raise self._failure
        unfinished = tuple(output for output in self.outputs if not output.is_finished)
        return Outcome(self.sources, unfinished, self.board.is_hopeless())

    def update(self, source_id: str, available: bytearray | None) -> None:
        """Replace what a partial source is known to have."""
        self.board.set_available(source_id, available)

    # -- sources ---------------------------------------------------------------------------------

    async def _admit(self, offers: AsyncIterator[Offer]) -> None:
        async for offer in offers:
            source = offer.source
            source_id = source.source_id
            if source_id in self._sources:
                state = self.board.state(source_id)
                if state in ("active", "idle"):
                    self.board.set_available(
                        source_id, offer.available, may_grow=offer.may_get_more
                    )
                    if offer.is_back:
                        self.board.revive(source_id)
                if state != "failed":
                    continue
            self._sources[source_id] = source
            peer = source if isinstance(source, FarOrNear) else None
            self.board.add_source(
                source_id,
                offer.available,
                self._next_cursor(offer),
                source.max_batch,
                source.max_lanes,
                may_grow=offer.may_get_more,
                near_lanes=peer.near_lanes if peer else None,
                rtt_s=peer.round_trip_s if peer else None,
            )
            self._start_lanes(source)
            log.info("source admitted source=%s", source_id)
            # Threads report leaves thousands a second: looking costs less than being told.
            while offer.spares_others and self.board.may_bring(source_id):  # noqa: ASYNC110
                await asyncio.sleep(SPARED_S)

    def _start_lanes(self, source: Source) -> None:
        """Start the lanes that the plan wants and that are not there; lanes end by themselves."""
        workers = [w for w in self._workers.get(source.source_id, ()) if w.is_alive()]
        self._workers[source.source_id] = workers
        for _ in range(self.board.wanted_lanes(source.source_id) - len(workers)):
            worker = LaneWorker(
                source, self.board, self.manifest, self.outputs, self._fail_locally, self._pace
            )
            workers.append(worker)
            worker.start()

    def _alive(self) -> list[LaneWorker]:
        lanes = list(self._workers.values())  # at once: other threads look, too
        return [worker for workers in lanes for worker in workers if worker.is_alive()]

    async def _try_again_now_and_then(self) -> None:
        """Give sources that were given up another try: an outage of a minute is no death."""
        while True:
            await asyncio.sleep(self._retry_every_s)
            for source_id, source in list(self._sources.items()):
                if self.board.state(source_id) == "failed":
                    self.board.revive(source_id)
                    self._start_lanes(source)
                    log.info("source tried again source=%s", source_id)

    def _next_cursor(self, offer: Offer) -> int:
        """Spread the sources over the row: takers of one seed soon have what others lack."""
        if offer.reads_from_start:
            return 0
        leaves = max(1, self.manifest.leaves)
        # The golden ratio puts each next start into the widest gap between the earlier ones.
        cursor, self._cursor = self._cursor, int(self._cursor + 0.618 * leaves) % leaves
        return cursor

    def _fail_locally(self, failure: MirrorError) -> None:
        self._failure = self._failure or failure
        self.board.close()

    async def _stop_lanes(self) -> None:
        deadline = time.monotonic() + JOIN_S
        while (workers := self._alive()) and time.monotonic() < deadline:
            for worker in workers:
                worker.abort()  # again: a lane may just have begun to connect
            await asyncio.to_thread(workers[0].join, TICK_S)
        for worker in self._alive():
            log.warning("lane did not end in time lane=%s", worker.name)

    # -- watching --------------------------------------------------------------------------------

    async def _watch(self, tasks: tuple[asyncio.Task[None], ...], timeout_s: float) -> None:
        finish, *others = tasks
        last_bytes, last_at = self.board.snapshot(()).done_bytes, time.monotonic()
        signs, last_sign = 0, last_at
        hopeful_at = began = last_at
        while not finish.done():
            is_new = time.monotonic() - began < 1.0
            await asyncio.wait([finish], timeout=FIRST_TICK_S if is_new else TICK_S)
            for task in others:
                if task.done():
                    task.result()  # they end early only by a bug, which must be seen
            for source in self._sources.values():
                self._start_lanes(source)
            snapshot = self.board.snapshot(list(self._sources))
            now = time.monotonic()
            self._rate.record(snapshot.done_bytes - last_bytes, now - last_at)
            last_bytes, last_at = snapshot.done_bytes, now
            received = sum(worker.received_bytes for worker in self._alive())
            if received != signs:
                signs, last_sign = received, now
            self._on_progress(
                GetProgress(
                    "transfer" if snapshot.leaves_left else "finishing",
                    snapshot.done_bytes,
                    self.manifest.size_bytes,
                    self._resumed_bytes,
                    self.rate_bytes_per_s,
                    self._files_done,
                    len(self.outputs),
                    snapshot.sources,
                )
            )
            if self._failure is not None:
                return
            # A leaf may take long on a slow line: bytes that arrive count as well.
            alive_at = max(snapshot.last_arrival, last_sign)
            if snapshot.leaves_left and now - alive_at > timeout_s:
                return
            if not self.board.is_hopeless():
                hopeful_at = now
            elif now - hopeful_at > self._hopeless_s:
                return
        await finish

    async def _finish_files(self) -> None:
        """Give every complete file its final name, until all have theirs."""
        with closing(Finishers()) as finishers:
            while self._files_done < len(self.outputs):
                batch = [self.outputs[index] for index in self.board.take_finished()]
                if not batch:
                    await asyncio.to_thread(self.board.wait_finished, TICK_S, GATHER_S)
                    continue
                work = asyncio.create_task(asyncio.to_thread(self._finish_batch, finishers, batch))
                try:
                    await asyncio.shield(work)
                except asyncio.CancelledError:
                    # Renamed files must be recorded, and nobody may close them meanwhile.
                    await asyncio.gather(work, return_exceptions=True)
                    raise
                except MirrorError as exc:
                    self._fail_locally(exc)
                    return
                self._files_done += len(batch)

    def _finish_batch(self, finishers: Finishers, batch: list[OutputFile]) -> None:
        fresh = [output for output in batch if not output.is_finished]
        for output in batch:
            self._check_whole(output)
        finishers.finish(fresh)
        self._on_finished(batch)
        for output in fresh:
            self._journal.forget(output)

    async def _claim_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(CLAIM_EVERY_S)
            await asyncio.to_thread(self._claim)

    def _claim(self) -> None:
        for index, done in self.board.take_dirty().items():
            try:
                self._journal.claim(self.outputs[index], done)
            except MirrorError as exc:
                self._fail_locally(exc)
                return

    def _close(self) -> None:
        try:
            self._claim()
        finally:
            for output in self.outputs:
                if not output.is_finished:
                    output.close()

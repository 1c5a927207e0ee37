"""Keeps every root and file we share announced: when, how often, and to whom again.

Works off the catalog's queue, re-announces before records run out and backs off from failures.
Announcing shares a core with transfers, so it is done in batches with a pause as long as the work
after each, what the user named comes first, and while the node is busy the rest waits. What is in
the queue is decided by the `mirror` use cases; how a batch is announced by `routing.kad`.

In a network of more than some dozens of servers keys are repeated by region (`routing.sweep`).

The queue's times are unix seconds: they outlive the process.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mirrornode.errors import StoreError
from mirrornode.routing.kad.keys import KEY_BITS, kad_id, peer_kad_id
from mirrornode.routing.kad.table import K
from mirrornode.routing.newcomers import NewcomerPush
from mirrornode.routing.pace import Pace
from mirrornode.routing.sweep import SweepPlan
from mirrornode.store.announcements import REST_PRIORITY, ROOT_PRIORITY
from mirrornode.store.public_announcements import PLACE_BITS, SweepState, place_of

if TYPE_CHECKING:
    from mirrornode.routing.kad.node import Kad

log = logging.getLogger(__name__)

ENOUGH_HOLDERS = K // 5  # of a large network: fewer, and it is tried again
MAX_ANNOUNCEMENTS = 1_000_000  # loaded into memory; 100 bytes each


class DueAnnouncement(Protocol):
    """One row of the queue."""

    @property
    def multihash(self) -> bytes: ...
    @property
    def priority(self) -> int:
        """One of those in `store.announcements`; higher goes first."""
        ...

    @property
    def attempts(self) -> int:
        """Failures since the last success."""
        ...


class AnnounceQueue(Protocol):
    """What is to be announced and when; persistent, synchronous, safe to call from any thread."""

    def due_announcements(
        self, now: float, limit: int, min_priority: int = REST_PRIORITY
    ) -> Sequence[DueAnnouncement]:
        """Return up to `limit` rows whose time has come, the highest priority first.

        All of them when `now` is infinite.
        """
        ...

    def mark_announced(self, next_at: Mapping[bytes, float], ok_at: float) -> None:
        """Note successes by multihash; unknown ones (dropped meanwhile) are ignored."""
        ...

    def mark_announce_failed(self, next_at: Mapping[bytes, float]) -> None:
        """Note failures, counting each as one attempt; unknown multihashes are ignored."""
        ...

    def announce_counts(self) -> tuple[int, int, int]:
        """Return `(all, due by the clock of this machine, taken by the network last time)`."""
        ...


class SweepMemory(Protocol):
    """What is remembered of a network over a restart; any thread, blocking."""

    def sweep_state(self, network: str) -> SweepState: ...

    def note_sweep(self, network: str, state: SweepState) -> None: ...


@dataclass(frozen=True, slots=True)
class AnnounceSettings:
    """Times in seconds."""

    batch: int = 100  # announcements made together; some 0.1 s of work
    rest_ratio: float = 1.0  # pause after a batch, times what it took: 1 is half of a core
    min_rest_s: float = 0.1  # the least pause, so that many wakes are one look at the queue
    trickle: int = 8  # announcements made together while busy, and of roots during a pause
    trickle_rest_s: float = 1.0  # the least pause while busy
    patience_s: float = 900.0  # how long a busy node holds back what is not important
    repeat_s: float = 22 * 3600.0  # IPFS networks: records last 48 h, are repeated every 22 h
    repeat_jitter_s: float = 2 * 3600.0  # taken off repeat_s, so that announcements spread out
    first_retry_s: float = 5.0  # after a failure; doubles
    last_retry_s: float = 600.0
    poll_s: float = 30.0  # how often the queue is looked at when nobody calls `wake`
    regions: int = 8  # of a large network, announced to in one batch
    greets_newcomers: bool = True  # see `routing.newcomers`
    push_batch: int = 50  # records sent to a newcomer before a pause
    push_pause_s: float = 0.25  # so that newcomers get at most 200 records a second from us


class Announcer:
    """Announces from `queue` over `kad` until cancelled.

    Args:
        kad: The DHT.
        queue: The catalog's announcements.
        memory: Where the network's size and how far a sweep is are kept.
        is_busy: Whether a transfer runs or was served within the last seconds: only roots and
            large files are announced then, a few a second. Called often, must be cheap.
        clock: Unix seconds.
        rng: Source of jitter.
        settings: Times and bounds.
    """

    def __init__(
        self,
        kad: Kad,
        queue: AnnounceQueue,
        memory: SweepMemory,
        *,
        is_busy: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        settings: AnnounceSettings | None = None,
    ) -> None:
        self._kad = kad
        self._queue = queue
        self._memory = memory
        self._swept = SweepState()
        self._offset = peer_kad_id(kad.peer_id) / 2**KEY_BITS
        self.is_offline = False  # nobody answered when something was to be announced
        self._clock = clock
        self._rng = rng or random.Random()
        self._settings = settings = settings or AnnounceSettings()
        self._held: dict[bytes, int] = {}  # what the queue holds as far as we know, and priorities
        self._woken = asyncio.Event()
        self._pace = Pace(is_busy, patience_s=settings.patience_s)
        self._newcomers = NewcomerPush(
            kad, self._held, self._pace, batch=settings.push_batch, pause_s=settings.push_pause_s
        )

    def wake(self) -> None:
        """Look at the queue now: something was enqueued or dropped."""
        self._woken.set()

    def status(self, counts: tuple[int, int, int]) -> dict[str, Any]:
        """Return how announcing goes; `counts` are the queue's."""
        total, due, ok = counts
        plan = self._plan()
        region = plan.region_of(self._swept.place << (KEY_BITS - PLACE_BITS))
        return {
            "total": total,
            "due": due,
            "ok": ok,
            "regions": plan.regions,
            "region": region,
            "offline": self.is_offline or (due > 0 and not self._kad.table_size),
        }

    async def run(self) -> None:
        """Announce until cancelled."""
        try:
            self._swept = await asyncio.to_thread(self._memory.sweep_state, self._kad.network)
        except StoreError as exc:  # learnt anew by the first walks
            log.warning("announce state not read reason=%s", exc)
        self._kad.remember_servers(self._swept.servers)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._announce_loop())
            if self._settings.greets_newcomers:
                group.create_task(self._newcomers.run())

    async def _announce_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._woken.clear()
            began = loop.time()
            is_busy = self._pace.is_busy()
            was_alone = not self._kad.table_size
            try:
                if not self._held:
                    await self._match_queue()  # after a restart, before the first work
                worked = await self._announce_due(
                    self._settings.trickle if is_busy else self._settings.batch,
                    self._pace.min_priority(),
                )
                await self._match_queue()
            except StoreError as exc:  # busy or full disk: announcing can wait
                log.warning("announce queue failed reason=%s", exc)
                worked = False
            await self._pause(loop.time() - began, is_busy=is_busy)
            if not worked and not (was_alone and self._kad.table_size):  # somebody has come since
                await self._rest()

    async def _announce_due(self, limit: int, min_priority: int) -> bool:
        """Announce some of what is due; return whether there was any and somebody to tell."""
        if not self._kad.table_size:
            return False
        due = await asyncio.to_thread(
            self._queue.due_announcements, self._clock(), limit, min_priority
        )
        if not due:
            return False
        self._held.update((row.multihash, row.priority) for row in due)
        places = (kad_id(row.multihash) for row in due)
        return await self._announce(due[: self._plan().cut(places, self._settings.regions)])

    async def _match_queue(self) -> None:
        """Answer for what the queue holds, and no longer for what was dropped from it."""
        total, _, _ = await asyncio.to_thread(self._queue.announce_counts)
        if min(total, MAX_ANNOUNCEMENTS) == len(self._held):
            return
        rows = await asyncio.to_thread(self._queue.due_announcements, math.inf, MAX_ANNOUNCEMENTS)
        queued = {row.multihash: row.priority for row in rows}
        self._kad.withdraw(self._held.keys() - queued.keys())
        self._kad.hold(queued.keys() - self._held.keys())
        self._held.clear()
        self._held.update(queued)

    async def _announce(self, due: Sequence[DueAnnouncement]) -> bool:
        """Announce all of these; return whether anybody was there."""
        settings = self._settings
        answers = self._kad.answer_count
        kept_by = await self._kad.provide_many([row.multihash for row in due])
        self.is_offline = not any(kept_by) and self._kad.answer_count == answers
        if self.is_offline:
            return False  # it is nobody's fault: all stay due
        now = self._clock()
        plan = self._plan()
        enough = 1 if plan.servers <= K else ENOUGH_HOLDERS
        announced: dict[bytes, float] = {}
        failed: dict[bytes, float] = {}
        for row, kept in zip(due, kept_by, strict=True):
            if kept >= enough:
                announced[row.multihash] = self._repeat_at(row.multihash, plan, now)
            elif self._kad.table_size:  # else it is not the row's fault: it stays due
                doublings = min(row.attempts, 16)  # 2^16 * 5 s is far beyond last_retry_s
                delay_s = min(settings.first_retry_s * 2**doublings, settings.last_retry_s)
                failed[row.multihash] = now + delay_s * self._rng.uniform(0.8, 1.0)
        if announced:
            await asyncio.to_thread(self._queue.mark_announced, announced, now)
            await self._note(SweepState(plan.servers, place_of(due[-1].multihash)))
        if failed:
            await asyncio.to_thread(self._queue.mark_announce_failed, failed)
        log.debug(
            "announced network=%s keys=%d failed=%d",
            self._kad.network,
            len(announced),
            len(failed),
        )
        return True

    def _plan(self) -> SweepPlan:
        return SweepPlan(self._kad.network_servers, self._settings.repeat_s, self._offset)

    def _repeat_at(self, multihash: bytes, plan: SweepPlan, now: float) -> float:
        if plan.regions > 1:
            return plan.next_at(kad_id(multihash), now)
        settings = self._settings
        return now + settings.repeat_s - self._rng.uniform(0, settings.repeat_jitter_s)

    async def _note(self, swept: SweepState) -> None:
        """Remember how far we are, where a region or the network's size is another."""
        was, self._swept = self._swept, swept
        shift = PLACE_BITS - self._plan().region_bits
        if (was.servers, was.place >> shift) != (swept.servers, swept.place >> shift):
            await asyncio.to_thread(self._memory.note_sweep, self._kad.network, swept)

    async def _pause(self, worked_s: float, *, is_busy: bool) -> None:
        """Leave the core to others, but announce roots that come meanwhile."""
        settings = self._settings
        loop = asyncio.get_running_loop()
        least_s = settings.trickle_rest_s if is_busy else settings.min_rest_s
        ends_at = loop.time() + max(least_s, worked_s * settings.rest_ratio)
        was_woken = False
        try:
            while loop.time() < ends_at:
                async with asyncio.timeout_at(ends_at):
                    await self._woken.wait()
                self._woken.clear()
                was_woken = True
                began = loop.time()
                await self._announce_due(settings.trickle, ROOT_PRIORITY)
                ends_at += (loop.time() - began) * settings.rest_ratio
        except TimeoutError:
            pass
        except StoreError as exc:
            log.warning("announce queue failed reason=%s", exc)
        if was_woken:
            self._woken.set()  # what else came is looked at after the pause

    async def _rest(self) -> None:
        """Wait for `wake`, for a first peer, or for the next look at the queue."""
        settings = self._settings
        timeout_s = settings.trickle_rest_s if self._pace.is_busy() else settings.poll_s
        waits: list[asyncio.Task[object]] = [asyncio.create_task(self._woken.wait())]
        if not self._kad.table_size:
            waits.append(asyncio.create_task(self._kad.wait_for_peers()))
        try:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

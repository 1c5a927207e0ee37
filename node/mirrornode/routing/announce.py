"""Keeps every root and file we share announced: when, how often, and to whom again.

Works off the catalog's queue, re-announces before records run out, backs off from failures, and
gives a peer that joins a small network all our records at once, so that a restarted bootstrap
server answers again within seconds. What is in the queue is decided by the `mirror` use cases; how
one announcement is made by `routing.kad`.

The queue's times are unix seconds: they outlive the process.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mirrornode.errors import StoreError
from mirrornode.routing.kad.table import K

if TYPE_CHECKING:
    from mirrornode.routing.kad.node import Kad

log = logging.getLogger(__name__)

MAX_ANNOUNCEMENTS = 1_000_000  # loaded into memory; 100 bytes each
MAX_WAITING_NEWCOMERS = 256


class DueAnnouncement(Protocol):
    """One row of the queue."""

    @property
    def multihash(self) -> bytes: ...
    @property
    def attempts(self) -> int:
        """Failures since the last success."""
        ...


class AnnounceQueue(Protocol):
    """What is to be announced and when; persistent, synchronous, safe to call from any thread."""

    def due_announcements(self, now: float, limit: int) -> Sequence[DueAnnouncement]:
        """Return up to `limit` rows whose time has come; all of them when `now` is infinite."""
        ...

    def mark_announced(self, multihash: bytes, next_at: float, ok_at: float) -> None:
        """Note a success; unknown multihashes (dropped meanwhile) are ignored."""
        ...

    def mark_announce_failed(self, multihash: bytes, next_at: float) -> None:
        """Note a failure, counting it as one attempt; unknown multihashes are ignored."""
        ...

    def announce_counts(self) -> tuple[int, int, int]:
        """Return `(all, due by the clock of this machine, taken by the network last time)`."""
        ...


@dataclass(frozen=True, slots=True)
class AnnounceSettings:
    """Times in seconds."""

    concurrency: int = 8  # announcements at a time; one takes 20-200 ms on a LAN
    batch: int = 256  # rows taken from the queue at a time
    repeat_s: float = 22 * 3600.0  # IPFS networks: records last 48 h, are repeated every 22 h
    repeat_jitter_s: float = 2 * 3600.0  # taken off repeat_s, so that announcements spread out
    first_retry_s: float = 5.0  # after a failure; doubles
    last_retry_s: float = 600.0
    poll_s: float = 30.0  # how often the queue is looked at when nobody calls `wake`
    push_batch: int = 50  # records sent to a newcomer before a pause
    push_pause_s: float = 0.25  # so that one newcomer gets at most 200 records a second from us


class Announcer:
    """Announces from `queue` over `kad` until cancelled.

    Args:
        kad: The DHT.
        queue: The catalog's announcements.
        clock: Unix seconds.
        rng: Source of jitter.
        settings: Times and bounds.
    """

    def __init__(
        self,
        kad: Kad,
        queue: AnnounceQueue,
        *,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        settings: AnnounceSettings | None = None,
    ) -> None:
        self._kad = kad
        self._queue = queue
        self._clock = clock
        self._rng = rng or random.Random()
        self._settings = settings or AnnounceSettings()
        self._held: set[bytes] = set()  # what the queue holds, as far as we have seen
        self._woken = asyncio.Event()
        self._newcomers: dict[str, None] = {}  # waiting for our records, in order
        self._newcomer_came = asyncio.Event()

    def wake(self) -> None:
        """Look at the queue now: something was enqueued or dropped."""
        self._woken.set()

    async def run(self) -> None:
        """Announce until cancelled."""
        unsubscribe = self._kad.on_newcomer(self._note_newcomer)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._announce_loop())
                group.create_task(self._push_loop())
        finally:
            unsubscribe()

    async def _announce_loop(self) -> None:
        while True:
            self._woken.clear()
            try:
                worked = await self._announce_due()
            except* StoreError as failures:  # busy or full disk: announcing can wait
                log.warning("announce queue failed reason=%s", failures.exceptions[0])
                worked = False
            if not worked or not self._kad.table_size:
                await self._rest()

    async def _announce_due(self) -> bool:
        """Announce some of what is due; return whether there was any."""
        await self._match_queue()
        if not self._kad.table_size:
            return False
        due = await asyncio.to_thread(
            self._queue.due_announcements, self._clock(), self._settings.batch
        )
        await self._announce_batch(due)
        return bool(due)

    async def _match_queue(self) -> None:
        """Answer for what the queue holds, and no longer for what was dropped from it."""
        total, _, _ = await asyncio.to_thread(self._queue.announce_counts)
        if min(total, MAX_ANNOUNCEMENTS) == len(self._held):
            return
        rows = await asyncio.to_thread(self._queue.due_announcements, math.inf, MAX_ANNOUNCEMENTS)
        queued = {row.multihash for row in rows}
        self._kad.withdraw(self._held - queued)
        self._kad.hold(queued - self._held)
        self._held = queued

    async def _announce_batch(self, due: Sequence[DueAnnouncement]) -> None:
        rows = iter(due)

        async def work() -> None:
            for row in rows:  # shared: each worker takes the next row
                if not self._kad.table_size:
                    return  # not the row's fault: it stays due
                await self._announce(row)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._settings.concurrency, len(due))):
                group.create_task(work())

    async def _announce(self, row: DueAnnouncement) -> None:
        settings = self._settings
        self._held.add(row.multihash)
        kept_by = await self._kad.provide(row.multihash)
        now = self._clock()
        if kept_by:
            next_at = now + settings.repeat_s - self._rng.uniform(0, settings.repeat_jitter_s)
            await asyncio.to_thread(self._queue.mark_announced, row.multihash, next_at, now)
            log.debug("announced multihash=%s peers=%d", row.multihash.hex(), kept_by)
        elif self._kad.table_size:
            doublings = min(row.attempts, 16)  # 2^16 * 5 s is far beyond last_retry_s
            delay_s = min(settings.first_retry_s * 2**doublings, settings.last_retry_s)
            next_at = now + delay_s * self._rng.uniform(0.8, 1.0)
            await asyncio.to_thread(self._queue.mark_announce_failed, row.multihash, next_at)
            log.debug("not announced multihash=%s retry_s=%.0f", row.multihash.hex(), delay_s)

    async def _rest(self) -> None:
        """Wait for `wake`, for a first peer, or for the next look at the queue."""
        waits: list[asyncio.Task[object]] = [asyncio.create_task(self._woken.wait())]
        if not self._kad.table_size:
            waits.append(asyncio.create_task(self._kad.wait_for_peers()))
        try:
            await asyncio.wait(
                waits, timeout=self._settings.poll_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    # Newcomers

    def _note_newcomer(self, peer_id: str) -> None:
        if len(self._newcomers) < MAX_WAITING_NEWCOMERS:
            self._newcomers[peer_id] = None
            self._newcomer_came.set()

    async def _push_loop(self) -> None:
        while True:
            await self._newcomer_came.wait()
            self._newcomer_came.clear()
            while self._newcomers:
                peer_id = next(iter(self._newcomers))
                del self._newcomers[peer_id]
                if self._kad.table_size <= K:  # else most records belong at other peers
                    await self._push(peer_id)

    async def _push(self, peer_id: str) -> None:
        settings = self._settings
        keys = list(self._held)
        for start in range(0, len(keys), settings.push_batch):
            if start:
                await asyncio.sleep(settings.push_pause_s)
            for key in keys[start : start + settings.push_batch]:
                if key in self._held and not await self._kad.send_record(peer_id, key):
                    return
        log.debug("gave our records to peer=%s records=%d", peer_id, len(keys))

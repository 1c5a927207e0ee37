"""Copies at other nodes of the team: asking for them, and holding them for others.

As an asker: every pin with replicas is looked after by `next_steps`; what others said is in the
catalog, so that a restart forgets nothing. As a holder, only where `[storage] accept_pins` allows
it: the target is fetched like any pin, within the room there is for others, and pinned for the
asker until it lets go, or has not been heard of for a month. Nothing is believed of a holder but
that it exists: who fetches from it verifies as always. Format: docs/formats/keep.md.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirrornode.errors import MirrorError, RemoteProtocolError
from mirrornode.mirror.keep_pins import Pinning, PinRequest, size_here
from mirrornode.mirror.keep_replicas import ASK_AGAIN_S, LEASE_S, Steps, next_steps
from mirrornode.store.pins import COMING, KEPT, REFUSED, Pin, Replica
from mirrornode.wire import keep
from mirrornode.wire.keep import KeepAnswer, KeepRequest

if TYPE_CHECKING:
    from mirrornode.store.catalog import Catalog
    from mirrornode.swarm.peer_ports import PeersPort

log = logging.getLogger(__name__)

MAX_COMING = 16  # fetched or waiting for others; more are refused
FETCHED_AT_ONCE = 2
MAX_PINS_FOR_ONE = 1000
MAX_FAILURES = 1000  # remembered
REQUEST_TIMEOUT_S = 10.0
FETCH_TIMEOUT_S = 120.0  # without a byte


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    """How this node stands to copies.

    Attributes:
        accepts: Whether it holds copies for others at all.
        room: Returns how many bytes of others' it may still take; blocking.
        away_s: After so long without a word a holder is replaced.
    """

    accepts: bool
    room: Callable[[], int]
    away_s: float


class Replication:
    """Asks and answers; belongs to one event loop. Close it when done.

    Driven by: `Swarm.serve(keep.PROTOCOL, replication.answer, …)`, and `tick` now and then.
    """

    def __init__(
        self,
        catalog: Catalog,
        pinning: Pinning,
        swarm: PeersPort,
        settings: ReplicaSettings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Args:
            clock: Unix time in seconds.
        """
        self._catalog = catalog
        self._pinning = pinning
        self._swarm = swarm
        self._settings = settings
        self._clock = clock
        self._coming: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._failed: dict[tuple[str, str], tuple[float, str]] = {}
        self._slots = asyncio.Semaphore(FETCHED_AT_ONCE)
        self._ticking = asyncio.Lock()  # one look after the pins at a time

    async def close(self) -> None:
        """Stop fetching for others; what has come is taken up when they ask again."""
        tasks = list(self._coming.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- as an asker -----------------------------------------------------------------------------

    async def tick(self) -> None:
        """Do what is due for every pin that is to have copies, and end leases that ran out."""
        async with self._ticking:
            pins = await asyncio.to_thread(self._catalog.pins)
            now = self._clock()
            for pin in pins:
                if pin.owner:
                    if now - pin.made_at > LEASE_S:
                        await asyncio.to_thread(self._drop, pin.target, pin.owner)
                    continue
                replicas = await asyncio.to_thread(self._catalog.replicas_of, pin)
                if pin.replicas or replicas:
                    await self._look_after(pin, replicas)

    async def release(self, pin: Pin, replicas: Sequence[Replica]) -> None:
        """Tell holders that a pin is taken back; those who are away let go by themselves."""
        connected = self._team()
        await self._all(
            self._ask(one.peer_id, keep.RELEASE, pin)
            for one in replicas
            if one.peer_id in connected and one.state != REFUSED
        )

    async def _look_after(self, pin: Pin, replicas: Sequence[Replica]) -> None:
        connected = self._team()
        steps = self._steps(pin, replicas, connected)
        await self._all(self._check(pin, one) for one in replicas if one.peer_id in steps.check)
        if steps.check:  # what they said decides what else is to be done
            replicas = await asyncio.to_thread(self._catalog.replicas_of, pin)
            steps = self._steps(pin, replicas, connected)
        await self._all(self._place(pin, peer) for peer in steps.ask)
        for peer in steps.release:
            if await self._ask(peer, keep.RELEASE, pin) is not None:
                await asyncio.to_thread(self._catalog.drop_replica, pin, peer)
        for peer in steps.forget:
            await asyncio.to_thread(self._catalog.drop_replica, pin, peer)

    def _steps(self, pin: Pin, replicas: Sequence[Replica], connected: set[str]) -> Steps:
        return next_steps(
            pin.target.encode(),
            pin.replicas,
            replicas,
            connected,
            self._clock(),
            self._settings.away_s,
        )

    def _team(self) -> set[str]:
        """Return the connected nodes that hold copies for others."""
        return {link.peer_id for link in self._swarm.links() if keep.PROTOCOL in link.protocols}

    async def _place(self, pin: Pin, peer_id: str) -> None:
        answer = await self._ask(peer_id, keep.KEEP, pin)
        if answer is not None:
            now = self._clock()
            await self._note(pin, Replica(peer_id, _state_of(answer), answer.reason, now, now))

    async def _check(self, pin: Pin, replica: Replica) -> None:
        # "keep" again, not "tell": it renews the lease, and a copy that was lost comes back.
        answer = await self._ask(replica.peer_id, keep.KEEP, pin)
        if answer is None:
            return
        now = self._clock()
        asked_at = now if answer.state == REFUSED else replica.asked_at
        new = Replica(replica.peer_id, _state_of(answer), answer.reason, asked_at, now)
        await self._note(pin, new)

    async def _note(self, pin: Pin, replica: Replica) -> None:
        await asyncio.to_thread(self._catalog.put_replica, pin, replica)

    async def _ask(self, peer_id: str, verb: str, pin: Pin) -> KeepAnswer | None:
        request = keep.encode_request(KeepRequest(verb, pin.target, pin.size_bytes))
        try:
            answer = await self._swarm.request(
                peer_id,
                keep.PROTOCOL,
                request,
                timeout_s=REQUEST_TIMEOUT_S,
                max_response_bytes=keep.MAX_ANSWER_BYTES,
            )
            return keep.decode_answer(answer)
        except MirrorError as exc:
            log.info("no answer about a copy peer=%s reason=%s", peer_id, exc)
            return None

    async def _all(self, works: Iterable[Coroutine[Any, Any, object]]) -> None:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)

    # -- as a holder -----------------------------------------------------------------------------

    async def answer(self, peer_id: str, request: bytes) -> bytes | None:
        """Answer one request of a peer; a malformed one gets none."""
        try:
            asked = keep.decode_request(request)
        except RemoteProtocolError:
            return None
        if not self._settings.accepts:
            return keep.encode_answer(KeepAnswer(keep.REFUSED, "holds no copies for others"))
        if asked.verb == keep.RELEASE:
            task = self._coming.pop((peer_id, asked.target), None)
            if task is not None:
                task.cancel()
            await asyncio.to_thread(self._drop, asked.target, peer_id)
            return keep.encode_answer(KeepAnswer(keep.NONE))
        answer = await self._standing(peer_id, asked.target)
        if answer.state == keep.NONE and asked.verb == keep.KEEP:
            answer = await self._begin(peer_id, asked)
        return keep.encode_answer(answer)

    async def _standing(self, peer_id: str, target: str) -> KeepAnswer:
        if (peer_id, target) in self._coming:
            return KeepAnswer(keep.COMING)
        pin = await asyncio.to_thread(self._held, peer_id, target)
        return KeepAnswer(keep.NONE if pin is None else keep.KEPT)

    def _held(self, peer_id: str, target: str) -> Pin | None:
        """Return the pin made for a peer, renewed, if all that it holds is here. Blocking."""
        catalog = self._catalog
        pin = catalog.find_pin(target, owner=peer_id)
        if pin is None:
            return None
        if pin.cid is not None:
            if size_here(catalog, pin.cid) is None:
                return None
            return catalog.pin(pin.cid, pin.name, owner=peer_id, now=self._clock())
        assert pin.repo is not None, "a pin has a CID or a repo"
        return catalog.pin_hub(
            pin.repo, pin.commit, pin.path, pin.name, owner=peer_id, now=self._clock()
        )

    async def _begin(self, peer_id: str, asked: KeepRequest) -> KeepAnswer:
        """Begin to fetch a copy, if this node can and will."""
        key = (peer_id, asked.target)
        failed = self._failed.get(key)
        if failed is not None and 0 <= self._clock() - failed[0] < ASK_AGAIN_S:
            return KeepAnswer(keep.REFUSED, failed[1])
        held = await asyncio.to_thread(self._catalog.pins, owner=peer_id)
        room = await asyncio.to_thread(self._settings.room)
        if len(held) >= MAX_PINS_FOR_ONE:
            return KeepAnswer(keep.REFUSED, "holds enough copies for this node")
        if room <= asked.size_bytes:
            return KeepAnswer(keep.REFUSED, "has no room for it")
        if len(self._coming) >= MAX_COMING:
            return KeepAnswer(keep.REFUSED, "is busy with other copies")
        if key not in self._coming:  # another request may have begun it while this one looked
            task = asyncio.create_task(self._fetch(peer_id, asked.target))
            self._coming[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return KeepAnswer(keep.COMING)

    def _ended(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        if self._coming.get(key) is task:
            del self._coming[key]
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.error("fetching a copy for another node crashed", exc_info=failure)

    async def _fetch(self, peer_id: str, target: str) -> None:
        async with self._slots:
            room = await asyncio.to_thread(self._settings.room)
            request = PinRequest(
                target,
                name=f"replica of {peer_id}",
                owner=peer_id,
                timeout_s=FETCH_TIMEOUT_S,
                max_bytes=max(1, room),
            )
            try:
                await self._pinning.pin(request, lambda _: None)
            except MirrorError as exc:
                log.info("copy for another node did not come peer=%s reason=%s", peer_id, exc)
                if len(self._failed) >= MAX_FAILURES:
                    self._failed.pop(next(iter(self._failed)))
                self._failed[peer_id, target] = (self._clock(), type(exc).__name__)
            else:
                self._failed.pop((peer_id, target), None)
                log.info("copy kept for another node peer=%s", peer_id)

    def _drop(self, target: str, peer_id: str) -> None:
        self._catalog.unpin(target, owner=peer_id)


def _state_of(answer: KeepAnswer) -> str:
    return answer.state if answer.state in (KEPT, COMING) else REFUSED

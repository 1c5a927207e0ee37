"""Asking peers for blocks by bitswap: one conversation a peer, shared by all who want something.

Lanes and block loaders are threads: they claim blocks and wait for them. One asyncio task a peer
sends the wantlists; what arrives is hashed in a thread and handed in by `take`. What is asked when
is `wire.bitswap_wants`. A block is only kept when it hashes to something that was asked for; it is
still verified by whoever uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from mirrornode.content.varint import encode_uvarint
from mirrornode.errors import (
    CidMismatch,
    MirrorError,
    SourceGone,
    SourceRefused,
    SourceTooSlow,
)
from mirrornode.wire.bitswap import PROTOCOLS, encode_wantlist
from mirrornode.wire.bitswap_wants import Fate, PeerWants

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.wire.bitswap import Buffer

log = logging.getLogger(__name__)

TICK_S = 0.5  # between two looks for what is overdue
IDLE_S = 30.0  # before the stream for wants is closed
MAX_REOPENED = 3  # streams for wants that ended without a block between them
MAX_KEPT = 256  # blocks kept for who claims them next
MAX_KEPT_BYTES = 4 * 1024 * 1024
LIE = "blocks nobody asked for"


class OutletPort(Protocol):
    """A stream that only we write to."""

    @property
    def protocol(self) -> str: ...
    async def send(self, frame: bytes) -> None: ...
    async def close(self) -> None: ...


class BitswapSwarm(Protocol):
    """What asking for blocks needs of the swarm."""

    async def open_outlet(
        self, peer_id: str, protocols: Sequence[str], *, timeout_s: float = 10.0
    ) -> OutletPort: ...

    def received_bytes(self, peer_id: str) -> int: ...

    async def refuse(self, peer_id: str, event: str) -> None: ...


class Claims:
    """Blocks that one run or one loader has asked one peer for. Used by one thread.

    `abort` may come from any. What was claimed and not taken is given up by `release`.
    """

    def __init__(self, conversation: Conversation, *, keeps: bool) -> None:
        """Begin with no block; `Conversation.claim` makes these."""
        self._conversation = conversation
        self.keeps = keeps
        self.open: dict[bytes, list[Cid]] = {}
        self.arrived: dict[bytes, Buffer | Fate | MirrorError] = {}
        self.is_aborted = False

    def take(self, cid: Cid) -> Buffer:
        """Wait for a claimed block and return it, unverified beyond its hash.

        Raises:
            SourceRefused: The peer does not have it.
            SourceTooSlow: It gave no answer.
            SourceGone: It left, or `abort` was called.
            CidMismatch: It sends what nobody asked for.
        """
        return self._conversation.wait_for(self, cid)

    def release(self) -> None:
        """Give up what was not taken."""
        self._conversation.release(self)

    def abort(self) -> None:
        """Give up everything, and wake the thread that waits in `take`."""
        self._conversation.abort(self)


class Conversation:
    """All that is wanted of one peer. Thread-safe."""

    def __init__(
        self,
        swarm: BitswapSwarm,
        peer_id: str,
        loop: asyncio.AbstractEventLoop,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin; what it sends, it sends from tasks of `loop`."""
        self.peer_id = peer_id
        self.source_id = f"bitswap:{peer_id}"
        self._swarm = swarm
        self._clock = clock
        self._loop = loop
        self._changed = threading.Condition()  # guards all below but the task
        self._wants = PeerWants(clock())
        self._claims: dict[bytes, list[Claims]] = {}
        self._questions: dict[bytes, list[asyncio.Future[bool]]] = {}
        self._kept: OrderedDict[bytes, Buffer] = OrderedDict()  # blocks that may be claimed again
        self._kept_bytes = 0
        self._failure: MirrorError | None = None  # for good
        self._heard_bytes = 0
        self._reopened = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def received_bytes(self) -> int:
        """A number that changes while bytes arrive from the peer."""
        return self._swarm.received_bytes(self.peer_id)

    # -- for threads -----------------------------------------------------------------------------

    def claim(self, wanted: Sequence[tuple[Cid, int]], *, keeps: bool = False) -> Claims:
        """Ask for blocks, in this order; each with its size, as far as that is known.

        Args:
            keeps: Another will soon want the same: keep them for a while after they were taken.

        Raises:
            SourceGone: The peer has left.
            CidMismatch: It was caught sending what nobody asked for.
        """
        claims = Claims(self, keeps=keeps)
        with self._changed:
            self._check()
            for cid, size_bytes in wanted:
                claims.open.setdefault(cid.multihash, []).append(cid)
                if (kept := self._kept.get(cid.multihash)) is not None:
                    if cid.multihash not in claims.arrived:
                        claims.arrived[cid.multihash] = kept
                        self._wants.hold(len(kept))
                    continue
                owners = self._claims.setdefault(cid.multihash, [])
                if claims not in owners:
                    owners.append(claims)
                    self._wants.claim(cid, size_bytes)
        self._wake_soon()
        return claims

    def wait_for(self, claims: Claims, cid: Cid) -> Buffer:
        """Wait for one block of `claims`; see `Claims.take`."""
        multihash = cid.multihash
        with self._changed:
            while multihash not in claims.arrived:
                if claims.is_aborted:
                    raise SourceGone("broken off", source_id=self.source_id)
                self._check()
                self._changed.wait()
            found = claims.arrived[multihash]
            left = claims.open[multihash]
            left.pop()
            if not left:
                del claims.arrived[multihash], claims.open[multihash]
                self._free(found)
            has_outgoing = self._wants.has_outgoing
        if found is Fate.LACKING:
            raise SourceRefused(found.value, source_id=self.source_id, status=404)
        if isinstance(found, Fate):
            raise SourceTooSlow(found.value, source_id=self.source_id)
        if isinstance(found, MirrorError):
            raise found
        if has_outgoing:
            self._wake_soon()
        if claims.keeps:
            with self._changed:
                self._keep(multihash, found)
        return found

    def release(self, claims: Claims) -> None:
        """Give up what is left of `claims`."""
        with self._changed:
            if not claims.open:
                return
            for multihash, cids in claims.open.items():
                found = claims.arrived.get(multihash)
                if found is None:
                    self._disown(claims, multihash, cids[0])
                else:
                    self._free(found)
            claims.open.clear()
            claims.arrived.clear()
        self._wake_soon()

    def abort(self, claims: Claims) -> None:
        """Give up all of `claims` and wake who waits for one of its blocks."""
        with self._changed:
            claims.is_aborted = True
            self._changed.notify_all()
        self.release(claims)

    # -- for the event loop ----------------------------------------------------------------------

    async def ask(self, cids: Sequence[Cid], timeout_s: float) -> list[Cid]:
        """Return which of the blocks the peer says to have.

        Raises:
            SourceError: It left or gave no answer at all.
            CidMismatch: As `claim`.
        """
        futures: list[asyncio.Future[bool]] = []
        with self._changed:
            self._check()
            for cid in cids:
                futures.append(self._loop.create_future())
                self._questions.setdefault(cid.multihash, []).append(futures[-1])
                self._wants.ask(cid)
        self._start_sending()
        try:
            done, _ = await asyncio.wait(futures, timeout=timeout_s)
        finally:
            with self._changed:
                for cid, future in zip(cids, futures, strict=True):
                    if future.cancel():
                        self._questions[cid.multihash].remove(future)
                        self._wants.drop(cid, is_question=True)
            self._start_sending()
        if not done:
            raise SourceTooSlow(Fate.SILENT.value, source_id=self.source_id)
        answered = zip(cids, futures, strict=True)
        return [cid for cid, future in answered if future in done and future.result()]

    def take(
        self,
        blocks: Sequence[tuple[bytes | None, Buffer]],
        haves: Sequence[Cid],
        dont_haves: Sequence[Cid],
    ) -> int:
        """Take over what a message of the peer brought; return how many blocks were not wanted.

        Args:
            blocks: Multihash as found here, None where it cannot be hashed, and bytes.
            haves: What the peer says to have.
            dont_haves: What it says not to have.
        """
        now = self._clock()
        with self._changed:
            before = self._wants.unrequested
            for multihash, block in blocks:
                if self._wants.came(multihash or b"", now):
                    assert multihash is not None
                    self._reopened = 0
                    if multihash not in self._claims:
                        self._keep(multihash, block)
                    self._settle(multihash, block)
                elif multihash is not None and self._wants.was_asked(multihash):
                    self._keep(multihash, block)
            for told, has in ((haves, True), (dont_haves, False)):
                for cid in told:
                    if self._wants.told(cid.multihash, has, now):
                        self._settle(cid.multihash, None if has else Fate.LACKING)
            is_lying = self._wants.is_lying and self._failure is None
            unwanted = self._wants.unrequested - before
            has_outgoing = self._wants.has_outgoing
            self._changed.notify_all()
        if is_lying:
            log.warning("peer dropped peer=%s reason=sends %s", self.peer_id, LIE)
            self.end(CidMismatch("what was asked for", f"{self.source_id} sends {LIE}"))
        elif has_outgoing:
            self._start_sending()
        return unwanted

    @property
    def is_lying(self) -> bool:
        """Whether the peer was caught."""
        return isinstance(self._failure, CidMismatch)

    def end(self, failure: MirrorError) -> None:
        """End the conversation; whoever waits or asks later is told why."""
        with self._changed:
            self._failure = failure
        self._fail(failure)
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Wait until the sending task of an ended conversation has ended."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    # -- private ---------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _free(self, found: Buffer | Fate | MirrorError) -> None:
        if isinstance(found, (bytes, memoryview)):
            self._wants.hold(-len(found))

    def _disown(self, claims: Claims, multihash: bytes, cid: Cid) -> None:
        owners = self._claims.get(multihash, [])
        if claims in owners:
            owners.remove(claims)
            self._wants.drop(cid)
            if not owners:
                del self._claims[multihash]

    def _settle(self, multihash: bytes, found: Buffer | Fate | None) -> None:
        """Give everybody who waits for a want its end; None means: the peer has it."""
        for future in self._questions.pop(multihash, ()):
            if not future.done():
                future.set_result(not isinstance(found, Fate))
        if found is None:
            return
        for claims in self._claims.pop(multihash, ()):
            claims.arrived[multihash] = found
            if not isinstance(found, Fate):
                self._wants.hold(len(found))

    def _keep(self, multihash: bytes, block: Buffer) -> None:
        """Keep a block for who claims it next: Helia sends none twice within five seconds.

        Small ones are sent instead of HAVE, others cross with a CANCEL when a run moves to another
        lane, and the leaves that tell how a file was cut are wanted again for its bytes.
        """
        self._kept_bytes += len(block) - len(self._kept.pop(multihash, b""))
        self._kept[multihash] = block
        while self._kept_bytes > MAX_KEPT_BYTES or len(self._kept) > MAX_KEPT:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(dropped)

    def _fail(self, failure: MirrorError) -> None:
        """Tell everybody who waits; who asks later begins anew."""
        with self._changed:
            for multihash, owners in self._claims.items():
                for claims in owners:
                    claims.arrived[multihash] = failure
            for futures in self._questions.values():
                for future in futures:
                    if not future.done():
                        future.set_exception(failure)
            self._claims.clear()
            self._questions.clear()
            self._wants.forget()
            self._changed.notify_all()

    def _wake_soon(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._start_sending)

    def _start_sending(self) -> None:
        self._wake.set()
        if self._task is None and self._failure is None:
            with self._changed:
                if self._wants.is_idle:
                    return
            self._task = self._loop.create_task(self._send())

    async def _send(self) -> None:
        """Send what is wanted until nothing was for a while."""
        outlet: OutletPort | None = None
        try:
            idle_at = self._clock() + IDLE_S
            while self._clock() < idle_at:
                self._wake.clear()
                if outlet is None:
                    outlet = await self._swarm.open_outlet(self.peer_id, PROTOCOLS)
                try:
                    is_sent = await self._send_once(outlet)
                except SourceGone:
                    # The connection may have been replaced by a better one: ask there.
                    outlet = None
                    self._reopened += 1
                    if self._reopened > MAX_REOPENED:
                        raise
                    with self._changed:
                        self._wants.ask_again()
                    continue
                if is_sent:
                    idle_at = self._clock() + IDLE_S
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        await self._wake.wait()
                self._look_for_overdue()
        except MirrorError as exc:
            log.info("bitswap failed peer=%s reason=%s", self.peer_id, exc)
            self._fail(exc)
        finally:
            if outlet is not None:
                await outlet.close()
            self._task = None
        self._start_sending()  # something may have been claimed since the last look

    async def _send_once(self, outlet: OutletPort) -> bool:
        with self._changed:
            entries = self._wants.outgoing(self._clock())
        if not entries:
            return False
        message = encode_wantlist(entries, outlet.protocol)
        await outlet.send(encode_uvarint(len(message)) + message)
        return True

    def _look_for_overdue(self) -> None:
        now, heard_bytes = self._clock(), self.received_bytes
        with self._changed:
            if heard_bytes != self._heard_bytes:
                self._heard_bytes = heard_bytes
                self._wants.heard(now)
            ended = self._wants.overdue(now)
            for multihash, fate in ended:
                self._settle(multihash, fate)
            if ended:
                self._changed.notify_all()


class BitswapClient:
    """The conversations of this node."""

    def __init__(self, swarm: BitswapSwarm) -> None:
        """Begin without any; belongs to the running event loop."""
        self._swarm = swarm
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()  # guards _conversations
        self._conversations: dict[str, Conversation] = {}

    def with_peer(self, peer_id: str) -> Conversation:
        """Return the conversation with a peer, a new one when the peer was away; thread-safe."""
        with self._lock:
            conversation = self._conversations.get(peer_id)
            if conversation is None:
                conversation = Conversation(self._swarm, peer_id, self._loop)
                self._conversations[peer_id] = conversation
            return conversation

    def gone(self, peer_id: str) -> Conversation | None:
        """End the conversation with a peer that left, and return it."""
        with self._lock:
            conversation = self._conversations.pop(peer_id, None)
        if conversation is not None:
            failure = SourceGone(f"{peer_id} has left", source_id=conversation.source_id)
            conversation.end(failure)
        return conversation

    async def close(self) -> None:
        """End all conversations."""
        with self._lock:
            peers = list(self._conversations)
        for conversation in [self.gone(peer_id) for peer_id in peers]:
            if conversation is not None:
                await conversation.close()

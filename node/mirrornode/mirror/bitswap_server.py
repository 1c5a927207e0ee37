"""Blocks for peers that ask by bitswap: Kubo, Helia, and whoever speaks it.

Each peer has a ledger and one task that works it off: look up, read, send; the next answer is read
while the last one is on its way. Blocks come straight out of the user's files, from the same shelf
as those of the peer plane, and count for the same limits. What is not here stays in the ledger and
is looked for again now and then while the peer is connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from mirrornode.content.varint import encode_uvarint
from mirrornode.errors import MirrorError, SourceGone
from mirrornode.transfer.pacing import BITSWAP
from mirrornode.wire.bitswap import PROTOCOLS, encode_answer
from mirrornode.wire.bitswap_ledger import Answer, Ledger

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from mirrornode.content.cid import Cid
    from mirrornode.sources.bitswap_client import BitswapSwarm, OutletPort
    from mirrornode.transfer.pacing import Uploads
    from mirrornode.wire.bitswap import Buffer, Entry

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_TOGETHER = 128  # wants in one question to the catalog
MAX_FRAMES = 64  # answers in memory, of all peers; each of about 1 MiB
PROMPT_S = 1.0  # a peer that takes an answer within this may have the next one read ahead
IDLE_S = 30.0  # before the stream for answers is closed
SMALL_BYTES = 16 * 1024  # an answer that does not wait its turn behind large ones


class BlockShelf(Protocol):
    """Where the blocks come from; blocking, thread-safe."""

    def block_sizes(self, cids: Sequence[Cid]) -> dict[Cid, int | None]: ...
    def read_block(self, cid: Cid) -> bytes | None: ...
    def note_served(self) -> None: ...


class BitswapServer:
    """The desks of all peers. Belongs to one event loop."""

    def __init__(
        self,
        swarm: BitswapSwarm,
        shelf: BlockShelf,
        uploads: Uploads,
        pool: Executor,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with nobody.

        Args:
            pool: Threads for looking up and reading.
        """
        self.swarm = swarm
        self.shelf = shelf
        self.uploads = uploads
        self.clock = clock
        self.frames = asyncio.Semaphore(MAX_FRAMES)
        self._pool = pool
        self._desks: dict[str, _Desk] = {}

    def take(self, peer_id: str, entries: Sequence[Entry], *, is_full: bool) -> None:
        """Take over a wantlist of a peer.

        Raises:
            WantFlood: The peer sends more of them than anybody can need.
        """
        desk = self._desks.get(peer_id)
        if desk is None:
            if all(entry.is_cancel for entry in entries):
                return
            desk = self._desks[peer_id] = _Desk(self, peer_id)
        desk.take(entries, is_full=is_full)

    def wants_of(self, peer_id: str) -> int:
        """Return how many wants of a peer are noted."""
        desk = self._desks.get(peer_id)
        return desk.ledger.wants if desk is not None else 0

    def gone(self, peer_id: str) -> None:
        """Forget a peer that left."""
        desk = self._desks.pop(peer_id, None)
        if desk is not None:
            desk.stop()

    async def close(self) -> None:
        """End the work for all peers."""
        desks = list(self._desks.values())
        for desk in desks:
            desk.stop()
        self._desks.clear()
        for desk in desks:
            await desk.closed()

    async def in_pool(self, function: Callable[..., T], *args: object) -> T:
        """Run something blocking in a thread of the pool."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)


class _Desk:
    """Serves one peer."""

    def __init__(self, server: BitswapServer, peer_id: str) -> None:
        self.ledger = Ledger(server.clock())
        self._server = server
        self._peer_id = peer_id
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_prompt = False
        self._is_stopped = False

    def take(self, entries: Sequence[Entry], *, is_full: bool) -> None:
        self.ledger.take(entries, is_full=is_full, now=self._server.clock())
        self._wake.set()
        self._start()

    def _start(self) -> None:
        if self._task is None and not self._is_stopped:
            self._task = asyncio.create_task(self._serve())

    def stop(self) -> None:
        self._is_stopped = True
        if self._task is not None:
            self._task.cancel()

    async def closed(self) -> None:
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self) -> None:
        """Work until nothing was wanted for a while."""
        outlet = _Outlet(self._server.swarm, self._peer_id)
        frames = self._server.frames
        sending: asyncio.Task[None] | None = None
        try:
            while await self._has_work():
                answer = self.ledger.next_answer()
                if answer.is_empty:
                    continue
                if sending is not None and not self._is_prompt:
                    await sending
                await frames.acquire()
                try:
                    frame = await self._frame(answer, await outlet.protocol())
                    if sending is not None:
                        await sending
                except BaseException:
                    frames.release()
                    raise
                sending = asyncio.create_task(self._send(outlet, frame, answer.size_bytes))
                sending.add_done_callback(lambda _: frames.release())
        except MirrorError as exc:
            log.info("bitswap answers not taken peer=%s reason=%s", self._peer_id, exc)
            self.ledger = Ledger(self._server.clock())
        except Exception:
            # A task boundary: a bug at one desk must not go unseen, nor stop the others.
            log.exception("bitswap desk failed peer=%s", self._peer_id)
            self.ledger = Ledger(self._server.clock())
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
            await outlet.close()
            self._task = None
        if self._wake.is_set():
            self._start()  # something was wanted since the last look

    async def _has_work(self) -> bool:
        """Look up what is new; wait when there is nothing; return whether to go on."""
        server, ledger = self._server, self.ledger
        self._wake.clear()
        cids = ledger.to_look(LOOK_TOGETHER)
        if cids:
            ledger.looked(await server.in_pool(server.shelf.block_sizes, cids))
            return True
        if ledger.has_answers:
            return True
        again_s = ledger.again_in_s(server.clock())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_S if again_s is None else again_s):
                await self._wake.wait()
                return True
        ledger.look_again(server.clock())
        return again_s is not None

    async def _frame(self, answer: Answer, protocol: str) -> bytes:
        """Read the blocks of an answer and return it as one frame, when it is its turn."""
        server = self._server
        frame, answer.size_bytes = await server.in_pool(_build, server.shelf, answer, protocol)
        left, piece = answer.size_bytes, server.uploads.piece_bytes
        is_small = left <= SMALL_BYTES
        while left > 0 and piece:
            await server.uploads.turn(self._peer_id, min(piece, left), is_small=is_small)
            left -= piece
        return frame

    async def _send(self, outlet: _Outlet, frame: bytes, size_bytes: int) -> None:
        server = self._server
        began = server.clock()
        await outlet.send(frame)
        seconds = server.clock() - began
        self._is_prompt = seconds < PROMPT_S
        self.ledger.note_sent(size_bytes, seconds)
        if size_bytes:
            server.uploads.note_sent(size_bytes, BITSWAP, peer=self._peer_id)
            server.shelf.note_served()


class _Outlet:
    """The stream for answers: opened when the first is sent, and anew when it was replaced."""

    def __init__(self, swarm: BitswapSwarm, peer_id: str) -> None:
        self._swarm = swarm
        self._peer_id = peer_id
        self._outlet: OutletPort | None = None

    async def protocol(self) -> str:
        """Return what the peer speaks."""
        if self._outlet is None:
            self._outlet = await self._swarm.open_outlet(self._peer_id, PROTOCOLS)
        return self._outlet.protocol

    async def send(self, frame: bytes) -> None:
        """Send a frame, once more when the connection was replaced by another one."""
        try:
            assert self._outlet is not None
            await self._outlet.send(frame)
        except SourceGone:
            self._outlet = await self._swarm.open_outlet(self._peer_id, PROTOCOLS)
            await self._outlet.send(frame)

    async def close(self) -> None:
        if self._outlet is not None:
            await self._outlet.close()


def _build(shelf: BlockShelf, answer: Answer, protocol: str) -> tuple[bytes, int]:
    """Read the blocks and return the frame and how many bytes of blocks are in it."""
    blocks: list[tuple[Cid, Buffer]] = []
    dont_haves = list(answer.dont_haves)
    for cid in answer.blocks:
        block = shelf.read_block(cid)
        if block is None:
            dont_haves.append(cid)  # it was here a moment ago: its file has changed
        else:
            blocks.append((cid, block))
    parts = encode_answer(
        blocks,
        protocol,
        haves=answer.haves,
        dont_haves=dont_haves,
        pending_bytes=answer.pending_bytes,
    )
    size_bytes = sum(map(len, parts))
    frame = b"".join([encode_uvarint(size_bytes), *parts])
    return frame, sum(len(block) for _, block in blocks)

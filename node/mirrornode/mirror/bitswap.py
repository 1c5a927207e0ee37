"""Bitswap on this node: takes what peers send and gives it to the server and to the client.

Put together by `open_bitswap`; knows neither the ledger's rules nor the transfer's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol

from mirrornode.content.block import multihash_of
from mirrornode.errors import HashNotAllowed, MirrorError
from mirrornode.mirror.bitswap_server import BitswapServer, BlockShelf
from mirrornode.sources.bitswap import BitswapSource
from mirrornode.sources.bitswap_client import LIE, BitswapClient, BitswapSwarm
from mirrornode.wire.bitswap import MAX_MESSAGE_BYTES, PROTOCOLS, Message, decode_message
from mirrornode.wire.bitswap_ledger import WantFlood

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.transfer.pacing import Uploads
    from mirrornode.wire.bitswap import Buffer, SentBlock

log = logging.getLogger(__name__)

THREADS: Final = 4  # that look up, read and hash; two would do on two cores
AT_ONCE_BYTES: Final = 4096  # so small a message is read in the event loop
ASK_TIMEOUT_S: Final = 5.0  # for a HAVE
MAX_ASKED: Final = 32  # roots that one peer is asked about at a time

Hashed = list[tuple[bytes | None, "Buffer"]]


class FrameSwarm(BitswapSwarm, Protocol):
    """What the whole of bitswap needs of the swarm."""

    def take_frames(
        self,
        protocols: Sequence[str],
        receiver: Callable[[str, Sequence[bytes]], Coroutine[None, None, None]],
        *,
        max_frame_bytes: int,
    ) -> None: ...

    def on_peer_gone(self, callback: Callable[[str], None]) -> Callable[[], None]: ...
    def link(self, peer_id: str) -> object | None: ...


class Bitswap:
    """The exchange of this node. Belongs to one event loop."""

    protocols = PROTOCOLS

    def __init__(
        self, swarm: FrameSwarm, shelf: BlockShelf, uploads: Uploads, pool: ThreadPoolExecutor
    ) -> None:
        """Prepare; `open_bitswap` lets peers in."""
        self.server = BitswapServer(swarm, shelf, uploads, pool)
        self.client = BitswapClient(swarm)
        self._swarm = swarm
        self._pool = pool
        self._refusing: set[asyncio.Task[None]] = set()

    def source(self, peer_id: str) -> BitswapSource:
        """Return a peer as a source of leaves and blocks."""
        return BitswapSource(peer_id, self.client.with_peer)

    async def ask(self, peer_id: str, cids: Sequence[Cid]) -> list[Cid]:
        """Return which blocks a connected peer says to have, of at most `MAX_ASKED`.

        Raises:
            SourceError: It gives no answer.
            CidMismatch: It was caught sending what nobody asked for.
        """
        return await self.client.with_peer(peer_id).ask(cids[:MAX_ASKED], ASK_TIMEOUT_S)

    async def take(self, peer_id: str, frames: Sequence[bytes]) -> None:
        """Take messages of one stream of a peer, in order.

        Raises:
            RemoteProtocolError: One is malformed.
        """
        if sum(map(len, frames)) <= AT_ONCE_BYTES:
            read = [_read(frame) for frame in frames]
        else:
            loop = asyncio.get_running_loop()
            read = await loop.run_in_executor(self._pool, lambda: list(map(_read, frames)))
        if self._swarm.link(peer_id) is None:
            return  # it left meanwhile; nobody would clear away what is noted now
        for message, blocks in read:
            if message.entries or message.is_full:
                try:
                    self.server.take(peer_id, message.entries, is_full=message.is_full)
                except WantFlood:
                    self._refuse(peer_id, "flood of wants")
                    raise
            if blocks or message.haves or message.dont_haves:
                talk = self.client.with_peer(peer_id)
                talk.take(blocks, message.haves, message.dont_haves)
                if talk.is_lying:
                    self._refuse(peer_id, LIE)

    def gone(self, peer_id: str) -> None:
        """Forget a peer that left."""
        self.server.gone(peer_id)
        self.client.gone(peer_id)

    async def close(self) -> None:
        """End everything; what is on its way is lost."""
        for task in self._refusing:
            task.cancel()
        await asyncio.gather(*self._refusing, return_exceptions=True)
        await self.server.close()
        await self.client.close()

    def _refuse(self, peer_id: str, event: str) -> None:
        """Drop a peer; in a task of its own, because it ends the stream that is being taken."""
        log.warning("peer dropped peer=%s reason=%s", peer_id, event)

        async def refuse() -> None:
            with contextlib.suppress(MirrorError):  # it has left by itself
                await self._swarm.refuse(peer_id, event)

        task = asyncio.create_task(refuse())
        self._refusing.add(task)
        task.add_done_callback(self._refusing.discard)


@asynccontextmanager
async def open_bitswap(
    swarm: FrameSwarm, shelf: BlockShelf, uploads: Uploads
) -> AsyncIterator[Bitswap]:
    """Speak bitswap with the peers of a swarm for the length of the block."""
    pool = ThreadPoolExecutor(THREADS, "bitswap")
    bitswap = Bitswap(swarm, shelf, uploads, pool)
    stop_listening = swarm.on_peer_gone(bitswap.gone)
    swarm.take_frames(PROTOCOLS, bitswap.take, max_frame_bytes=MAX_MESSAGE_BYTES)
    try:
        yield bitswap
    finally:
        stop_listening()
        await bitswap.close()
        pool.shutdown(wait=False, cancel_futures=True)


def _read(frame: bytes) -> tuple[Message, Hashed]:
    """Read a message and hash its blocks."""
    message = decode_message(frame)
    return message, [(_multihash(block), _kept(block, frame)) for block in message.blocks]


def _kept(block: SentBlock, frame: bytes) -> Buffer:
    """Return the bytes of a block: a view where it is much of the message that it keeps alive.

    A peer could else make us keep megabytes of anything for each small block that we asked for.
    """
    return block.data if 4 * len(block.data) >= len(frame) else bytes(block.data)


def _multihash(block: SentBlock) -> bytes | None:
    try:
        return multihash_of(block.hash_code, block.data)
    except HashNotAllowed:
        return None

"""Swarms in memory that carry one-way streams only, and peers that say what a test wants."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from mirrornode.content.block import Block
from mirrornode.content.cid import Cid
from mirrornode.content.varint import encode_uvarint
from mirrornode.errors import RemoteProtocolError, SourceGone, SourceRefused
from mirrornode.mirror.bitswap import Bitswap, open_bitswap
from mirrornode.mirror.bitswap_server import BlockShelf
from mirrornode.transfer.pacing import Uploads
from mirrornode.wire.bitswap import (
    BITSWAP_120,
    MAX_MESSAGE_BYTES,
    PROTOCOLS,
    Buffer,
    Message,
    decode_message,
    encode_answer,
)
from mirrornode.wire.frames import FrameDecoder

Take = Callable[[str, Sequence[bytes]], Coroutine[None, None, None]]


class BitswapNet:
    """Nodes that are all connected to each other, until one is cut off."""

    def __init__(self) -> None:
        self.nodes: dict[str, NetSwarm] = {}

    def join(self, peer_id: str, *, protocols: Sequence[str] = PROTOCOLS) -> NetSwarm:
        """Add a node that speaks `protocols`."""
        node = self.nodes[peer_id] = NetSwarm(self, peer_id, protocols)
        return node

    def cut(self, peer_id: str) -> None:
        """Take a node away; the others notice."""
        self.nodes.pop(peer_id)
        for node in self.nodes.values():
            node.tell_gone(peer_id)


class NetSwarm:
    """One node; what `open_bitswap` needs of a swarm."""

    def __init__(self, net: BitswapNet, peer_id: str, protocols: Sequence[str]) -> None:
        self.net = net
        self.peer_id = peer_id
        self.protocols = protocols
        self.refused: Counter[str] = Counter()
        self.opened = 0
        self.gate = asyncio.Event()
        """What is sent to this node waits for it, as for a peer that does not read."""
        self.gate.set()
        self._received: Counter[str] = Counter()
        self._take: Take | None = None
        self._on_gone: list[Callable[[str], None]] = []

    def take_frames(
        self, protocols: Sequence[str], receiver: Take, *, max_frame_bytes: int
    ) -> None:
        assert max_frame_bytes == MAX_MESSAGE_BYTES
        self._take = receiver

    def on_peer_gone(self, callback: Callable[[str], None]) -> Callable[[], None]:
        self._on_gone.append(callback)
        return lambda: self._on_gone.remove(callback)

    def link(self, peer_id: str) -> object | None:
        return self.net.nodes.get(peer_id)

    def tell_gone(self, peer_id: str) -> None:
        for callback in list(self._on_gone):
            callback(peer_id)

    async def refuse(self, peer_id: str, event: str) -> None:
        self.refused[event] += 1
        if peer_id in self.net.nodes:
            self.net.nodes[peer_id].tell_gone(self.peer_id)
        self.tell_gone(peer_id)

    def received_bytes(self, peer_id: str) -> int:
        return self._received[peer_id]

    async def open_outlet(
        self, peer_id: str, protocols: Sequence[str], *, timeout_s: float = 10.0
    ) -> NetOutlet:
        if (other := self.net.nodes.get(peer_id)) is None:
            raise SourceGone(f"{peer_id} is not connected", source_id=peer_id)
        spoken = [protocol for protocol in protocols if protocol in other.protocols]
        if not spoken:
            raise SourceRefused(f"{peer_id} does not speak {protocols[0]}", source_id=peer_id)
        self.opened += 1
        return NetOutlet(self, peer_id, spoken[0])

    async def arrive(self, peer_id: str, frame: bytes) -> None:
        """Hand in a frame of a peer, as its stream would."""
        await self.gate.wait()
        decoder = FrameDecoder()
        decoder.feed(frame)
        message = decoder.next_frame(MAX_MESSAGE_BYTES)
        assert message is not None
        assert decoder.is_empty
        self._received[peer_id] += len(message)
        assert self._take is not None
        await self._take(peer_id, [message])


class NetOutlet:
    """A stream to a node."""

    def __init__(self, swarm: NetSwarm, peer_id: str, protocol: str) -> None:
        self.protocol = protocol
        self._swarm = swarm
        self._peer_id = peer_id

    async def send(self, frame: bytes) -> None:
        other = self._swarm.net.nodes.get(self._peer_id)
        if other is None:
            raise SourceGone(f"{self._peer_id} has left", source_id=self._peer_id)
        try:
            await other.arrive(self._swarm.peer_id, frame)
        except RemoteProtocolError as exc:
            raise SourceGone("the stream was reset", source_id=self._peer_id) from exc

    async def close(self) -> None:
        """Nothing is kept open here."""


class MemoryShelf:
    """Blocks in memory; what is read is noted."""

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self.blocks = {block.cid.multihash: block.data for block in blocks}
        self.reads: list[Cid] = []
        self.served = 0

    def block_sizes(self, cids: Sequence[Cid]) -> dict[Cid, int | None]:
        found = {cid: self.blocks.get(cid.multihash) for cid in cids}
        return {cid: None if data is None else len(data) for cid, data in found.items()}

    def read_block(self, cid: Cid) -> bytes | None:
        self.reads.append(cid)
        return self.blocks.get(cid.multihash)

    def note_served(self) -> None:
        self.served += 1


class ScriptedPeer:
    """A peer that answers each message as a test says, and remembers what it was sent."""

    def __init__(
        self, net: BitswapNet, peer_id: str = "scripted", *, protocols: Sequence[str] = PROTOCOLS
    ) -> None:
        self.swarm = net.join(peer_id, protocols=protocols)
        self.messages: list[Message] = []
        self.answer: Callable[[Message], Iterable[Buffer] | None] = lambda message: None
        self.swarm.take_frames(protocols, self._take, max_frame_bytes=MAX_MESSAGE_BYTES)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def wanted(self) -> list[Cid]:
        """Everything that was asked for so far."""
        entries = [entry for message in self.messages for entry in message.entries]
        return [entry.cid for entry in entries if not entry.is_cancel]

    @property
    def cancelled(self) -> list[Cid]:
        entries = [entry for message in self.messages for entry in message.entries]
        return [entry.cid for entry in entries if entry.is_cancel]

    async def send(self, peer_id: str, parts: Iterable[Buffer]) -> None:
        """Send one message."""
        message = b"".join(parts)
        outlet = await self.swarm.open_outlet(peer_id, PROTOCOLS)
        await outlet.send(encode_uvarint(len(message)) + message)

    async def _take(self, peer_id: str, frames: Sequence[bytes]) -> None:
        for frame in frames:
            message = decode_message(frame)
            self.messages.append(message)
            parts = self.answer(message)
            if parts is not None:
                task = asyncio.create_task(self.send(peer_id, parts))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)


def honest(blocks: Mapping[bytes, bytes]) -> Callable[[Message], Iterable[Buffer]]:
    """Return an answer that sends what is here and tells what is not."""

    def answer(message: Message) -> list[Buffer]:
        asked = [entry.cid for entry in message.entries if not entry.is_cancel]
        here = [(cid, blocks[cid.multihash]) for cid in asked if cid.multihash in blocks]
        lacking = [cid for cid in asked if cid.multihash not in blocks]
        return encode_answer(here, BITSWAP_120, dont_haves=lacking)

    return answer


@asynccontextmanager
async def node_of(
    net: BitswapNet,
    peer_id: str,
    blocks: Iterable[Block] = (),
    *,
    uploads: Uploads | None = None,
    protocols: Sequence[str] = PROTOCOLS,
    served: BlockShelf | None = None,
) -> AsyncIterator[tuple[Bitswap, NetSwarm, MemoryShelf]]:
    """Run bitswap of ours on a new node of the net; `served` is used instead of `blocks`."""
    swarm, shelf = net.join(peer_id, protocols=protocols), MemoryShelf(blocks)
    async with open_bitswap(swarm, served or shelf, uploads or Uploads()) as bitswap:
        yield bitswap, swarm, shelf

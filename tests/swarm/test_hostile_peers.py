"""Peers that mean harm, against a whole node on loopback: bounded, counted, and alone in suffering.

While each attack is on, another peer asks for a ticket, for DHT records and for a name of the Hub,
and is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio
from libp2p.io.exceptions import IOException

from mirrornode.config import Config, GatewayConfig, HubConfig, PeerPlaneConfig, SwarmConfig
from mirrornode.content.cid import Cid
from mirrornode.content.varint import encode_uvarint
from mirrornode.daemon import Node, open_node
from mirrornode.errors import SourceGone
from mirrornode.routing.kad.rules import LAN_KAD_PROTOCOL
from mirrornode.swarm.addresses import TcpAddress
from mirrornode.swarm.connection import MAX_INBOUND_STREAMS, MAX_REFUSED_STREAMS
from mirrornode.swarm.node import Swarm
from mirrornode.swarm.streams import FramedStream
from mirrornode.wire import hub_peer, ticket
from mirrornode.wire.frames import encode_frame
from mirrornode.wire.hub import Repo
from mirrornode.wire.kad import KadMessage, MessageType, decode_message, encode_message
from mirrornode.wire.yamux import HEADER, SYN, WINDOW_UPDATE
from support.waiting import until
from swarm.islands import RawPeer, raw_peer_of
from swarm.swarms import LOOPBACK, Opener

CID = Cid.raw_sha256(bytes(32))
KAD_REQUEST = encode_message(KadMessage(MessageType.GET_PROVIDERS, CID.multihash))
QUESTION = hub_peer.NameQuestion(Repo("model", "org/name"), "main")
REQUESTS = {
    ticket.PROTOCOL: ticket.encode_request([CID]),
    LAN_KAD_PROTOCOL: KAD_REQUEST,
    hub_peer.PROTOCOL: hub_peer.encode_question(QUESTION),
}
ROUNDS = 3  # of all three questions, while an attack is on
MANY_STREAMS = 1000

Attack = Callable[[RawPeer, Callable[[], None]], Awaitable[None]]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A whole node, as `serve` runs it, on loopback."""
    config = Config(
        home=tmp_path / "home",
        origin=(),
        swarm=SwarmConfig(listen=(LOOPBACK,), mdns=False),
        peer_plane=PeerPlaneConfig("127.0.0.1:0"),
        gateway=GatewayConfig("127.0.0.1:0"),
        hub=HubConfig(),
    )
    async with open_node(config) as opened:
        yield opened


async def ask_everything(asker: Swarm, node: Node) -> None:
    """Ask a node what peers ask, and see that each question gets its answer."""
    peer_id = node.swarm.peer_id
    for _ in range(ROUNDS):
        answers = {
            protocol: await asker.request(peer_id, protocol, request)
            for protocol, request in REQUESTS.items()
        }
        assert ticket.decode_ticket(answers[ticket.PROTOCOL], [CID]).holdings == ()
        assert decode_message(answers[LAN_KAD_PROTOCOL]).type is MessageType.GET_PROVIDERS
        assert hub_peer.decode_word(answers[hub_peer.PROTOCOL], QUESTION) is None


@contextlib.asynccontextmanager
async def attacked(node: Node, attack: Attack) -> AsyncIterator[None]:
    """Let a peer in a thread of its own attack; the block runs once the attack is on."""
    address = TcpAddress.parse(node.swarm.addresses()[0])
    begun, over = threading.Event(), threading.Event()

    async def play() -> None:
        connected = raw_peer_of(address, node.swarm.peer_id)
        async with connected as peer, trio.open_nursery() as nursery:
            nursery.start_soon(attack, peer, begun.set)
            await trio.to_thread.run_sync(over.wait)
            nursery.cancel_scope.cancel()

    attacking = asyncio.create_task(asyncio.to_thread(trio.run, play))
    try:
        await until(lambda: begun.is_set() or attacking.done())
        assert not attacking.done(), attacking.exception()
        yield
    finally:
        over.set()
        await attacking


async def many_streams(peer: RawPeer, begun: Callable[[], None]) -> None:
    """Open a thousand streams and say nothing on them."""
    pipe = await peer.take_over_writing()
    with contextlib.suppress(IOException):  # dropped meanwhile
        for number in range(MANY_STREAMS):
            stream_id = 1001 + 2 * number
            await pipe.write(HEADER.pack(0, WINDOW_UPDATE, SYN, stream_id, 0))
    begun()
    await trio.sleep_forever()


async def test_streams_when_a_peer_opens_a_thousand_then_it_is_dropped(
    node: Node, opened: Opener
) -> None:
    other = await opened()
    await other.dial(node.swarm.peer_id, node.swarm.addresses())
    async with attacked(node, many_streams):
        await ask_everything(other, node)
        await until(lambda: node.swarm.refusals().get("flood of streams", 0) == 1)
        refused = node.swarm.refusals()["stream over limit"]
        assert MAX_REFUSED_STREAMS < refused <= MANY_STREAMS - MAX_INBOUND_STREAMS
        await ask_everything(other, node)


def flood_of(protocol: str, request: bytes) -> Attack:
    """Return an attack: requests on many streams, as fast as they are taken; no answer is read."""
    requests = encode_frame(request) * 50

    async def write_on(stream: FramedStream) -> None:
        with contextlib.suppress(SourceGone):  # reset, because it does not read
            while True:
                await stream.write(requests)

    async def attack(peer: RawPeer, begun: Callable[[], None]) -> None:
        streams = [await peer.opened(protocol) for _ in range(MAX_INBOUND_STREAMS // 2)]
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(write_on, stream)
            begun()

    return attack


@pytest.mark.parametrize("protocol", REQUESTS)
async def test_requests_when_a_peer_floods_then_others_are_answered(
    node: Node, opened: Opener, protocol: str
) -> None:
    other = await opened()
    await other.dial(node.swarm.peer_id, node.swarm.addresses())
    async with attacked(node, flood_of(protocol, REQUESTS[protocol])):
        await ask_everything(other, node)
    await ask_everything(other, node)


def frames_of(protocol: str) -> Attack:
    """Return an attack: frames that are too large, endless in their length, cut off, or begun."""
    heads = (
        encode_uvarint(1 << 30),
        b"\xff" * 16,
        encode_uvarint(100) + b"half of it",
    )

    async def attack(peer: RawPeer, begun: Callable[[], None]) -> None:
        for head in heads:
            stream = await peer.opened(protocol)
            await stream.write(head)
            stream.close()
        for _ in range(10):  # these stay as they are
            stream = await peer.opened(protocol)
            await stream.write(encode_uvarint(100) + b"half of it")
        begun()

    return attack


@pytest.mark.parametrize("protocol", REQUESTS)
async def test_frames_when_oversize_or_half_then_their_streams_are_reset_and_counted(
    node: Node, opened: Opener, protocol: str
) -> None:
    other = await opened()
    await other.dial(node.swarm.peer_id, node.swarm.addresses())
    async with attacked(node, frames_of(protocol)):
        await ask_everything(other, node)
        await until(lambda: node.swarm.refusals().get("stream reset") == 3)
        await ask_everything(other, node)
    assert "responder failed" not in node.swarm.refusals()


def nonsense_for(protocol: str) -> Attack:
    """Return an attack: well-formed frames of bytes that are no request, then of half a request."""

    async def attack(peer: RawPeer, begun: Callable[[], None]) -> None:
        stream = await peer.opened(protocol)
        request = REQUESTS[protocol]
        for nonsense in (b"", b"\0", b"\xff" * 1000, request[: len(request) // 2], b"[" * 20_000):
            await stream.write_frame(nonsense)
        await stream.write_frame(request)
        assert await stream.read_frame(1 << 20) is not None
        begun()

    return attack


@pytest.mark.parametrize("protocol", REQUESTS)
async def test_requests_when_nonsense_then_unanswered_and_the_next_good_one_is(
    node: Node, opened: Opener, protocol: str
) -> None:
    other = await opened()
    await other.dial(node.swarm.peer_id, node.swarm.addresses())
    async with attacked(node, nonsense_for(protocol)):
        await ask_everything(other, node)
    assert "responder failed" not in node.swarm.refusals()

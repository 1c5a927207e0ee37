"""One-way streams: frames in order, streams that stay open, and what a peer cannot make us hold."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest
import trio
from libp2p.io.exceptions import IOException

from mirrornode.errors import RemoteProtocolError, SourceGone, SourceRefused
from mirrornode.swarm.connection import MAX_INBOUND_STREAMS, MAX_REFUSED_STREAMS
from mirrornode.swarm.one_way import (
    LARGE_FRAMES_PER_PEER,
    SMALL_FRAME_BYTES,
    STREAMS_PER_PEER,
    Intake,
    transfer_timeout_s,
)
from mirrornode.wire.frames import encode_frame
from mirrornode.wire.yamux import HEADER, SYN, WINDOW_UPDATE
from support.waiting import until
from swarm.islands import in_trio, raw_peer, running_island, service
from swarm.swarms import Opener

BLOCKS = "/blocks/2"
OLDER = "/blocks/1"
MIB = 1 << 20


class Desk:
    """Takes frames; holds its stream while `gate` is closed."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.gate = trio.Event()
        self.gate.set()
        self.waiting = 0
        self._changed = trio.Event()

    async def receive(self, peer_id: str, frames: Sequence[bytes]) -> None:
        self.waiting += 1
        self._signal()
        await self.gate.wait()
        self.waiting -= 1
        self.frames += frames
        self._signal()

    async def until_frames(self, count: int) -> None:
        while len(self.frames) < count:
            await self._changed.wait()

    async def until_waiting(self, count: int) -> None:
        while self.waiting < count:
            await self._changed.wait()

    def _signal(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@in_trio
async def test_frames_of_a_stream_come_in_order_whatever_their_size() -> None:
    desk = Desk()
    async with running_island() as (island, _), raw_peer(island) as peer:
        island.serve(BLOCKS, Intake(desk.receive, 2 * MIB))
        stream = await peer.opened(BLOCKS)
        sent = [b"small", bytes(MIB), b"", b"x" * SMALL_FRAME_BYTES, b"y" * (SMALL_FRAME_BYTES + 1)]
        for frame in sent:
            await stream.write_frame(frame)
        await desk.until_frames(len(sent))
        assert desk.frames == sent
        stream.close()
        assert await stream.read_frame(100) is None
        assert not island.counters


@in_trio
async def test_frame_is_taken_when_it_comes_byte_by_byte() -> None:
    desk = Desk()
    async with running_island() as (island, _), raw_peer(island) as peer:
        island.serve(BLOCKS, Intake(desk.receive, MIB))
        stream = await peer.opened(BLOCKS)
        for byte in encode_frame(b"z" * 200):
            await stream.write(bytes([byte]))
        await desk.until_frames(1)
        assert desk.frames == [b"z" * 200]


@in_trio
async def test_oversize_frame_resets_the_stream_unread_and_nothing_else() -> None:
    desk = Desk()
    async with running_island() as (island, _), raw_peer(island) as peer:
        island.serve(BLOCKS, Intake(desk.receive, MIB))
        stream = await peer.opened(BLOCKS)
        await stream.write(b"\x81\x80\x40")  # the length of MIB + 1, and no body
        with pytest.raises(SourceGone):
            await stream.read_frame(100)
        assert island.counters["stream reset"] == 1
        other = await peer.opened(BLOCKS)
        await other.write_frame(b"fine")
        await desk.until_frames(1)


@in_trio
async def test_receiver_that_refuses_resets_the_stream() -> None:
    async def receive(peer_id: str, frames: Sequence[bytes]) -> None:
        raise RemoteProtocolError("not so")

    async with running_island() as (island, _), raw_peer(island) as peer:
        island.serve(BLOCKS, Intake(receive, MIB))
        stream = await peer.opened(BLOCKS)
        await stream.write_frame(b"anything")
        with pytest.raises(SourceGone):
            await stream.read_frame(100)
        assert island.counters["stream reset"] == 1


@in_trio
async def test_large_frames_are_read_a_few_at_a_time_and_small_ones_pass_them() -> None:
    desk = Desk()
    desk.gate = trio.Event()
    async with running_island() as (island, _), raw_peer(island) as peer:
        island.serve(BLOCKS, Intake(desk.receive, MIB))
        size_bytes = SMALL_FRAME_BYTES + 1
        for _ in range(LARGE_FRAMES_PER_PEER + 3):
            stream = await peer.opened(BLOCKS)
            await stream.write_frame(bytes(size_bytes))
        await desk.until_waiting(LARGE_FRAMES_PER_PEER)
        stream = await peer.opened(BLOCKS)
        await stream.write_frame(b"small")
        await desk.until_waiting(LARGE_FRAMES_PER_PEER + 1)
        assert desk.waiting == LARGE_FRAMES_PER_PEER + 1
        desk.gate.set()
        await desk.until_frames(LARGE_FRAMES_PER_PEER + 4)


@in_trio
async def test_streams_beyond_the_limit_are_reset_and_counted() -> None:
    desk = Desk()
    async with running_island() as (island, _), raw_peer(island) as peer:
        island.serve(BLOCKS, Intake(desk.receive, MIB))
        streams = [await peer.opened(BLOCKS) for _ in range(STREAMS_PER_PEER)]

        async def one_more() -> None:
            await (await peer.opened(BLOCKS)).read_frame(100)

        with pytest.raises(SourceGone):
            await one_more()
        assert island.counters["stream reset"] == 1
        await streams[0].write_frame(b"fine")
        await desk.until_frames(1)


@in_trio
async def test_peer_that_floods_streams_is_dropped_and_another_is_served() -> None:
    desk = Desk()
    async with (
        running_island() as (island, _),
        raw_peer(island) as peer,
        raw_peer(island) as other,
    ):
        island.serve(BLOCKS, Intake(desk.receive, MIB))
        pipe = await peer.take_over_writing()
        with contextlib.suppress(IOException):
            for number in range(MAX_INBOUND_STREAMS + MAX_REFUSED_STREAMS + 1):
                await pipe.write(HEADER.pack(0, WINDOW_UPDATE, SYN, 1001 + 2 * number, 0))
        await peer.ended.wait()
        assert island.counters["flood of streams"] == 1
        stream = await other.opened(BLOCKS)
        await stream.write_frame(b"fine")
        await desk.until_frames(1)


async def test_outlet_speaks_the_best_common_protocol_and_frames_arrive(opened: Opener) -> None:
    client, server = await opened(), await opened()
    got: list[tuple[str, bytes]] = []

    async def receive(peer_id: str, frames: Sequence[bytes]) -> None:
        got.extend((peer_id, frame) for frame in frames)

    server.take_frames([OLDER], receive, max_frame_bytes=4 * MIB)
    await client.dial(server.peer_id, server.addresses())
    await until(lambda: OLDER in (client.link(server.peer_id) or server.links()[0]).protocols)
    outlet = await client.open_outlet(server.peer_id, [BLOCKS, OLDER])
    assert outlet.protocol == OLDER
    sent = [b"one", bytes(3 * MIB), b"two"]
    for frame in sent:
        await outlet.send(encode_frame(frame))
    await until(lambda: len(got) == len(sent))
    assert got == [(client.peer_id, frame) for frame in sent]
    assert server.received_bytes(client.peer_id) > 3 * MIB
    await outlet.close()
    await outlet.close()
    with pytest.raises(SourceGone):
        await outlet.send(encode_frame(b"late"))
    with pytest.raises(SourceRefused):
        await client.open_outlet(server.peer_id, ["/unknown"])


async def test_outlet_ends_with_the_connection_and_refusing_is_counted(opened: Opener) -> None:
    client, server = await opened(), await opened()
    refused = asyncio.Event()

    async def receive(peer_id: str, frames: Sequence[bytes]) -> None:
        refused.set()

    server.take_frames([BLOCKS], receive, max_frame_bytes=MIB)
    await client.dial(server.peer_id, server.addresses())
    await until(lambda: BLOCKS in (client.link(server.peer_id) or server.links()[0]).protocols)
    outlet = await client.open_outlet(server.peer_id, [BLOCKS])
    await outlet.send(encode_frame(b"one"))
    await refused.wait()
    await server.refuse(client.peer_id, "lies")
    await until(lambda: client.link(server.peer_id) is None)
    with pytest.raises(SourceGone):
        await outlet.send(encode_frame(b"two"))
    with pytest.raises(SourceGone):
        await client.open_outlet(server.peer_id, [BLOCKS])
    assert server.refusals()["lies"] == 1


@in_trio
async def test_service_and_intake_may_stand_side_by_side() -> None:
    async def echo(peer_id: str, request: bytes) -> bytes:
        return request

    desk = Desk()
    async with running_island() as (island, _), raw_peer(island) as peer:
        island.serve("/echo", service(echo))
        island.serve(BLOCKS, Intake(desk.receive, MIB))
        stream = await peer.opened("/echo")
        await stream.write_frame(b"one")
        assert await stream.read_frame(100) == b"one"
        blocks = await peer.opened(BLOCKS)
        await blocks.write_frame(b"two")
        await desk.until_frames(1)


@pytest.mark.parametrize(
    ("size_bytes", "timeout_s"), [(0, 10.0), (500_000, 42.0), (4 * MIB, 120.0)]
)
def test_slow_messages_have_time_but_not_for_ever(size_bytes: int, timeout_s: float) -> None:
    # SOURCE: boxo, bitswap/network: 2 s and the size at 100 kbit/s, at least 10 s, at most 2 min.
    assert transfer_timeout_s(size_bytes) == timeout_s

"""What a peer can do to an island through a raw connection, well-behaved or not."""

from __future__ import annotations

import contextlib

import pytest
import trio
from libp2p.io.exceptions import IOException

from mirrornode.errors import SourceGone, SourceRefused
from mirrornode.swarm.connection import MAX_ANSWERED, MAX_INBOUND_STREAMS
from mirrornode.swarm.dial import connect_tcp
from mirrornode.swarm.streams import FramedStream
from mirrornode.swarm.yamux import Liveness
from mirrornode.wire.yamux import DATA, HEADER, WINDOW_BYTES
from swarm.islands import in_trio, raw_peer, running_island, service


async def echo(peer_id: str, request: bytes) -> bytes | None:
    return None if request == b"quiet" else request[::-1]


@in_trio
async def test_serve_when_several_requests_on_a_stream_then_answered_in_order() -> None:
    async with running_island() as (island, _), raw_peer(island) as peer:
        island.serve("/echo", service(echo))
        stream = await peer.opened("/echo")
        for request in (b"one", b"quiet", b"", b"two"):
            await stream.write_frame(request)
        assert [await stream.read_frame(100) for _ in range(3)] == [b"eno", b"", b"owt"]
        stream.close()
        assert await stream.read_frame(100) is None


@in_trio
async def test_serve_when_protocol_is_second_choice_then_agreed_on() -> None:
    async with running_island() as (island, _), raw_peer(island) as peer:
        island.serve("/echo", service(echo))
        stream = FramedStream(peer.mux.open(), "island")
        await stream.write_frame(b"/multistream/1.0.0\n")
        for proposal, answer in ((b"/none\n", b"na\n"), (b"/echo\n", b"/echo\n")):
            await stream.write_frame(proposal)
            if proposal == b"/none\n":
                assert await stream.read_frame(100) == b"/multistream/1.0.0\n"
            assert await stream.read_frame(100) == answer
        await stream.write_frame(b"one")
        assert await stream.read_frame(100) == b"eno"


@in_trio
async def test_serve_when_frame_is_oversize_then_stream_is_reset_and_the_link_stays() -> None:
    async with running_island() as (island, watcher), raw_peer(island) as peer:
        island.serve("/echo", service(echo))
        stream = await peer.opened("/echo")
        await stream.write_frame(bytes(1001))
        with pytest.raises(SourceGone):
            await stream.read_frame(100)
        assert island.counters["stream reset"] == 1
        stream = await peer.opened("/echo")
        await stream.write_frame(bytes(1000))
        assert await stream.read_frame(1000) == bytes(1000)
        await watcher.until(lambda links: peer.peer_id in links)


@in_trio
async def test_serve_when_protocol_is_unknown_then_refused() -> None:
    async with running_island() as (island, _), raw_peer(island) as peer:
        with pytest.raises(SourceRefused, match="does not speak /none"):
            await peer.opened("/none")


@in_trio
async def test_streams_when_more_than_allowed_then_the_rest_is_reset() -> None:
    release = trio.Event()

    async def wait(peer_id: str, request: bytes) -> bytes:
        await release.wait()
        return b"done"

    async with running_island() as (island, watcher), raw_peer(island) as peer:
        island.serve("/wait", service(wait))
        await watcher.until(lambda links: peer.peer_id in links)
        streams = [await peer.opened("/wait") for _ in range(MAX_INBOUND_STREAMS)]
        for stream in streams:
            await stream.write_frame(b"")
        with pytest.raises(SourceGone):
            await peer.opened("/wait")
        assert island.counters["stream over limit"] == 1
        release.set()
        for stream in streams:
            assert await stream.read_frame(10) == b"done"
            stream.close()
            assert await stream.read_frame(10) is None


@in_trio
async def test_ping_when_asked_then_echoes() -> None:
    async with running_island() as (island, _), raw_peer(island) as peer:
        stream = await peer.opened("/ipfs/ping/1.0.0")
        for byte in (b"a", b"b"):
            await stream.write(32 * byte)
            assert await stream.read_exactly(32) == 32 * byte


@in_trio
async def test_liveness_when_peer_is_frozen_then_link_goes_down() -> None:
    liveness = Liveness(ping_every_s=0.01, answer_within_s=0.2)
    async with running_island(liveness=liveness) as (island, watcher), raw_peer(island) as peer:
        await watcher.until(lambda links: peer.peer_id in links)
        peer.freeze()
        await watcher.until(lambda links: peer.peer_id not in links)


@in_trio
async def test_window_when_ignored_then_connection_ends() -> None:
    async def wait(peer_id: str, request: bytes) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    async with running_island() as (island, watcher), raw_peer(island) as peer:
        island.serve("/wait", service(wait))
        await watcher.until(lambda links: peer.peer_id in links)
        stream = await peer.opened("/wait")
        await stream.write_frame(b"")
        pipe = await peer.take_over_writing()
        with contextlib.suppress(IOException):
            for _ in range(2):
                await pipe.write(HEADER.pack(0, DATA, 0, 1, WINDOW_BYTES) + bytes(WINDOW_BYTES))
        await watcher.until(lambda links: peer.peer_id not in links)


@in_trio
async def test_listener_when_garbage_arrives_then_counted_and_goes_on() -> None:
    async with running_island() as (island, watcher):
        garbage = await connect_tcp(island.announced.current()[0])
        await garbage.send_all(b"GET / HTTP/1.1\r\n\r\n" + bytes(range(256)))
        with contextlib.suppress(trio.BrokenResourceError):
            while await garbage.receive_some():
                pass
        assert island.counters["handshake failed"] == 1
        async with raw_peer(island) as peer:
            await watcher.until(lambda links: peer.peer_id in links)


@in_trio
async def test_serve_when_a_peer_asks_on_many_streams_then_few_are_answered_at_a_time() -> None:
    release, answering = trio.Event(), 0

    async def wait(peer_id: str, request: bytes) -> bytes:
        nonlocal answering
        answering += 1
        await release.wait()
        return b"done"

    async with running_island() as (island, watcher), raw_peer(island) as greedy:
        island.serve("/wait", service(wait))
        island.serve("/echo", service(echo))
        await watcher.until(lambda links: greedy.peer_id in links)
        streams = [await greedy.opened("/wait") for _ in range(3 * MAX_ANSWERED)]
        for stream in streams:
            await stream.write_frame(b"")
        async with raw_peer(island) as other:
            stream = await other.opened("/echo")
            await stream.write_frame(b"abc")
            assert await stream.read_frame(10) == b"cba"
        assert answering <= MAX_ANSWERED
        release.set()
        for stream in streams:
            assert await stream.read_frame(10) == b"done"
        assert answering == 3 * MAX_ANSWERED


@in_trio
async def test_request_when_the_peer_resets_the_stream_behind_its_answer_then_it_counts() -> None:
    async with running_island() as (island, watcher), raw_peer(island) as peer:
        await watcher.until(lambda links: peer.peer_id in links)
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append(await island.request(peer.peer_id, "/ask", [b"question"], 10, 100))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            stream = FramedStream(await peer.accepted.receive(), "island")
            assert await stream.accept(lambda _: True) == "/ask"
            assert await stream.read_frame(100) == b"question"
            assert await stream.read_frame(100) is None
            await stream.write_frame(b"answer")
            stream.reset()
        assert answers == [b"answer"]


# Found with js-libp2p, which takes the end of our side for the end of the messages.
@in_trio
async def test_request_when_messages_go_ahead_then_our_side_stays_open_until_the_answer() -> None:
    async with running_island() as (island, watcher), raw_peer(island) as peer:
        island.serve("/echo", service(echo))
        await watcher.until(lambda links: peer.peer_id in links)

        async def ask() -> None:
            answer = await island.request(peer.peer_id, "/ask", [b"ahead", b"question"], 10, 100)
            assert answer == b"answer"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            accepted = await peer.accepted.receive()
            stream = FramedStream(accepted, "island")
            assert await stream.accept(lambda _: True) == "/ask"
            assert [await stream.read_frame(100) for _ in range(2)] == [b"ahead", b"question"]
            other = await peer.opened("/echo")  # all that was sent before this has arrived
            await other.write_frame(b"abc")
            assert await other.read_frame(10) == b"cba"
            assert not accepted.is_read_closed
            await stream.write_frame(b"answer")
            assert await stream.read_frame(100) is None

"""Islands and raw peers for tests that run in trio alone."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import trio
import trio.testing

from mirrornode.swarm.addresses import TcpAddress
from mirrornode.swarm.connection import Service
from mirrornode.swarm.dial import connect_tcp
from mirrornode.swarm.identity import Identity
from mirrornode.swarm.island import Island, IslandSettings
from mirrornode.swarm.links import PeerLink
from mirrornode.swarm.noise_pipe import NoisePipe
from mirrornode.swarm.streams import FramedStream
from mirrornode.swarm.upgrade import Upgrader
from mirrornode.swarm.yamux import Liveness, MuxedConnection, MuxedStream

TEST_TIMEOUT_S = 30.0
LOOPBACK = TcpAddress("ip4", "127.0.0.1", 0)


def in_trio(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Turn an async test into one that runs under trio, with a time limit."""

    async def limited() -> None:
        with trio.fail_after(TEST_TIMEOUT_S):
            await test()

    def run() -> None:
        trio.run(limited)

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


class Watcher:
    """Remembers what an island tells, and lets tests wait for it."""

    def __init__(self) -> None:
        self.links: dict[str, PeerLink] = {}
        self._changed = trio.Event()

    def link_up(self, link: PeerLink) -> None:
        self.links[link.peer_id] = link
        self._signal()

    def link_down(self, peer_id: str) -> None:
        del self.links[peer_id]
        self._signal()

    async def until(self, condition: Callable[[dict[str, PeerLink]], bool]) -> None:
        while not condition(self.links):
            await self._changed.wait()

    def _signal(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@contextlib.asynccontextmanager
async def running_island(
    *, liveness: Liveness | None = None
) -> AsyncIterator[tuple[Island, Watcher]]:
    """Run an island on a free loopback port."""
    watcher = Watcher()
    settings = IslandSettings(
        Identity.generate(), "test/1", (LOOPBACK,), (), {}, liveness or Liveness()
    )
    island = Island(settings, watcher)
    async with trio.open_nursery() as nursery:
        ready = _Ready()
        nursery.start_soon(partial(island.run, task_status=ready))
        await ready.event.wait()
        yield island, watcher
        nursery.cancel_scope.cancel()


class _Ready:
    """Told by an island that it listens."""

    def __init__(self) -> None:
        self.event = trio.Event()

    def started(self) -> None:
        self.event.set()


@dataclass
class RawPeer:
    """A connection to an island that does only what the test does with it."""

    peer_id: str
    mux: MuxedConnection
    accepted: trio.MemoryReceiveChannel[MuxedStream]
    reading: trio.CancelScope
    writing: trio.CancelScope
    written: trio.Event
    ended: trio.Event

    async def take_over_writing(self) -> NoisePipe:
        """Stop what writes for the multiplexer and return what may now be written to."""
        await trio.testing.wait_all_tasks_blocked()  # a message cut in the middle ends it all
        self.writing.cancel()
        await self.written.wait()
        return self.mux.pipe

    def freeze(self) -> None:
        """Stop reading, like a process that is stopped; the socket stays open."""
        self.reading.cancel()

    async def opened(self, protocol: str) -> FramedStream:
        """Open a stream and agree on `protocol`."""
        stream = FramedStream(self.mux.open(), "island")
        await stream.propose(protocol)
        return stream


@contextlib.asynccontextmanager
async def raw_peer(island: Island) -> AsyncIterator[RawPeer]:
    """Connect to an island; the peer answers pings and identify, nothing else."""
    async with raw_peer_of(island.announced.current()[0], island.peer_id) as peer:
        yield peer


@contextlib.asynccontextmanager
async def raw_peer_of(address: TcpAddress, peer_id: str) -> AsyncIterator[RawPeer]:
    """Connect to a node by its address; else as `raw_peer`."""
    identity = Identity.generate()
    tcp = await connect_tcp(address)
    mux = await Upgrader(identity, Liveness()).outbound(tcp, peer_id)
    accept, accepted = trio.open_memory_channel[MuxedStream](100)
    peer = RawPeer(
        identity.peer_id,
        mux,
        accepted,
        trio.CancelScope(),
        trio.CancelScope(),
        written=trio.Event(),
        ended=trio.Event(),
    )

    async def read() -> None:
        with peer.reading:
            await mux.run_reader(accept.send_nowait)
            peer.ended.set()

    async def write() -> None:
        with peer.writing:
            await mux.run_writer()
        peer.written.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        nursery.start_soon(read)
        nursery.start_soon(_answer_identify, accepted)
        yield peer
        nursery.cancel_scope.cancel()
    mux.abort()


async def _answer_identify(accepted: trio.MemoryReceiveChannel[MuxedStream]) -> None:
    """Answer the island's identify, the first stream that it opens, with an empty message."""
    stream = FramedStream(await accepted.receive(), "island")
    await stream.accept(lambda protocol: protocol == "/ipfs/id/1.0.0")
    await stream.write_frame(b"")
    stream.close()


def service(
    respond: Callable[[str, bytes], Awaitable[bytes | None]], *, max_request_bytes: int = 1000
) -> Service:
    """Return a service for `Island.serve`."""

    async def respond_all(peer_id: str, requests: Sequence[bytes]) -> list[bytes | None]:
        return [await respond(peer_id, request) for request in requests]

    return Service(respond_all, max_request_bytes, trio.CapacityLimiter(64))

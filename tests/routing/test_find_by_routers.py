"""Finding by delegated routers: peers are dialled and asked, gateways handed on, both in bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import cast

from mirrornode.content.cid import Cid
from mirrornode.errors import SourceGone
from mirrornode.routing.delegated import Provider
from mirrornode.routing.find import (
    GATEWAY_AFTER_S,
    MAX_ROUTER_ADDRESSES,
    MAX_ROUTER_DIALS,
    Finder,
    Found,
    FoundBlocks,
    SwarmPort,
)
from mirrornode.routing.kad.node import ProviderRecord
from mirrornode.wire.ticket import PROTOCOL, Holding, Ticket, decode_request, encode_ticket
from support.room import FakeDht
from support.virtual_swarm import VirtualNet, VirtualSwarm, make_peer_id
from support.virtual_time import run_virtual

ROOT = Cid.raw_sha256(b"r" * 32)
GATEWAY = "http://10.0.0.7:8090"


class FakeRouters:
    """Tells what a test puts in."""

    def __init__(self) -> None:
        self.providers: list[Provider] = []
        self.where: dict[str, tuple[str, ...]] = {}
        self.rounds = 0

    async def find_providers(self, cid: Cid) -> AsyncGenerator[Provider, None]:
        self.rounds += 1
        for provider in self.providers:
            yield provider

    async def find_peer(self, peer_id: str) -> tuple[str, ...]:
        return self.where.get(peer_id, ())


class Scene:
    """An asker with routers, and peers it is not connected to."""

    def __init__(self) -> None:
        self.net = VirtualNet()
        self.asker = self.net.join("asker")
        self.dht = FakeDht()
        self.routers = FakeRouters()
        self.gateways: list[tuple[str, float]] = []
        self.finder = Finder(cast("SwarmPort", self.asker), self.dht, routers=self.routers)

    def seed(self, name: str, *, holds: bool = True) -> VirtualSwarm:
        swarm = self.net.join(name)

        async def answer(peer_id: str, request: bytes) -> bytes:
            holdings = tuple(Holding(root, root, 5) for root in decode_request(request) if holds)
            return encode_ticket(Ticket("http", 4102, ("10.0.0.9",), b"", "t", 60.0, holdings))

        swarm.serve(PROTOCOL, answer)
        return swarm

    async def first(self) -> Found:
        async with aclosing(self.finder.find([ROOT], (), self.take)) as finding:
            found = await anext(finding)
        assert isinstance(found, Found)
        return found

    async def look_for(self, seconds: float) -> None:
        finding = asyncio.create_task(self.first())
        await asyncio.sleep(seconds)
        finding.cancel()
        await asyncio.gather(finding, return_exceptions=True)

    def take(self, url: str) -> None:
        self.gateways.append((url, asyncio.get_running_loop().time()))


def test_peer_that_a_router_names_is_dialled_and_asked_for_a_ticket() -> None:
    async def scene() -> None:
        here = Scene()
        seed = here.seed("seed")
        here.routers.providers = [Provider(seed.peer_id, tuple(seed.listen), (GATEWAY,))]
        found = await here.first()
        assert found.peer_id == seed.peer_id
        assert here.gateways == []  # a node of ours serves by its peer plane

    run_virtual(scene())


def test_peer_without_addresses_is_looked_up_whoever_named_it() -> None:
    async def scene() -> None:
        for by_dht in (False, True):
            here = Scene()
            seed = here.seed("seed")
            here.routers.where[seed.peer_id] = tuple(seed.listen)
            if by_dht:
                here.dht.providers[ROOT.multihash] = [ProviderRecord(seed.peer_id, ())]
            else:
                here.routers.providers = [Provider(seed.peer_id)]
            assert (await here.first()).peer_id == seed.peer_id

    run_virtual(scene())


def test_gateway_alone_is_handed_on_at_once_and_the_peer_is_not_dialled() -> None:
    async def scene() -> None:
        here = Scene()
        began = asyncio.get_running_loop().time()
        here.routers.providers = [Provider(make_peer_id("gateway"), (), (GATEWAY,))]
        await here.look_for(1)
        assert here.gateways == [(GATEWAY, began)]
        assert here.net.dials == 0

    run_virtual(scene())


def test_gateway_of_a_peer_without_a_ticket_is_handed_on_after_a_moment() -> None:
    async def scene() -> None:
        here = Scene()
        began = asyncio.get_running_loop().time()
        dead = here.seed("dead")
        here.net.kill(dead.peer_id, blackhole=True)
        empty = here.seed("empty", holds=False)
        here.routers.providers = [
            Provider(dead.peer_id, tuple(dead.listen), (GATEWAY,)),
            Provider(empty.peer_id, tuple(empty.listen), ("http://10.0.0.8:80",)),
        ]
        await here.look_for(5)
        (first, at), (second, later) = here.gateways
        assert (first, second) == ("http://10.0.0.8:80", GATEWAY)
        assert at < began + GATEWAY_AFTER_S == later

    run_virtual(scene())


def test_router_that_names_us_or_very_many_then_few_are_dialled() -> None:
    async def scene() -> None:
        here = Scene()
        strangers = [make_peer_id(str(n)) for n in range(3 * MAX_ROUTER_DIALS)]
        here.routers.providers = [
            Provider(here.asker.peer_id, tuple(here.asker.listen), (GATEWAY,)),
            *(Provider(name, ("/ip4/10.0.0.77/tcp/1",)) for name in strangers),
        ]
        await here.look_for(1)
        assert here.net.dials == MAX_ROUTER_DIALS
        assert here.gateways == []

    run_virtual(scene())


def test_router_that_names_other_addresses_each_time_then_no_network_is_scanned() -> None:
    class Scanning(FakeRouters):
        async def find_providers(self, cid: Cid) -> AsyncGenerator[Provider, None]:
            self.rounds += 1
            for n in range(MAX_ROUTER_DIALS):
                addresses = tuple(f"/ip4/10.{self.rounds}.{n}.{m}/tcp/22" for m in range(1, 5))
                yield Provider(make_peer_id(f"{self.rounds} {n}"), addresses)

    async def scene() -> None:
        here = Scene()
        here.finder = Finder(cast("SwarmPort", here.asker), here.dht, routers=Scanning())
        dialled: set[str] = set()

        async def dial(peer_id: str, addresses: Sequence[str], *, timeout_s: float = 10) -> None:
            dialled.update(addresses)
            raise SourceGone("connection refused", source_id=peer_id)

        here.asker.dial = dial  # type: ignore[method-assign]  # the net would not tell where
        await here.look_for(1000)
        assert len(dialled) == MAX_ROUTER_ADDRESSES

    run_virtual(scene())


def test_routers_are_asked_again_and_a_holder_is_not_dialled_again() -> None:
    async def scene() -> None:
        here = Scene()
        seed = here.seed("seed")
        here.routers.providers = [Provider(seed.peer_id, tuple(seed.listen))]
        found = asyncio.Queue[Found | FoundBlocks]()

        async def collect() -> None:
            async with aclosing(here.finder.find([ROOT])) as finding:
                async for one in finding:
                    found.put_nowait(one)

        collecting = asyncio.create_task(collect())
        await asyncio.sleep(100)
        collecting.cancel()
        assert here.routers.rounds > 3
        assert (found.qsize(), here.net.dials) == (1, 1)

    run_virtual(scene())

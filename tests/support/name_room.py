"""Nodes that publish and resolve names over a virtual DHT, by a clock of the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mirrornode.errors import NoProviders, SourceGone
from mirrornode.mirror.ipns import NameResolver, RecordRouter
from mirrornode.mirror.ipns_publish import NamePublisher, Published, PublishRequest
from mirrornode.mirror.name_keys import NameKeys
from mirrornode.routing.dnslink import Link
from mirrornode.routing.kad.node import Kad
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.swarm.identity import Identity
from support.dht_room import Room, open_room
from support.names import seed_of
from support.virtual_swarm import VirtualSwarm

NOON = 1_700_000_000.0
SETTLE_S = 30.0


class Calendar:
    """Unix time as a test wants it."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeDns:
    """DNSLinks as a test wants them."""

    links: dict[str, Link] = field(default_factory=dict)
    is_away: bool = False
    asked: list[str] = field(default_factory=list)

    async def look_up(self, domain: str) -> Link:
        self.asked.append(domain)
        if self.is_away:
            raise SourceGone("no DNS resolver answers", source_id="dns")
        if domain not in self.links:
            raise NoProviders(f"{domain} has no DNSLink")
        return self.links[domain]


@dataclass
class NameNode:
    """One node, with what names need."""

    home: Path
    swarm: VirtualSwarm
    kad: Kad
    catalog: Catalog
    keys: NameKeys
    resolver: NameResolver
    publisher: NamePublisher

    async def publish(self, path: str, key_name: str = "models", **times: float) -> Published:
        """Publish with a key of this node."""
        return await self.publisher.publish(PublishRequest(path, path, key_name, **times))


class NameRoom:
    """Starts such nodes on one network."""

    def __init__(self, folder: Path, dht: Room, stack: ExitStack) -> None:
        self.folder = folder
        self.dht = dht
        self.calendar = Calendar()
        self.dns = FakeDns()
        self._stack = stack

    async def start(self, name: str, *, routers: Sequence[RecordRouter] = ()) -> NameNode:
        """Start a node and wait until it knows the others."""
        kad = await self.dht.start(name, unix_clock=self.calendar)
        await asyncio.sleep(SETTLE_S)
        return self.open(name, kad, self.dht.swarms[-1], routers=routers)

    def open(
        self, name: str, kad: Kad, swarm: VirtualSwarm, *, routers: Sequence[RecordRouter] = ()
    ) -> NameNode:
        """Open what a node keeps on its disk, as after a restart."""
        home = self.folder / name
        catalog = self._stack.enter_context(open_catalog(home))
        keys = NameKeys(home, Identity.from_seed(seed_of(name)))
        resolver = NameResolver(
            catalog,
            keys,
            kad,
            routers=routers,
            look_up_domain=self.dns.look_up,
            clock=self.calendar,
        )
        publisher = NamePublisher(catalog, keys, kad, resolver, clock=self.calendar)
        return NameNode(home, swarm, kad, catalog, keys, resolver, publisher)

    def cut_off(self, node: NameNode) -> None:
        """Take a node off the network, and its peers out of its table."""
        for peer_id in list(node.swarm.linked):
            node.swarm.unlink(peer_id)
            node.kad.remove_peer(peer_id)


@asynccontextmanager
async def name_room(folder: Path) -> AsyncIterator[NameRoom]:
    """Open an empty room."""
    with ExitStack() as stack:
        async with open_room() as dht:
            yield NameRoom(folder, dht, stack)

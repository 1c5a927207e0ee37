"""Nodes of one process for `get`: real catalogs, planes and tickets over a virtual swarm."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from mirrornode.content.recipe import Recipe
from mirrornode.mirror.active import ActiveTransfers
from mirrornode.mirror.add import AddRequest, add_paths
from mirrornode.mirror.get_request import GetPorts
from mirrornode.mirror.recording import Recorder
from mirrornode.mirror.shelf import Shelf
from mirrornode.routing.find import Finder, SwarmPort
from mirrornode.routing.kad.node import ProviderRecord
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.wire.ticket import PROTOCOL
from support.planes import Plane, open_plane
from support.shared_files import SMALL_CHUNKS
from support.virtual_swarm import VirtualNet, VirtualSwarm


@dataclass
class FakeDht:
    """Provider records by multihash, as a test wants them."""

    providers: dict[bytes, list[ProviderRecord]] = field(default_factory=dict)
    asked: int = 0

    async def wait_for_peers(self) -> None:
        """There is always somebody to ask."""

    async def find_providers(
        self, multihash: bytes, *, count: int = 20, timeout_s: float = 30.0
    ) -> AsyncIterator[ProviderRecord]:
        self.asked += 1
        for record in self.providers.get(multihash, ()):
            yield record


@dataclass
class Peer:
    """One node: what it shares, and what a `get` in it works with."""

    swarm: VirtualSwarm
    catalog: Catalog
    shelf: Shelf
    dht: FakeDht
    ports: GetPorts
    plane: Plane
    announced: list[int]

    @property
    def address(self) -> str:
        return self.swarm.addresses()[0]

    @property
    def source_id(self) -> str:
        return f"peer:{self.swarm.peer_id}"

    def share(self, path: Path, recipe: Recipe = SMALL_CHUNKS) -> str:
        """Share a file or folder in place and return its CID."""
        (added,) = add_paths(self.catalog, AddRequest([path], recipe=recipe))
        return added.cid


class Room:
    """Starts nodes that can reach each other."""

    def __init__(self, folder: Path) -> None:
        self.net = VirtualNet()
        self.folder = folder

    @asynccontextmanager
    async def node(self, name: str) -> AsyncIterator[Peer]:
        """Run one node for the length of the block."""
        home = self.folder / name
        number = len(self.net.nodes)
        swarm = self.net.join(name, addresses=[f"/ip4/127.0.0.1/tcp/{4101 + number}"])
        with ExitStack() as stack:
            catalog = stack.enter_context(open_catalog(home))
            active = ActiveTransfers()
            shelf = Shelf(catalog, active)
            announced: list[int] = []
            dht = FakeDht()
            async with open_plane(shelf, home, hosts=swarm.addresses) as plane:
                swarm.serve(PROTOCOL, plane.office.answer)
                # The virtual swarm's links lack an agent, which finding does not look at.
                finder = Finder(cast("SwarmPort", swarm), dht)
                ports = GetPorts(
                    catalog,
                    shelf,
                    active,
                    finder,
                    lambda: announced.append(1),
                    recorder=Recorder(catalog),
                )
                yield Peer(swarm, catalog, shelf, dht, ports, plane, announced)

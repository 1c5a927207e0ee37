"""Two nodes of ours on loopback that have nothing but bitswap between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from mirrornode.config import SwarmConfig
from mirrornode.content.recipe import UNIXFS_V1_2025, Recipe, recipe_from
from mirrornode.mirror.active import ActiveTransfers
from mirrornode.mirror.add import AddRequest, add_paths
from mirrornode.mirror.bitswap import open_bitswap
from mirrornode.mirror.get import get
from mirrornode.mirror.get_request import GetPorts, GetRequest
from mirrornode.routing.find import Finder, SwarmPort
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.swarm.identity import Identity
from mirrornode.swarm.node import Swarm, open_swarm
from mirrornode.transfer.pacing import Uploads
from support.planes import shelf_of
from support.room import FakeDht
from support.shared_files import content, write

LOOPBACK = "/ip4/127.0.0.1/tcp/0"
MIB = 1 << 20


@dataclass(frozen=True)
class Node:
    swarm: Swarm
    catalog: Catalog
    ports: GetPorts
    uploads: Uploads


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[Node]:
    """Run a node without tickets, peer plane and DHT."""
    with open_catalog(home) as catalog:
        active, uploads = ActiveTransfers(), Uploads()
        shelf = shelf_of(catalog, active)
        async with (
            open_swarm(SwarmConfig(), Identity.generate(), listen=[LOOPBACK]) as swarm,
            open_bitswap(swarm, shelf, uploads) as bitswap,
        ):
            finder = Finder(cast("SwarmPort", swarm), FakeDht(), blocks=bitswap)
            ports = GetPorts(catalog, shelf, active, finder, lambda: None, blocks_of=bitswap.source)
            yield Node(swarm, catalog, ports, uploads)


@pytest.mark.parametrize(
    "recipe", [UNIXFS_V1_2025, recipe_from("unixfs-v0-2015")], ids=["v1", "v0"]
)
async def test_folder_is_fetched_by_bitswap_alone(tmp_path: Path, recipe: Recipe) -> None:
    files = {"a.bin": content(5 * MIB + 3), "b/c.txt": content(1000), "b/empty": b""}
    for name, data in files.items():
        write(tmp_path / "model" / name, data)
    async with running(tmp_path / "seed") as seed, running(tmp_path / "taker") as taker:
        (added,) = add_paths(seed.catalog, AddRequest([tmp_path / "model"], recipe=recipe))
        request = GetRequest(
            added.cid, tmp_path, tmp_path / "out", peers=tuple(seed.swarm.addresses())
        )
        got = await get(taker.ports, request, lambda event: None)
        for name, data in files.items():
            assert (tmp_path / "out" / name).read_bytes() == data
        assert list(got.bytes_by_source) == [f"bitswap:{seed.swarm.peer_id}"]
        assert got.bytes_by_source[f"bitswap:{seed.swarm.peer_id}"] >= 5 * MIB + 1003
        assert seed.uploads.sent_bytes >= 5 * MIB + 1003
        assert not seed.swarm.refusals()
        assert not taker.swarm.refusals()

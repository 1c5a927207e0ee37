"""The DHT over real libp2p swarms on loopback, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from mirrornode.config import SwarmConfig
from mirrornode.routing.kad.node import Kad
from mirrornode.routing.kad.settings import KadSettings
from mirrornode.swarm.identity import load_or_create_identity
from mirrornode.swarm.node import Swarm, open_swarm
from support.dht_room import multihash_of
from support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from mirrornode.routing.kad.ports import SwarmPort

NODES = 4
LISTEN = ("/ip4/127.0.0.1/tcp/0",)


@asynccontextmanager
async def _room(folder: Path) -> AsyncIterator[list[tuple[Swarm, Kad]]]:
    """Open `NODES` nodes, each connected to the first only."""
    async with AsyncExitStack() as stack:
        nodes: list[tuple[Swarm, Kad]] = []
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for number in range(NODES):
            identity = load_or_create_identity(folder / f"{number}.key")
            swarm = await stack.enter_async_context(
                open_swarm(SwarmConfig(), identity, listen=LISTEN)
            )
            port: SwarmPort = swarm
            kad = Kad(port, settings=KadSettings(first_refresh_s=0.2))
            task = group.create_task(kad.run())
            stack.callback(task.cancel)
            nodes.append((swarm, kad))
        first, _ = nodes[0]
        for swarm, _ in nodes[1:]:
            await swarm.dial(first.peer_id, first.addresses())
        yield nodes


async def test_kad_on_real_swarms_joins_provides_and_finds(tmp_path: Path) -> None:
    key = multihash_of("model")
    async with asyncio.timeout(60), _room(tmp_path) as nodes:
        await until(lambda: all(kad.table_size == NODES - 1 for _, kad in nodes))
        provider, provider_kad = nodes[1]
        assert await provider_kad.provide(key) == NODES - 1
        for swarm, kad in nodes:
            found = [record async for record in kad.find_providers(key, timeout_s=10)]
            if swarm is provider:
                assert found == []
                continue
            assert [record.peer_id for record in found] == [provider.peer_id]
            assert f"{found[0].addresses[0]}/p2p/{provider.peer_id}" in provider.addresses()
        _, last_kad = nodes[-1]
        assert await last_kad.find_peer(provider.peer_id)
        assert [r async for r in last_kad.find_providers(multihash_of("none"), timeout_s=10)] == []

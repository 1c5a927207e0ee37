"""Builds rooms of DHT nodes on the virtual network."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from mirrornode.routing.kad.node import Kad
from mirrornode.routing.kad.rules import DhtRules
from mirrornode.routing.kad.settings import KadSettings
from support.virtual_swarm import VirtualNet, VirtualSwarm


def multihash_of(name: str) -> bytes:
    """Return the sha2-256 multihash of a made-up content."""
    return b"\x12\x20" + hashlib.sha256(name.encode()).digest()


class Room:
    """Nodes of one DHT; `await start(…)` adds them one by one, each dialling the first."""

    def __init__(self, group: asyncio.TaskGroup, net: VirtualNet) -> None:
        self.net = net
        self.kads: list[Kad] = []
        self.swarms: list[VirtualSwarm] = []
        self._group = group
        self._runs: list[asyncio.Task[None]] = []

    async def start(
        self,
        name: str,
        *,
        dial: VirtualSwarm | None = None,
        settings: KadSettings | None = None,
        rules: DhtRules | None = None,
        serve: bool = True,
        addresses: list[str] | None = None,
        unix_clock: Callable[[], float] = time.time,
    ) -> Kad:
        """Start one node, linked to `dial` or to the first node."""
        swarm = self.net.join(name, addresses=addresses)
        loop = asyncio.get_running_loop()
        kad = Kad(
            swarm,
            rules=rules,
            clock=loop.time,
            unix_clock=unix_clock,
            rng=random.Random(name),
            settings=settings,
            serve=serve,
        )
        self._runs.append(self._group.create_task(kad.run()))
        first = dial or (self.swarms[0] if self.swarms else None)
        self.swarms.append(swarm)
        self.kads.append(kad)
        await asyncio.sleep(0)
        if first is not None:
            await swarm.dial(first.peer_id, first.listen)
        return kad

    def stop(self) -> None:
        """End all nodes."""
        for run in self._runs:
            run.cancel()


@asynccontextmanager
async def open_room(count: int = 0, *, settle_s: float = 60.0) -> AsyncIterator[Room]:
    """Open a room of `count` joined nodes."""
    async with asyncio.TaskGroup() as group:
        room = Room(group, VirtualNet())
        for number in range(count):
            await room.start(f"node {number}")
        await asyncio.sleep(settle_s if count else 0)
        try:
            yield room
        finally:
            room.stop()

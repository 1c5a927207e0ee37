"""What the tests of whole swarms on loopback share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import psutil

from mirrornode.config import SwarmConfig
from mirrornode.swarm.identity import Identity
from mirrornode.swarm.node import PeerLink, Swarm

LOOPBACK = "/ip4/127.0.0.1/tcp/0"
DEAD = "/ip4/127.0.0.1/tcp/9"  # discard: nothing listens there
STRANGER = Identity.from_seed(bytes(32)).peer_id


class Opener(Protocol):
    async def __call__(self, config: SwarmConfig | None = None) -> Swarm: ...


async def echo(peer_id: str, request: bytes) -> bytes:
    return request[::-1]


async def linked(opened: Opener, protocol: str = "/echo") -> tuple[Swarm, Swarm]:
    """Return a client and a server that answers `protocol`; both know of their connection."""
    client, server = await opened(), await opened()
    server.serve(protocol, echo)
    known = next_peer(server, lambda link: link.peer_id == client.peer_id)
    await client.dial(server.peer_id, server.addresses())
    await known
    return client, server


def next_peer(swarm: Swarm, wanted: Callable[[PeerLink], bool]) -> asyncio.Future[PeerLink]:
    """Return a future of the next `on_peer` call that is `wanted`."""
    future: asyncio.Future[PeerLink] = asyncio.get_running_loop().create_future()

    def on_peer(link: PeerLink) -> None:
        if wanted(link) and not future.done():
            future.set_result(link)

    swarm.on_peer(on_peer)
    return future


def gone(swarm: Swarm) -> asyncio.Future[str]:
    """Return a future of the next `on_peer_gone` call."""
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_peer_gone(peer_id: str) -> None:
        if not future.done():
            future.set_result(peer_id)

    swarm.on_peer_gone(on_peer_gone)
    return future


def connections_to(*swarms: Swarm) -> int:
    """Return how many TCP connections to the listeners of `swarms` are established."""
    ports = {int(each.addresses()[0].split("/")[4]) for each in swarms}
    return sum(
        1
        for each in psutil.Process().net_connections("tcp")
        if each.laddr and each.laddr.port in ports and each.status == psutil.CONN_ESTABLISHED
    )

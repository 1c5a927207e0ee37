"""Whole nodes of this project in one process that does what it is asked; see kubo_driver.py.

A node is what `mirrornode serve` runs, put together by the same function, and its control socket
is open: commands of the command line work on its home. What they cannot say is asked here.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from mirrornode.config import GatewayConfig, PeerPlaneConfig, SwarmConfig, load_config
from mirrornode.content.cid import Cid
from mirrornode.daemon import Node, open_node
from mirrornode.swarm.mdns import open_mdns

PING = "/ipfs/ping/1.0.0"
PING_BYTES = 32


class Driver:
    """The open nodes, by their homes."""

    def __init__(self) -> None:
        self._nodes: dict[str, tuple[Node, AsyncExitStack]] = {}
        self._found: dict[str, dict[str, list[str]]] = {}

    def verbs(self) -> Mapping[str, Callable[..., Awaitable[object]]]:
        """Return what can be asked."""
        return {
            "open": self.open,
            "close": self.close,
            "connect": self.connect,
            "peers": self.peers,
            "known": self.known,
            "ping": self.ping,
            "find_providers": self.find_providers,
            "table_size": self.table_size,
            "start_mdns": self.start_mdns,
            "found_by_mdns": self.found_by_mdns,
        }

    async def open(self, node: str, listen: str, host: str) -> object:
        config = replace(
            load_config(Path(node), {}),
            origin=(),
            swarm=SwarmConfig(listen=(listen,), mdns=False),
            peer_plane=PeerPlaneConfig(f"{host}:0"),
            gateway=GatewayConfig(f"{host}:0"),
        )
        stack = AsyncExitStack()
        opened = await stack.enter_async_context(open_node(config))
        self._nodes[node] = opened, stack
        return {
            "peer_id": opened.swarm.peer_id,
            "addresses": opened.swarm.addresses(),
            "gateway": opened.gateway,
        }

    async def close(self, node: str) -> None:
        _, stack = self._nodes.pop(node)
        await stack.aclose()

    async def connect(self, node: str, address: str) -> None:
        peer_id = address.rpartition("/p2p/")[2]
        await self._node(node).swarm.dial(peer_id, [address])

    async def peers(self, node: str) -> list[str]:
        return [link.peer_id for link in self._node(node).swarm.links()]

    async def known(self, node: str, peer_id: str) -> object:
        link = self._node(node).swarm.link(peer_id)
        if link is None:
            return {"agent": "", "protocols": [], "addresses": []}
        return {
            "agent": link.agent,
            "protocols": sorted(link.protocols),
            "addresses": list(link.listen_addresses),
        }

    async def ping(self, node: str, peer_id: str) -> None:
        """Send 32 bytes that are one frame as well: the echo comes back as one."""
        sent = bytes(range(PING_BYTES - 1))
        answer = await self._node(node).swarm.request(peer_id, PING, sent)
        if answer != sent:
            raise ValueError("the echo is not what was sent")

    async def find_providers(self, node: str, cid: str) -> object:
        dht = self._node(node).dht
        return [
            {"peer_id": record.peer_id, "addresses": list(record.addresses)}
            async for record in dht.find_providers(Cid.parse(cid).multihash, timeout_s=10)
        ]

    async def table_size(self, node: str) -> int:
        return self._node(node).dht.table_size

    async def start_mdns(self, node: str) -> None:
        """Announce the node and note whom it finds; nobody is dialled."""
        opened, stack = self._nodes[node]
        found = self._found.setdefault(node, {})
        await stack.enter_async_context(open_mdns(opened.swarm, found.__setitem__))

    async def found_by_mdns(self, node: str) -> Mapping[str, list[str]]:
        return self._found[node]

    def _node(self, node: str) -> Node:
        return self._nodes[node][0]

    async def run(self) -> None:
        """Answer until stdin ends, then close all nodes."""
        loop = asyncio.get_running_loop()
        verbs = self.verbs()

        async def do(request: dict[str, Any]) -> None:
            number, verb = request.pop("id"), request.pop("verb")
            try:
                answer = {"id": number, "result": await verbs[verb](**request)}
            except Exception as exc:  # the boundary of one request: the asker is told
                answer = {"id": number, "error": f"{type(exc).__name__}: {exc}"}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()

        async with asyncio.TaskGroup() as group:
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                group.create_task(do(json.loads(line)))
        for node in list(self._nodes):
            await self.close(node)


if __name__ == "__main__":
    asyncio.run(Driver().run())

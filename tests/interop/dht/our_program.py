"""The DHTs of one node of ours, told what to do by lines of JSON on stdin; needs no home.

Answers each line `{"dial": ADDRESS}`, `{"provide": NETWORK, "key": HEX}`, `{"find": HEX}` or
`{"status": true}` by one.

    our_program HOST PORT lan|public server|client
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from mirrornode.config import SwarmConfig
from mirrornode.errors import MirrorError
from mirrornode.routing.find import split_peer
from mirrornode.routing.networks import Networks, make_networks
from mirrornode.swarm.identity import load_or_create_identity
from mirrornode.swarm.node import Swarm, open_swarm


async def obey(swarm: Swarm, networks: Networks, order: dict[str, Any]) -> dict[str, Any]:
    """Do what one line says."""
    if "dial" in order:
        peer_id, address = split_peer(order["dial"])
        await swarm.dial(peer_id, [address])
        return {}
    if "provide" in order:
        kad = {kad.network: kad for kad in networks.all}[order["provide"]]
        return {"kept_by": await kad.provide(bytes.fromhex(order["key"]))}
    if "find" in order:
        records = networks.find_providers(bytes.fromhex(order["find"]), timeout_s=10)
        return {"providers": {r.peer_id: r.addresses async for r in records}}
    return {"status": networks.status(), "peers": [link.address for link in swarm.links()]}


async def run(host: str, port: str, mode: str, role: str) -> None:
    """Say who this is, then obey until stdin ends."""
    config = SwarmConfig(
        mode=mode,
        listen=(f"/ip4/{host}/tcp/{port}",),
        public_server=role == "server",
        public_bootstrap=(),
    )
    with tempfile.TemporaryDirectory() as home:
        identity = load_or_create_identity(Path(home) / "identity.key")
        async with open_swarm(config, identity) as swarm, asyncio.TaskGroup() as group:
            networks = make_networks(swarm, config, serve=True)
            running = group.create_task(networks.run(becomes_server=False))
            _say({"address": swarm.addresses()[0]})
            while line := await asyncio.to_thread(sys.stdin.readline):
                try:
                    _say(await obey(swarm, networks, json.loads(line)))
                except MirrorError as exc:
                    _say({"error": str(exc)})
            running.cancel()


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))

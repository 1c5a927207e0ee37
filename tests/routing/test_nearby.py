"""Dialling what discovery sees: once at a time, bounded, never ourselves."""

from __future__ import annotations

import asyncio

from mirrornode.routing.nearby import MAX_WAITING, NearbyPeers
from support.virtual_swarm import VirtualNet, make_peer_id
from support.virtual_time import run_virtual


def test_found_peers_are_dialled_once() -> None:
    async def scenario() -> None:
        net = VirtualNet()
        near, far = net.join("near"), net.join("far")
        nearby = NearbyPeers(near)
        task = asyncio.create_task(nearby.run())
        for _ in range(5):
            nearby.found(far.peer_id, far.addresses())
            nearby.found(near.peer_id, near.addresses())
            await asyncio.sleep(0)
        await asyncio.sleep(1)
        assert near.link(far.peer_id) is not None
        nearby.found(far.peer_id, far.addresses())
        await asyncio.sleep(1)
        assert net.dials == 1
        task.cancel()

    run_virtual(scenario())


def test_found_when_a_flood_comes_dials_a_bounded_number() -> None:
    async def scenario() -> None:
        net = VirtualNet()
        nearby = NearbyPeers(net.join("near"))
        for number in range(5000):
            nearby.found(make_peer_id(str(number)), [f"/ip4/10.0.0.1/tcp/{number}"])
        task = asyncio.create_task(nearby.run())
        await asyncio.sleep(60)
        assert net.dials == MAX_WAITING
        task.cancel()

    run_virtual(scenario())

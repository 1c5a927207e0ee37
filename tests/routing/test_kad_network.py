"""Whole DHTs on the virtual network: what is provided is found, also with a third of them dead."""

from __future__ import annotations

import random

from mirrornode.routing.kad.keys import kad_id, peer_kad_id
from mirrornode.routing.kad.node import Kad
from support.dht_room import multihash_of, open_room
from support.virtual_time import run_virtual

NODES = 100


async def _providers(kad: Kad, key: bytes, *, count: int = 20) -> list[str]:
    return [r.peer_id async for r in kad.find_providers(key, count=count, timeout_s=30)]


def test_find_providers_in_100_nodes_finds_every_key_from_every_node() -> None:
    async def scenario() -> None:
        async with open_room(NODES) as room:
            keys = {}
            costs = []
            for number in range(0, NODES, 25):
                before = room.net.requests + room.net.notices
                kept = await room.kads[number].provide(multihash_of(f"file {number}"))
                costs.append(room.net.requests + room.net.notices - before)
                assert kept >= 18
                keys[multihash_of(f"file {number}")] = room.swarms[number].peer_id
            assert max(costs) <= 128
            worst = 0
            for kad, swarm in zip(room.kads, room.swarms, strict=True):
                for key, owner in keys.items():
                    before = room.net.requests
                    found = await _providers(kad, key)
                    worst = max(worst, room.net.requests - before)
                    assert found == ([] if swarm.peer_id == owner else [owner])
            assert worst <= 64

    run_virtual(scenario())


def test_closest_peers_in_30_nodes_then_nearly_the_20_nearest_in_order() -> None:
    async def scenario() -> None:
        async with open_room(30) as room:
            key, asker = multihash_of("file"), room.swarms[7].peer_id
            found = await room.kads[7].closest_peers(key)
            names = [record.peer_id for record in found]
            distances = [peer_kad_id(name) ^ kad_id(key) for name in names]
            assert distances == sorted(distances)
            assert asker not in names
            others = (swarm.peer_id for swarm in room.swarms if swarm.peer_id != asker)
            nearest = sorted(others, key=lambda name: peer_kad_id(name) ^ kad_id(key))[:20]
            assert names[:3] == nearest[:3]
            assert len(set(names) & set(nearest)) >= 18
            assert all(record.addresses for record in found)

    run_virtual(scenario())


def test_provide_many_in_100_nodes_walks_a_few_times_and_every_key_is_found() -> None:
    async def scenario() -> None:
        async with open_room(NODES) as room:
            keys = [multihash_of(f"file {number}") for number in range(100)]
            requests = room.net.requests
            kept_by = await room.kads[5].provide_many(keys)
            assert min(kept_by) == 20
            assert room.net.requests - requests <= 400  # 100 walks and 2000 records were 6000
            room.net.kill(room.swarms[5].peer_id)
            for number, key in enumerate(keys):
                kad = room.kads[10 + number % 80]
                assert await _providers(kad, key) == [room.swarms[5].peer_id]

    run_virtual(scenario())


def test_find_providers_when_a_third_is_dead_still_finds_every_key() -> None:
    async def scenario() -> None:
        async with open_room(NODES) as room:
            rng = random.Random(7)
            keys = {multihash_of(f"file {n}"): room.swarms[n].peer_id for n in range(0, 20, 5)}
            for number, key in zip(range(0, 20, 5), keys, strict=True):
                assert await room.kads[number].provide(key)
            dead = rng.sample(range(20, NODES), NODES // 3)
            for number in dead:
                room.net.kill(room.swarms[number].peer_id, blackhole=number % 2 == 0)
            late = multihash_of("provided when they were dead")
            assert await room.kads[1].provide(late) >= 18
            keys[late] = room.swarms[1].peer_id
            worst = 0
            for number in sorted(set(range(NODES)) - set(dead)):
                for key, owner in keys.items():
                    if owner == room.swarms[number].peer_id:
                        continue
                    before = room.net.requests
                    assert owner in await _providers(room.kads[number], key)
                    worst = max(worst, room.net.requests - before)
            assert worst <= 64

    run_virtual(scenario())

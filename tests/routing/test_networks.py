"""A node in public mode: two DHTs beside each other, and nothing private in the public one."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mirrornode.config import SwarmConfig
from mirrornode.errors import ConfigError
from mirrornode.routing.kad.addresses import Reach, reach_of
from mirrornode.routing.kad.rules import LAN_KAD_PROTOCOL, PUBLIC_KAD_PROTOCOL, public_rules
from mirrornode.routing.networks import Networks, make_networks
from mirrornode.wire.kad import decode_message
from support.dht_room import multihash_of, open_room
from support.names import key_of, record_of
from support.virtual_swarm import VirtualNet, VirtualSwarm
from support.virtual_time import run_virtual

KEY = multihash_of("content")


class World:
    """Nodes of two LANs and of the internet between them."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.net = VirtualNet()
        self.tasks: list[asyncio.Task[None]] = []
        self._group = group
        self._address = ""

    async def start(
        self,
        name: str,
        *addresses: str,
        mode: str = "public",
        is_server: bool = False,
        bootstrap: VirtualSwarm | None = None,
    ) -> tuple[VirtualSwarm, Networks]:
        swarm = self.net.join(name, addresses=addresses)
        known = () if bootstrap is None else (f"{bootstrap.listen[-1]}/p2p/{bootstrap.peer_id}",)
        config = SwarmConfig(mode=mode, public_server=is_server, public_bootstrap=known)
        networks = make_networks(swarm, config, serve=True)
        self.tasks.append(self._group.create_task(networks.run()))
        await asyncio.sleep(5)
        return swarm, networks


@asynccontextmanager
async def _world() -> AsyncIterator[World]:
    async with asyncio.TaskGroup() as group:
        world = World(group)
        try:
            yield world
        finally:
            for task in world.tasks:
                task.cancel()


async def _found(networks: Networks, key: bytes = KEY) -> dict[str, tuple[str, ...]]:
    records = networks.find_providers(key, timeout_s=10)
    return {record.peer_id: record.addresses async for record in records}


def _lan(number: int) -> str:
    return f"/ip4/10.0.0.{number}/tcp/4101"


def _wan(number: int) -> str:
    return f"/ip4/11.{number}.0.1/tcp/4101"


def test_lan_mode_has_no_public_dht() -> None:
    async def scenario() -> None:
        async with _world() as world:
            swarm, networks = await world.start("a", _lan(1), _wan(1), mode="lan")
            assert networks.public is None
            assert set(networks.status()) == {"lan"}
            assert PUBLIC_KAD_PROTOCOL not in swarm.spoken

    run_virtual(scenario())


def test_record_of_the_public_dht_names_public_addresses_only() -> None:
    async def scenario() -> None:
        async with _world() as world:
            hub, _ = await world.start("hub", _wan(1), is_server=True)
            owner, owner_dht = await world.start("owner", _lan(2), _wan(2), bootstrap=hub)
            _, asker_dht = await world.start("asker", _lan(3), _wan(3), bootstrap=hub)
            assert owner_dht.public is not None
            assert await owner_dht.public.provide(KEY) >= 1
            assert await _found(asker_dht) == {owner.peer_id: (_wan(2),)}
            told = [
                address
                for swarm in world.net.nodes.values()
                for protocol, message in swarm.seen
                if protocol == PUBLIC_KAD_PROTOCOL
                for peer in (
                    *decode_message(message).provider_peers,
                    *decode_message(message).closer_peers,
                )
                for address in peer.addresses
            ]
            assert told
            assert {reach_of(address) for address in told} == {Reach.WORLD}

    run_virtual(scenario())


def test_node_without_a_public_address_announces_nothing_there() -> None:
    async def scenario() -> None:
        async with _world() as world:
            hub, hub_dht = await world.start("hub", _wan(1), is_server=True)
            _, hidden_dht = await world.start("hidden", _lan(2), bootstrap=hub)
            assert hidden_dht.public is not None
            assert await hidden_dht.public.provide(KEY) == 0
            assert hub_dht.public is not None
            assert hub_dht.public.record_count == 0

    run_virtual(scenario())


def test_lan_and_public_are_asked_together() -> None:
    async def scenario() -> None:
        async with _world() as world:
            hub, _ = await world.start("hub", _wan(1), is_server=True)
            far, far_dht = await world.start("far", _wan(2), bootstrap=hub)
            near, near_dht = await world.start("near", _lan(1), mode="lan")
            asker, asker_dht = await world.start("asker", _lan(3), bootstrap=hub)
            await asker.dial(near.peer_id, near.listen)
            await asyncio.sleep(5)
            assert far_dht.public is not None
            assert await far_dht.public.provide(KEY) >= 1
            assert await near_dht.lan.provide(KEY) >= 1
            assert await _found(asker_dht) == {far.peer_id: (_wan(2),), near.peer_id: (_lan(1),)}

    run_virtual(scenario())


def test_peers_and_nearest_servers_are_those_of_both() -> None:
    async def scenario() -> None:
        async with _world() as world:
            hub, _ = await world.start("hub", _wan(1), is_server=True)
            near, _ = await world.start("near", _lan(1), mode="lan")
            asker, networks = await world.start("asker", _lan(3), _wan(3), bootstrap=hub)
            await asker.dial(near.peer_id, near.listen)
            await asyncio.sleep(5)
            assert networks.table_size == 2
            assert await networks.find_peer(hub.peer_id) == [_wan(1)]
            assert await networks.find_peer(near.peer_id) == [_lan(1)]
            nearest = {record.peer_id for record in await networks.closest_peers(KEY)}
            assert nearest == {hub.peer_id, near.peer_id}

    run_virtual(scenario())


def test_newest_record_of_a_name_wins_whichever_dht_has_it() -> None:
    async def scenario() -> None:
        async with _world() as world:
            hub, hub_dht = await world.start("hub", _wan(1), is_server=True)
            near, near_dht = await world.start("near", _lan(1), mode="lan")
            asker, networks = await world.start("asker", _lan(3), _wan(3), bootstrap=hub)
            await asker.dial(near.peer_id, near.listen)
            await asyncio.sleep(5)
            name = key_of("ann")
            older, newer = (record_of("ann", sequence=n).binary for n in (1, 2))
            assert hub_dht.public is not None
            await near_dht.lan.put_value(name, newer)
            await hub_dht.public.put_value(name, older)
            found = await networks.get_value(name)
            assert found is not None
            assert found.binary == newer
            assert await networks.put_value(name, newer) == 2

    run_virtual(scenario())


def test_client_becomes_a_server_when_somebody_far_has_reached_it() -> None:
    async def scenario() -> None:
        async with _world() as world:
            hub, _ = await world.start("hub", _wan(1), is_server=True)
            node, networks = await world.start("node", _lan(2), _wan(2), bootstrap=hub)
            near, _ = await world.start("near", _lan(3), mode="lan")
            await near.dial(node.peer_id, [_lan(2)])
            await asyncio.sleep(5)
            assert networks.status()["public"]["mode"] == "client"
            stranger, _ = await world.start("stranger", _wan(4), mode="lan")
            await stranger.dial(node.peer_id, [_wan(2)])
            await asyncio.sleep(5)
            assert networks.status()["public"]["mode"] == "server"
            assert PUBLIC_KAD_PROTOCOL in node.spoken

    run_virtual(scenario())


def test_stranger_from_the_internet_gets_no_answer_of_the_lan() -> None:
    async def scenario() -> None:
        async with _world() as world:
            node, networks = await world.start("node", _lan(1), _wan(1), is_server=True)
            near, _ = await world.start("near", _lan(2), mode="lan")
            await near.dial(node.peer_id, [_lan(1)])
            stranger, strangers = await world.start("stranger", _wan(3))
            await stranger.dial(node.peer_id, [_wan(1)])
            await asyncio.sleep(5)
            assert LAN_KAD_PROTOCOL in stranger.spoken
            assert networks.lan.table_size == 1  # near
            networks.lan.hold([KEY])
            assert await _found(strangers) == {}

    run_virtual(scenario())


def test_node_joins_again_when_the_bootstrap_peer_comes_late() -> None:
    async def scenario() -> None:
        async with _world() as world:
            hub = world.net.join("hub", addresses=[_wan(1)])
            world.net.kill(hub.peer_id)
            _, networks = await world.start("node", _wan(2), bootstrap=hub)
            await asyncio.sleep(600)
            assert networks.status()["public"]["peers"] == 0
            hub.is_up = True
            make_networks(hub, SwarmConfig(mode="public", public_server=True), serve=True)
            await asyncio.sleep(400)
            assert networks.status()["public"]["peers"] == 1

    run_virtual(scenario())


def test_links_to_strangers_are_bounded_and_the_table_keeps_who_was_left() -> None:
    async def scenario() -> None:
        async with open_room() as room:
            rules = dataclasses.replace(public_rules(), max_dialled=8)
            for number in range(1, 41):
                await room.start(f"server {number}", addresses=[_wan(number)], rules=rules)
            await asyncio.sleep(60)
            kad = await room.start("node", addresses=[_wan(99)], rules=rules, serve=False)
            await asyncio.sleep(5)
            for number in range(10):
                assert await kad.provide(multihash_of(str(number))) >= 15
            node = room.swarms[-1]
            strangers = [link for link in node.links() if link.outbound]
            assert len(strangers) <= 8 + 20  # those of the last announcement were all in use
            assert kad.table_size > len(strangers)

    run_virtual(scenario())


def test_malformed_bootstrap_address_is_refused_by_its_key() -> None:
    async def scenario() -> None:
        config = SwarmConfig(mode="public", public_bootstrap=("/dnsaddr/example.com",))
        with pytest.raises(ConfigError, match=r"swarm\.public_bootstrap"):
            make_networks(VirtualNet().join("a"), config, serve=True)

    run_virtual(scenario())

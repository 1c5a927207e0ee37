"""One DHT node among a few, on the virtual network: joining, failing, lying, and coming back."""

from __future__ import annotations

import asyncio

import pytest

from mirrornode.errors import LocalProtocolError, SourceGone
from mirrornode.routing.kad.node import Kad, ProviderRecord
from mirrornode.routing.kad.rules import LAN_KAD_PROTOCOL
from mirrornode.wire.kad import KadMessage, KadPeer, MessageType, decode_message, encode_message
from support.dht_room import Room, multihash_of, open_room
from support.virtual_swarm import VirtualSwarm, make_peer_id
from support.virtual_time import run_virtual

KEY = multihash_of("content")


async def _found(kad: Kad, *, count: int = 20, timeout_s: float = 30) -> list[ProviderRecord]:
    return [r async for r in kad.find_providers(KEY, count=count, timeout_s=timeout_s)]


def _answer_with(swarm: VirtualSwarm, message: KadMessage) -> None:
    """Make a node answer every query with the same peers, as a liar does."""

    async def lie(_: str, request: bytes) -> bytes:
        kind = decode_message(request).type
        return encode_message(KadMessage(kind, b"", message.closer_peers, message.provider_peers))

    swarm.serve(LAN_KAD_PROTOCOL, lie)


async def _liar(room: Room, message: KadMessage) -> VirtualSwarm:
    swarm = room.net.join("liar")
    _answer_with(swarm, message)
    await swarm.dial(room.swarms[0].peer_id, room.swarms[0].listen)
    return swarm


def test_nodes_that_know_only_the_first_learn_of_each_other() -> None:
    async def scenario() -> None:
        async with open_room(6, settle_s=5) as room:
            assert [kad.table_size for kad in room.kads] == [5] * 6

    run_virtual(scenario())


def test_provide_without_peers_is_0_and_answered_later() -> None:
    async def scenario() -> None:
        async with open_room(1) as room:
            assert await room.kads[0].provide(KEY) == 0
            other = await room.start("late")
            await asyncio.sleep(1)
            (record,) = await _found(other)
            assert record == ProviderRecord(room.swarms[0].peer_id, ("/ip4/10.0.0.2/tcp/4101",))

    run_virtual(scenario())


def test_provide_counts_peers_and_is_found_with_the_provider_gone() -> None:
    async def scenario() -> None:
        async with open_room(5) as room:
            assert await room.kads[1].provide(KEY) == 4
            room.net.kill(room.swarms[1].peer_id)
            for number in (0, 2, 3, 4):
                found = [record.peer_id for record in await _found(room.kads[number])]
                assert found == [room.swarms[1].peer_id]

    run_virtual(scenario())


def test_provide_when_nobody_keeps_the_record_is_0() -> None:
    async def scenario() -> None:
        async with open_room(1) as room:
            await _liar(room, KadMessage(MessageType.FIND_NODE))
            await asyncio.sleep(1)
            assert room.kads[0].table_size == 1
            assert await room.kads[0].provide(KEY) == 0

    run_virtual(scenario())


def test_provide_many_in_a_small_network_is_one_stream_a_peer() -> None:
    async def scenario() -> None:
        async with open_room(5) as room:
            keys = [multihash_of(f"file {number}") for number in range(250)]
            requests, notices = room.net.requests, room.net.notices
            assert await room.kads[1].provide_many(keys) == [4] * 250
            assert room.net.requests - requests == 4 * 3  # at most 100 records on each
            assert room.net.notices - notices == 4 * 250
            assert [kad.record_count for kad in room.kads] == [250, 0, 250, 250, 250]

    run_virtual(scenario())


def test_provide_walks_until_the_table_has_been_refreshed() -> None:
    async def scenario() -> None:
        async with open_room(4) as room:
            hermit = room.net.join("hermit")
            kad = Kad(hermit, clock=asyncio.get_running_loop().time)  # does not run: no refresh
            await hermit.dial(room.swarms[0].peer_id, room.swarms[0].listen)
            kad.add_peer(room.swarms[0].peer_id)
            assert await kad.provide(KEY) == 4
            for swarm in room.swarms:
                kad.remove_peer(swarm.peer_id)
            kad.add_peer(room.swarms[0].peer_id)
            await kad.refresh()
            before = room.net.requests
            assert await kad.provide(KEY) == 4
            assert room.net.requests - before == 4

    run_virtual(scenario())


def test_provide_many_does_not_count_a_peer_that_denies_or_fails() -> None:
    async def scenario() -> None:
        async with open_room(4) as room:
            await _liar(room, KadMessage(MessageType.FIND_NODE))
            await asyncio.sleep(30)
            assert room.kads[0].table_size == 4
            room.swarms[2].faults = "E"
            assert await room.kads[0].provide_many([KEY, multihash_of("other")]) == [2, 2]
            assert room.kads[2].record_count == 0

    run_virtual(scenario())


def test_provide_needs_a_sensible_key() -> None:
    async def scenario() -> None:
        async with open_room(1) as room:
            with pytest.raises(LocalProtocolError):
                await room.kads[0].provide(b"")

    run_virtual(scenario())


def test_find_providers_skips_self_and_goes_on_after_own_store() -> None:
    async def scenario() -> None:
        async with open_room(5) as room:
            await room.kads[1].provide(KEY)
            room.kads[2].hold([KEY])  # provides, but has told nobody
            room.kads[0].hold([KEY])
            found = {record.peer_id for record in await _found(room.kads[0])}
            assert found == {room.swarms[1].peer_id, room.swarms[2].peer_id}
            assert len(await _found(room.kads[3], count=2)) == 2

    run_virtual(scenario())


def test_withdraw_ends_our_own_answer() -> None:
    async def scenario() -> None:
        async with open_room(2) as room:
            room.kads[0].hold([KEY])
            assert len(await _found(room.kads[1])) == 1
            room.kads[0].withdraw([KEY])
            assert await _found(room.kads[1]) == []

    run_virtual(scenario())


def test_find_providers_ends_at_its_timeout_when_peers_hang() -> None:
    async def scenario() -> None:
        async with open_room(4) as room:
            for swarm in room.swarms[1:]:
                swarm.faults = "T" * 50
            loop = asyncio.get_running_loop()
            began = loop.time()
            assert await _found(room.kads[0], timeout_s=3) == []
            assert loop.time() - began == pytest.approx(3)

    run_virtual(scenario())


@pytest.mark.parametrize("fault", ["E", "G", "T"])
def test_peer_that_fails_leaves_the_table_and_comes_back(fault: str) -> None:
    async def scenario() -> None:
        async with open_room(3) as room:
            room.swarms[1].faults = fault
            await _found(room.kads[0])
            assert room.kads[0].table_size == 1
            await asyncio.sleep(25)
            assert room.kads[0].table_size == 2

    run_virtual(scenario())


def test_dead_peer_is_not_dialled_by_every_lookup() -> None:
    async def scenario() -> None:
        async with open_room(6) as room:
            room.net.kill(room.swarms[5].peer_id, blackhole=True)
            await _found(room.kads[0])
            before = room.net.dials
            for _ in range(20):
                await _found(room.kads[0])
            assert room.net.dials == before

    run_virtual(scenario())


def test_node_cut_off_from_all_dials_known_peers_again() -> None:
    async def scenario() -> None:
        async with open_room(4) as room:
            for swarm in room.swarms[1:]:
                room.swarms[0].unlink(swarm.peer_id)
            assert room.kads[0].table_size == 0
            await asyncio.sleep(30)
            assert room.kads[0].table_size == 3

    run_virtual(scenario())


def test_liar_that_names_itself_forever_costs_one_query() -> None:
    async def scenario() -> None:
        async with open_room(1) as room:
            me = KadPeer(make_peer_id("liar"), ("/ip4/10.0.0.99/tcp/1",))
            await _liar(room, KadMessage(MessageType.FIND_NODE, b"", (me,) * 60))
            await asyncio.sleep(1)
            before = room.net.requests
            assert await _found(room.kads[0]) == []
            assert room.net.requests - before == 1

    run_virtual(scenario())


def test_liar_that_names_unreachable_peers_costs_few_dials() -> None:
    async def scenario() -> None:
        async with open_room(1) as room:
            fakes = tuple(
                KadPeer(make_peer_id(f"fake {n}"), (f"/ip4/10.9.9.{n}/tcp/1",)) for n in range(60)
            )
            await _liar(room, KadMessage(MessageType.FIND_NODE, b"", fakes))
            await asyncio.sleep(1)
            before = room.net.dials
            assert await _found(room.kads[0]) == []
            assert room.net.dials - before <= 20

    run_virtual(scenario())


def test_liar_with_many_false_providers_does_not_hide_the_true_one() -> None:
    async def scenario() -> None:
        async with open_room(4) as room:
            fakes = tuple(
                KadPeer(make_peer_id(f"fake {n}"), (f"/ip4/10.9.9.{n}/tcp/1",)) for n in range(60)
            )
            liar = await _liar(room, KadMessage(MessageType.GET_PROVIDERS, KEY, (), fakes))
            await room.kads[1].provide(KEY)
            assert room.swarms[3].link(liar.peer_id) is None
            found = [record.peer_id for record in await _found(room.kads[3], count=20)]
            assert room.swarms[1].peer_id in found
            assert len(found) == 20

    run_virtual(scenario())


def test_lan_node_does_not_dial_public_or_loopback_addresses_of_strangers() -> None:
    async def scenario() -> None:
        async with open_room(1) as room:
            strangers = tuple(
                KadPeer(make_peer_id(address), (address,))
                for address in (
                    "/ip4/8.8.8.8/tcp/1",
                    "/ip4/127.0.0.1/tcp/22",
                    "/dns4/x.example/tcp/1",
                )
            )
            await _liar(room, KadMessage(MessageType.FIND_NODE, b"", strangers, strangers))
            await asyncio.sleep(1)
            before = room.net.dials
            await room.kads[0].refresh()
            assert room.net.dials == before
            assert [record.addresses for record in await _found(room.kads[0])] == [()] * 3

    run_virtual(scenario())


def test_client_finds_but_is_in_no_table() -> None:
    async def scenario() -> None:
        async with open_room(3) as room:
            await room.kads[1].provide(KEY)
            client = await room.start("client", serve=False)
            await asyncio.sleep(20)
            assert client.table_size == 3
            assert [kad.table_size for kad in room.kads[:3]] == [2, 2, 2]
            assert [r.peer_id for r in await _found(client)] == [room.swarms[1].peer_id]

    run_virtual(scenario())


def test_find_peer_returns_addresses_or_nothing() -> None:
    async def scenario() -> None:
        async with open_room(5) as room:
            newcomer = await room.start("newcomer")
            await asyncio.sleep(0)
            wanted = room.swarms[3]
            assert await newcomer.find_peer(wanted.peer_id) == wanted.listen
            assert await newcomer.find_peer(make_peer_id("nobody")) == []

    run_virtual(scenario())


def test_records_of_others_run_out_after_48_hours() -> None:
    async def scenario() -> None:
        async with open_room(2) as room:
            await room.kads[1].provide(KEY)
            room.kads[1].withdraw([KEY])
            assert len(await _found(room.kads[0])) == 1
            await asyncio.sleep(48 * 3600 + 1200)
            assert await _found(room.kads[0]) == []
            assert room.kads[0].record_count == 0

    run_virtual(scenario())


def test_idle_network_sends_little() -> None:
    async def scenario() -> None:
        async with open_room(10) as room:
            await asyncio.sleep(3600)
            before = room.net.requests
            await asyncio.sleep(3600)
            per_node_and_refresh = (room.net.requests - before) / 10 / 6
            assert per_node_and_refresh <= 60

    run_virtual(scenario())


def test_on_newcomer_is_called_once_a_link() -> None:
    async def scenario() -> None:
        async with open_room(1) as room:
            seen: list[str] = []
            unsubscribe = room.kads[0].on_newcomer(seen.append)
            await room.start("second")
            room.swarms[0].link_to(room.swarms[1], room.swarms[1].listen[0])  # the link changed
            assert seen == [room.swarms[1].peer_id]
            room.swarms[0].unlink(room.swarms[1].peer_id)
            await room.swarms[1].dial(room.swarms[0].peer_id, room.swarms[0].listen)
            assert len(seen) == 2
            unsubscribe()
            await room.start("third")
            assert len(seen) == 2

    run_virtual(scenario())


def test_garbage_request_is_closed_without_an_answer() -> None:
    async def scenario() -> None:
        async with open_room(2) as room:
            for garbage in (b"", b"\xff" * 20, b"\x08\x04"):
                with pytest.raises(SourceGone):
                    await room.swarms[1].request(room.swarms[0].peer_id, LAN_KAD_PROTOCOL, garbage)

    run_virtual(scenario())

"""Values in a DHT of a few nodes on the virtual network: put, found, corrected, lied about."""

from __future__ import annotations

import asyncio

import pytest

from mirrornode.errors import LocalProtocolError
from mirrornode.routing.kad.node import Kad
from mirrornode.routing.kad.rules import LAN_KAD_PROTOCOL
from mirrornode.wire.kad import (
    KadMessage,
    KadRecord,
    MessageType,
    decode_message,
    encode_message,
)
from support.dht_room import Room, open_room
from support.names import TWO, key_of, record_of
from support.virtual_swarm import VirtualSwarm
from support.virtual_time import run_virtual

KEY = key_of("ann")
OLD = record_of("ann", sequence=1)
NEW = record_of("ann", TWO, sequence=2)


async def _found(kad: Kad) -> bytes | None:
    record = await kad.get_value(KEY)
    return record.binary if record is not None else None


async def _liar(room: Room, name: str, value: bytes) -> VirtualSwarm:
    """Let a node join that tells `value` to whoever asks, and keeps nothing."""
    swarm = room.net.join(name)

    async def lie(_: str, request: bytes) -> bytes | None:
        message = decode_message(request)
        if message.type is MessageType.PUT_VALUE:
            return None
        record = KadRecord(message.key, value) if message.type is MessageType.GET_VALUE else None
        return encode_message(KadMessage(message.type, message.key, record=record))

    swarm.serve(LAN_KAD_PROTOCOL, lie)
    for other in room.swarms:
        await swarm.dial(other.peer_id, other.listen)
    return swarm


def test_value_when_put_then_found_from_everywhere_even_with_the_giver_gone() -> None:
    async def scenario() -> None:
        async with open_room(6) as room:
            assert await room.kads[1].put_value(KEY, OLD.binary) == 5
            room.net.kill(room.swarms[1].peer_id)
            for number in (0, 2, 3, 4, 5):
                assert await _found(room.kads[number]) == OLD.binary
            client = await room.start("client", serve=False)
            await asyncio.sleep(1)
            assert await _found(client) == OLD.binary

    run_virtual(scenario())


def test_value_of_a_client_is_kept_by_the_others() -> None:
    async def scenario() -> None:
        async with open_room(3) as room:
            client = await room.start("client", serve=False)
            await asyncio.sleep(60)
            assert await client.put_value(KEY, OLD.binary) == 3

    run_virtual(scenario())


def test_value_when_put_again_then_the_newer_is_found() -> None:
    async def scenario() -> None:
        async with open_room(5) as room:
            await room.kads[1].put_value(KEY, OLD.binary)
            assert await _found(room.kads[2]) == OLD.binary
            assert await room.kads[1].put_value(KEY, NEW.binary) == 4
            assert await _found(room.kads[2]) == NEW.binary
            with pytest.raises(LocalProtocolError, match="older"):
                await room.kads[3].put_value(KEY, OLD.binary)

    run_virtual(scenario())


def test_put_of_something_else_is_refused_before_anybody_is_told() -> None:
    async def scenario() -> None:
        async with open_room(2) as room:
            before = room.net.requests
            with pytest.raises(LocalProtocolError):
                await room.kads[0].put_value(KEY, b"junk")
            with pytest.raises(LocalProtocolError):
                await room.kads[0].put_value(key_of("bob"), OLD.binary)
            assert room.net.requests == before

    run_virtual(scenario())


def test_get_when_nobody_has_it_then_none() -> None:
    async def scenario() -> None:
        async with open_room(3) as room:
            assert await _found(room.kads[0]) is None
        async with open_room(1) as room:
            assert await _found(room.kads[0]) is None

    run_virtual(scenario())


def test_get_when_some_hold_an_old_value_then_they_are_corrected() -> None:
    async def scenario() -> None:
        async with open_room(5) as room:
            await room.kads[1].put_value(KEY, OLD.binary)
            # The newer one reaches a single node, as when the others were away.
            message = KadMessage(MessageType.PUT_VALUE, KEY, record=KadRecord(KEY, NEW.binary))
            request = encode_message(message)
            lone = room.swarms[3].peer_id
            await room.swarms[4].request(lone, LAN_KAD_PROTOCOL, request)
            room.swarms[2].unlink(lone)
            assert await _found(room.kads[4]) == NEW.binary
            await asyncio.sleep(5)
            room.net.kill(lone)
            room.net.kill(room.swarms[4].peer_id)
            assert await _found(room.kads[2]) == NEW.binary

    run_virtual(scenario())


@pytest.mark.parametrize(
    "lie",
    [OLD.binary, b"junk", record_of("eve", sequence=99).binary,
     NEW.binary[:-1], record_of("ann", sequence=99, expires_at=1.0).binary, b""],
    ids=["old", "junk", "of another", "cut off", "run out", "empty"],
)  # fmt: skip
def test_get_when_most_lie_then_the_newest_true_value_wins(lie: bytes) -> None:
    async def scenario() -> None:
        async with open_room(3) as room:
            await room.kads[1].put_value(KEY, NEW.binary)
            for number in range(6):
                await _liar(room, f"liar {number}", lie)
            await asyncio.sleep(1)
            room.net.kill(room.swarms[1].peer_id)
            asker = await room.start("asker")
            await asyncio.sleep(30)
            assert await _found(asker) == NEW.binary

    run_virtual(scenario())


def test_peer_that_refuses_a_value_stays_in_the_table() -> None:
    async def scenario() -> None:
        async with open_room(2) as room:
            await _liar(room, "refuser", b"")
            await asyncio.sleep(1)
            assert room.kads[0].table_size == 2
            assert await room.kads[0].put_value(KEY, OLD.binary) == 1
            assert room.kads[0].table_size == 2

    run_virtual(scenario())

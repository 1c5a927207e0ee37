"""Publishing names: sequences, restarts, publishing again, and keys."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mirrornode.errors import StoreError, TargetError
from mirrornode.mirror.ipns_publish import (
    DEFAULT_LIFETIME_S,
    POLL_S,
    REPUBLISH_S,
    list_publications,
)
from mirrornode.mirror.name_keys import NameKeys
from mirrornode.routing.kad.rules import LAN_KAD_PROTOCOL
from mirrornode.swarm.identity import Identity
from mirrornode.wire.ipns import NANOSECONDS, IpnsRecord, name_to_text, verify_record
from mirrornode.wire.kad import KadMessage, MessageType, decode_message, encode_message
from support.name_room import SETTLE_S, NameNode, NameRoom, name_room
from support.names import ONE, TWO, seed_of
from support.virtual_time import run_virtual


def _run(folder: Path, scenario: Callable[[NameRoom], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with name_room(folder) as room:
            await scenario(room)

    run_virtual(inside())


def _last(node: NameNode, key_name: str = "models") -> IpnsRecord:
    publication = node.catalog.publication(key_name)
    assert publication is not None
    return verify_record(publication.name, publication.record, 0)


def test_publish_makes_the_key_and_tells_the_network(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one = await room.start("one")
        for name in ("two", "three"):
            await room.start(name)
        published = await one.publish(ONE)
        assert published.is_new_key
        assert published.publication.kept_by == 2
        path = one.home / "keys" / "models.key"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        shown = published.to_record()
        assert shown["name"] == name_to_text(published.publication.name)
        assert (shown["path"], shown["sequence"], shown["kept_by"]) == (ONE, 0, 2)
        assert shown["expires_at"] == room.calendar.now + DEFAULT_LIFETIME_S
        assert not (await one.publish(TWO)).is_new_key

    _run(tmp_path, scenario)


def test_publish_counts_changes_only(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one = await room.start("one")
        for path, sequence in ((ONE, 0), (TWO, 1), (TWO, 1), (ONE, 2)):
            room.calendar.now += 1
            assert (await one.publish(path)).to_record()["sequence"] == sequence
        # A shorter life of the same value would not be newer by its end.
        await one.publish(ONE, lifetime_s=3600)
        assert _last(one).sequence == 3

    _run(tmp_path, scenario)


def test_publish_with_self_is_the_nodes_own_name(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one = await room.start("one")
        published = await one.publish(ONE, "self")
        assert not published.is_new_key
        own = Identity.from_seed(seed_of("one"))
        assert (await one.resolver.resolve(own.peer_id)).path == ONE
        assert not (one.home / "keys").exists()

    _run(tmp_path, scenario)


def test_publish_when_the_catalog_was_lost_then_goes_on_after_what_the_network_has(
    tmp_path: Path,
) -> None:
    async def scenario(room: NameRoom) -> None:
        one, _ = await room.start("one"), await room.start("two")
        for path in (ONE, TWO, ONE):
            await one.publish(path)
        key = (one.home / "keys" / "models.key").read_bytes()
        fresh = room.open("fresh", one.kad, one.swarm)
        (fresh.home / "keys").mkdir()
        (fresh.home / "keys" / "models.key").write_bytes(key)
        assert (await fresh.publish(TWO)).to_record()["sequence"] == 3

    _run(tmp_path, scenario)


def test_publish_without_peers_is_told_later(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one = await room.start("one")
        name = name_to_text((await one.publish(ONE)).publication.name)
        assert list_publications(one.catalog)[0]["published_at"] is None
        assert await one.publisher.republish_due() == 0
        two = await room.start("two")
        assert await one.publisher.republish_due() == 1
        assert (await two.resolver.resolve(name)).path == ONE

    _run(tmp_path, scenario)


def test_run_publishes_as_soon_as_there_is_a_peer_and_when_it_is_time(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one = await room.start("one")
        await one.publish(ONE)
        running = asyncio.create_task(one.publisher.run())
        await room.start("two")
        assert list_publications(one.catalog)[0]["kept_by"] == 1
        room.calendar.now += REPUBLISH_S
        await asyncio.sleep(POLL_S + 1)
        assert list_publications(one.catalog)[0]["published_at"] == room.calendar.now
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    _run(tmp_path, scenario)


def test_names_are_published_again_every_four_hours_with_a_later_end(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one, two = await room.start("one"), await room.start("two")
        await one.publish(ONE)
        room.calendar.now += REPUBLISH_S - 1
        assert await one.publisher.republish_due() == 0
        room.calendar.now += 1
        assert await one.publisher.republish_due() == 1
        assert await one.publisher.republish_due() == 0
        record = _last(one)
        assert record.sequence == 0
        assert record.expires_ns == (room.calendar.now + DEFAULT_LIFETIME_S) * NANOSECONDS
        for _ in range(30):  # five days, beyond the life of any one record
            room.calendar.now += REPUBLISH_S
            await one.publisher.republish_due()
        name = name_to_text(_publication_name(one))
        assert (await two.resolver.resolve(name)).path == ONE

    _run(tmp_path, scenario)


def _publication_name(node: NameNode) -> bytes:
    publication = node.catalog.publication("models")
    assert publication is not None
    return publication.name


def test_a_name_that_lives_short_is_published_more_often(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one, two = await room.start("one"), await room.start("two")
        name = name_to_text((await one.publish(ONE, lifetime_s=900)).publication.name)
        for _ in range(20):
            room.calendar.now += 300
            assert await one.publisher.republish_due() == 1
        assert (await two.resolver.resolve(name)).path == ONE

    _run(tmp_path, scenario)


def test_a_newcomer_is_told_soon_and_not_again_and_again(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one, _ = await room.start("one"), await room.start("two")
        await one.publish(ONE)
        await room.start("three")
        assert await one.publisher.republish_due() == 0
        room.calendar.now += 30
        assert await one.publisher.republish_due() == 1
        room.calendar.now += 30
        assert await one.publisher.republish_due() == 0

    _run(tmp_path, scenario)


def test_retries_get_rarer_while_a_peer_keeps_nothing(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one = await room.start("one")
        mute = room.dht.net.join("mute")

        async def keep_nothing(peer_id: str, request: bytes) -> bytes | None:
            message = decode_message(request)
            is_put = message.type is MessageType.PUT_VALUE
            return None if is_put else encode_message(KadMessage(message.type, message.key))

        mute.serve(LAN_KAD_PROTOCOL, keep_nothing)
        await mute.dial(one.swarm.peer_id, one.swarm.listen)
        await asyncio.sleep(SETTLE_S)
        assert (await one.publish(ONE)).publication.kept_by == 0
        told = 0
        for _ in range(120):
            room.calendar.now += 30
            told += await one.publisher.republish_due()
        assert told == 6  # after 30 s, 1, 2, 4, 8 and 16 minutes

    _run(tmp_path, scenario)


def test_restart_keeps_the_sequence_and_goes_on_publishing(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one, two = await room.start("one"), await room.start("two")
        await one.publish(ONE)
        name = name_to_text((await one.publish(TWO)).publication.name)
        one.catalog.close()
        restarted = room.open("one", one.kad, one.swarm)
        assert (await restarted.resolver.resolve("ipns://models")).path == TWO
        room.calendar.now += 60
        assert await restarted.publisher.republish_due() == 1  # at once: who knows how long
        assert await restarted.publisher.republish_due() == 0
        room.calendar.now += REPUBLISH_S
        assert await restarted.publisher.republish_due() == 1
        assert _last(restarted).sequence == 1
        assert (await restarted.publish(ONE)).to_record()["sequence"] == 2
        assert (await two.resolver.resolve(name)).path == ONE

    _run(tmp_path, scenario)


def test_stop_ends_publishing_and_keeps_the_sequence(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one, _ = await room.start("one"), await room.start("two")
        await one.publish(ONE)
        await one.publisher.stop("models")
        with pytest.raises(TargetError):
            await one.publisher.stop("models")
        assert list_publications(one.catalog) == []
        room.calendar.now += REPUBLISH_S
        assert await one.publisher.republish_due() == 0
        assert (await one.publish(TWO)).to_record()["sequence"] == 1

    _run(tmp_path, scenario)


def test_republish_when_the_key_is_gone_then_the_name_stops(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one, _ = await room.start("one"), await room.start("two")
        await one.publish(ONE)
        (one.home / "keys" / "models.key").unlink()
        room.calendar.now += REPUBLISH_S
        await one.publisher.republish_due()
        assert list_publications(one.catalog) == []

    _run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("lifetime_s", "ttl_s"), [(1, 0), (1e9, 0), (float("nan"), 0), (3600, -1), (3600, 3601)]
)
def test_publish_when_a_time_makes_no_sense_then_no_key_is_made(
    tmp_path: Path, lifetime_s: float, ttl_s: float
) -> None:
    async def scenario(room: NameRoom) -> None:
        one = await room.start("one")
        with pytest.raises(TargetError):
            await one.publish(ONE, lifetime_s=lifetime_s, ttl_s=ttl_s)
        assert one.keys.names() == ["self"]

    _run(tmp_path, scenario)


@pytest.mark.parametrize("name", ["", "a.b", "../x", "a/b", "ä", "-x", "x" * 41, "a b", "\n"])
def test_key_names_that_cannot_be_are_refused(tmp_path: Path, name: str) -> None:
    keys = NameKeys(tmp_path, Identity.generate())
    assert keys.find(name) is None
    with pytest.raises(TargetError):
        keys.open(name)
    assert not (tmp_path / "keys").exists()


def test_keys_are_listed_kept_and_never_replaced(tmp_path: Path) -> None:
    keys = NameKeys(tmp_path, Identity.generate())
    first, is_new = keys.open("models")
    assert is_new
    assert keys.open("models") == (first, False)
    assert keys.names() == ["self", "models"]
    (tmp_path / "keys" / "models.key").write_text("junk")
    with pytest.raises(StoreError, match="damaged"):
        keys.open("models")
    assert (tmp_path / "keys" / "models.key").read_text() == "junk"

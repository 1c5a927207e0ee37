"""What names mean: found in the DHT, at routers, in the DNS and in what was seen before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mirrornode.errors import (
    ContentError,
    LimitExceeded,
    NoProviders,
    RemoteProtocolError,
    SourceGone,
    TargetError,
)
from mirrornode.routing.dnslink import Link
from mirrornode.wire.ipns import name_of_seed, name_to_text
from support.name_room import NOON, NameNode, NameRoom, name_room
from support.names import ONE, TWO, key_of, record_of, seed_of
from support.virtual_time import run_virtual

DAY_S = 86_400.0
ANN = name_to_text(name_of_seed(seed_of("ann")))


def _run(folder: Path, scenario: Callable[[NameRoom], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with name_room(folder) as room:
            await scenario(room)

    run_virtual(inside())


@dataclass
class FakeRouter:
    """A router with one answer."""

    answer: bytes | None = None
    is_away: bool = False
    asked: int = 0

    async def ipns_record(self, name_text: str) -> bytes | None:
        self.asked += 1
        if self.is_away:
            raise SourceGone("refuses connections")
        return self.answer


def _record(value: str = ONE, sequence: int = 0, **options: float) -> bytes:
    end = options.pop("expires_at", NOON + DAY_S)
    return record_of("ann", value, sequence=sequence, expires_at=end, **options).binary


def test_resolve_finds_in_the_dht_what_another_node_published(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one, two = await room.start("one"), await room.start("two")
        published = await one.publish(ONE + "/weights")
        name = name_to_text(published.publication.name)
        found = await two.resolver.resolve(f"/ipns/{name}/config.json")
        assert found.path == ONE + "/weights/config.json"
        assert found.ttl_s == 300
        assert found.record == published.publication.record
        assert found.note == ""
        assert await two.resolver.get_record(name) == found.record

    _run(tmp_path, scenario)


@pytest.mark.parametrize("form", ["ipns://{}", "/ipns/{}", "{}", " ipns://{}/ "])
def test_resolve_takes_every_way_to_write_a_name(tmp_path: Path, form: str) -> None:
    async def scenario(room: NameRoom) -> None:
        node = await room.start("one", routers=[FakeRouter(_record())])
        assert (await node.resolver.resolve(form.format(ANN))).path == ONE

    _run(tmp_path, scenario)


def test_resolve_of_an_own_key_asks_nobody(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one, _ = await room.start("one"), await room.start("two")
        name = name_to_text((await one.publish(ONE)).publication.name)
        before = room.dht.net.requests
        for text in (
            "ipns://models",
            f"/ipns/{name}",
            f"/ipns/{one.keys.open('models')[0].peer_id}",
        ):
            assert (await one.resolver.resolve(text)).path == ONE
        room.calendar.now += 10 * DAY_S  # its end is for others
        assert (await one.resolver.resolve("ipns://models")).path == ONE
        assert await one.resolver.get_record(name) is None
        assert room.dht.net.requests == before

    _run(tmp_path, scenario)


def test_resolve_keeps_an_answer_for_its_ttl_and_then_asks_again(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one, two = await room.start("one"), await room.start("two")
        name = name_to_text((await one.publish(ONE)).publication.name)
        assert (await two.resolver.resolve(name)).path == ONE
        await one.publish(TWO)
        room.calendar.now += 299
        kept = await two.resolver.resolve(name)
        assert (kept.path, kept.ttl_s) == (ONE, 1)
        assert (await two.resolver.resolve(name, fresh=True)).path == TWO
        room.calendar.now += 301
        assert (await two.resolver.resolve(name)).path == TWO

    _run(tmp_path, scenario)


def test_resolve_when_nobody_can_be_asked_then_what_was_seen_with_a_note(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one, two = await room.start("one"), await room.start("two")
        name = name_to_text((await one.publish(ONE)).publication.name)
        await two.resolver.resolve(name)
        room.cut_off(two)
        room.calendar.now += 3 * 3600
        found = await two.resolver.resolve(name)
        assert (found.path, found.ttl_s) == (ONE, 0)
        assert "what it meant 3 h ago" in found.note
        room.calendar.now += 3 * DAY_S  # the record has run out: now it means nothing
        with pytest.raises(NoProviders):
            await two.resolver.resolve(name)
        assert await two.resolver.get_record(name) is None

    _run(tmp_path, scenario)


def test_resolve_when_the_network_goes_back_then_what_was_seen_wins(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        router = FakeRouter(_record(TWO, 5))
        node = await room.start("one", routers=[router])
        assert (await node.resolver.resolve(ANN)).path == TWO
        router.answer = _record(ONE, 4)
        room.calendar.now += 400
        found = await node.resolver.resolve(ANN)
        assert (found.path, found.note) == (TWO, "")

    _run(tmp_path, scenario)


def test_resolve_takes_the_newest_of_all_places_and_ignores_lies(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        routers = [
            FakeRouter(_record(ONE, 3)),
            FakeRouter(b"junk"),
            FakeRouter(record_of("eve", sequence=99, expires_at=NOON + 9).binary),
            FakeRouter(_record(TWO, 99, expires_at=NOON)),
            FakeRouter(is_away=True),
            FakeRouter(None),
        ]
        node = await room.start("one", routers=routers)
        await room.start("two")
        await node.kad.put_value(key_of("ann"), _record(TWO, 4))
        assert (await node.resolver.resolve(ANN)).path == TWO
        assert [router.asked for router in routers] == [1] * 6

    _run(tmp_path, scenario)


def test_resolve_by_many_at_once_asks_once(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        router = FakeRouter(_record())
        node = await room.start("one", routers=[router])
        found = await asyncio.gather(*(node.resolver.resolve(ANN) for _ in range(20)))
        assert {each.path for each in found} == {ONE}
        assert router.asked == 1

    _run(tmp_path, scenario)


def test_resolve_follows_names_and_joins_their_paths(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        node = await room.start("one", routers=[FakeRouter(_record(TWO + "/deep", ttl_s=7))])
        room.dns.links["models.example.org"] = Link(f"/ipns/{ANN}/er", 60)
        found = await node.resolver.resolve("ipns://Models.Example.org/x%20y")
        assert (found.path, found.ttl_s, found.record) == (TWO + "/deep/er/x y", 7, None)

    _run(tmp_path, scenario)


def test_resolve_of_names_in_a_circle_ends(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        node = await room.start("one")
        room.dns.links["a.example.org"] = Link("/ipns/b.example.org", 60)
        room.dns.links["b.example.org"] = Link("/ipns/a.example.org", 60)
        with pytest.raises(LimitExceeded):
            await node.resolver.resolve("/ipns/a.example.org")
        assert len(room.dns.asked) == 2

    _run(tmp_path, scenario)


def test_resolve_of_a_domain_keeps_it_for_its_ttl_and_without_dns(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        node = await room.start("one")
        room.dns.links["a.example.org"] = Link(ONE, 60)
        await node.resolver.resolve("/ipns/a.example.org")
        room.calendar.now += 59
        assert (await node.resolver.resolve("/ipns/a.example.org")).ttl_s == 1
        assert len(room.dns.asked) == 1
        room.dns.is_away = True
        room.calendar.now += 3600
        found = await node.resolver.resolve("/ipns/a.example.org")
        assert found.path == ONE
        assert "61 min ago" in found.note or "60 min ago" in found.note
        with pytest.raises(SourceGone):
            await node.resolver.resolve("/ipns/b.example.org")
        room.dns.is_away = False
        with pytest.raises(NoProviders):
            await node.resolver.resolve("/ipns/b.example.org")

    _run(tmp_path, scenario)


@pytest.mark.parametrize(
    "value", ["", "/", "bafkqaaa", "/ipfs/", "/ipfs/junk", "/ipfs/bafkqaaa/../x", "/dns/x", "\x00"]
)
def test_resolve_of_a_name_that_stands_for_nonsense_is_a_content_error(
    tmp_path: Path, value: str
) -> None:
    async def scenario(room: NameRoom) -> None:
        node = await room.start("one", routers=[FakeRouter(_record(value))])
        with pytest.raises(ContentError):
            await node.resolver.resolve(ANN)

    _run(tmp_path, scenario)


@pytest.mark.parametrize(
    "text", ["", "ipns://", "/ipns/", "unpublished", "/ipns/k51junk", "/ipns/..", "bafkqaaa",
             "/ipns/" + "x" * 5000, "/ipns/a.b/" + "x/" * 200]
)  # fmt: skip
def test_resolve_of_what_is_no_name_is_a_target_error(tmp_path: Path, text: str) -> None:
    async def scenario(room: NameRoom) -> None:
        node = await room.start("one")
        with pytest.raises(TargetError):
            await node.resolver.resolve(text)

    _run(tmp_path, scenario)


def test_put_record_is_verified_kept_and_passed_on(tmp_path: Path) -> None:
    async def scenario(room: NameRoom) -> None:
        one, two = await room.start("one"), await room.start("two")
        assert await one.resolver.put_record(ANN, _record(TWO, 2)) == 1
        assert (await two.resolver.resolve(ANN)).path == TWO
        for bad in (_record(ONE, 1), b"", record_of("eve", expires_at=NOON + 9).binary):
            with pytest.raises(RemoteProtocolError):
                await one.resolver.put_record(ANN, bad)
        with pytest.raises(TargetError):
            await one.resolver.put_record("models", _record())
        assert await one.resolver.get_record(ANN) == _record(TWO, 2)

    _run(tmp_path, scenario)


def test_resolver_when_closed_then_its_lookups_end(tmp_path: Path) -> None:
    class SlowRouter:
        async def ipns_record(self, name_text: str) -> bytes | None:
            await asyncio.sleep(5)
            return None

    async def scenario(room: NameRoom) -> None:
        node: NameNode = await room.start("one", routers=[SlowRouter()])
        asking = asyncio.create_task(node.resolver.resolve(ANN))
        await asyncio.sleep(1)
        await node.resolver.close()
        with pytest.raises(asyncio.CancelledError):
            await asking

    _run(tmp_path, scenario)

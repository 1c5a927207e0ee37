"""Nodes hold copies for one another: asked, fetched, checked, repaired, let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from mirrornode.content.cid import Cid
from mirrornode.mirror.hub.parts import HubParts
from mirrornode.mirror.keep_pins import Pinning, PinRequest, size_here, unpin
from mirrornode.mirror.keep_replicas import CHECK_S, LEASE_S
from mirrornode.mirror.replication import ReplicaSettings, Replication
from mirrornode.store.catalog import open_catalog
from mirrornode.store.pins import Replica
from mirrornode.wire import keep
from mirrornode.wire.keep import KeepAnswer, KeepRequest
from support.kept_files import made_up
from support.room import Peer, Room
from support.shared_files import content, write
from support.waiting import until

AWAY_S = 3600.0


@dataclass
class Clock:
    """Unix time as a test wants it."""

    now: float = 1e9

    def __call__(self) -> float:
        return self.now


@dataclass
class Member:
    """A node of the team."""

    peer: Peer
    replication: Replication
    pinning: Pinning
    room_bytes: int = 10**9

    @property
    def peer_id(self) -> str:
        return self.peer.swarm.peer_id

    async def ask(self, other: Member, verb: str, target: str, size: int = 0) -> KeepAnswer:
        request = keep.encode_request(KeepRequest(verb, target, size))
        answer = await self.peer.swarm.request(other.peer_id, keep.PROTOCOL, request)
        return keep.decode_answer(answer)

    def holds_for(self, other: Member, cid: str) -> bool:
        return self.peer.catalog.find_pin(cid, owner=other.peer_id) is not None


class Team:
    """Nodes that hold copies, over a virtual swarm and a clock of the test's."""

    def __init__(self, folder: Path) -> None:
        self.room = Room(folder)
        self.clock = Clock()

    @asynccontextmanager
    async def member(
        self, name: str, *others: Member, accepts: bool = True
    ) -> AsyncIterator[Member]:
        async with self.room.node(name) as peer:
            pinning = Pinning(peer.ports, cast("HubParts", None))  # no target of the Hub here
            settings = ReplicaSettings(accepts, lambda: member.room_bytes, AWAY_S)
            replication = Replication(peer.catalog, pinning, peer.swarm, settings, clock=self.clock)
            member = Member(peer, replication, pinning)
            peer.swarm.serve(keep.PROTOCOL, replication.answer)
            for other in others:
                await peer.swarm.dial(other.peer_id, [other.peer.address])
            try:
                yield member
            finally:
                await replication.close()


@pytest.fixture
async def team(tmp_path: Path) -> Team:
    return Team(tmp_path)


async def share(member: Member, folder: Path, name: str = "model.bin") -> str:
    path = write(folder / "originals" / name, content(30_000))
    return await asyncio.to_thread(member.peer.share, path)


async def pin(member: Member, cid: str, replicas: int) -> None:
    await member.pinning.pin(PinRequest(cid, replicas=replicas), lambda _: None)
    await member.replication.tick()


def states(member: Member) -> dict[str, str]:
    (found,) = member.peer.catalog.pins(owner="")
    return {one.peer_id: one.state for one in member.peer.catalog.replicas_of(found)}


async def test_pin_when_replicas_wanted_then_others_fetch_pin_and_serve(
    team: Team, tmp_path: Path
) -> None:
    async with (
        team.member("one") as one,
        team.member("two", one) as two,
        team.member("three", one, two) as three,
        asyncio.timeout(30),
    ):
        cid = await share(one, tmp_path)
        await pin(one, cid, 2)
        assert states(one) == {two.peer_id: "coming", three.peer_id: "coming"}
        await until(lambda: two.holds_for(one, cid) and three.holds_for(one, cid))
        team.clock.now += CHECK_S
        await one.replication.tick()
        assert states(one) == {two.peer_id: "kept", three.peer_id: "kept"}
        for holder in (two, three):
            (held,) = holder.peer.catalog.pins()
            assert (held.name, held.size_bytes) == (f"replica of {one.peer_id}", 30_000)
            (file,) = holder.peer.catalog.all_files()
            assert file.is_managed
            assert file.path.read_bytes() == content(30_000)


async def test_replica_when_its_holder_is_away_too_long_then_repaired_and_surplus_let_go(
    team: Team, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(30))
        one = await stack.enter_async_context(team.member("one"))
        two = await stack.enter_async_context(team.member("two", one))
        cid = await share(one, tmp_path)
        await pin(one, cid, 1)
        await until(lambda: two.holds_for(one, cid))
        team.clock.now += CHECK_S
        await one.replication.tick()
        one.peer.swarm.unlink(two.peer_id)
        three = await stack.enter_async_context(team.member("three", one))
        team.clock.now += AWAY_S
        await one.replication.tick()
        assert three.peer_id not in states(one)  # not away for longer than the bound
        team.clock.now += 1
        await one.replication.tick()
        await until(lambda: three.holds_for(one, cid))
        team.clock.now += CHECK_S
        await one.replication.tick()
        assert states(one)[three.peer_id] == "kept"
        await one.peer.swarm.dial(two.peer_id, [two.peer.address])
        await one.replication.tick()
        assert states(one) == {two.peer_id: "kept"}
        assert not three.holds_for(one, cid)


async def test_unpin_when_connected_then_holders_let_go(team: Team, tmp_path: Path) -> None:
    async with (
        team.member("one") as one,
        team.member("two", one) as two,
        asyncio.timeout(30),
    ):
        cid = await share(one, tmp_path)
        await pin(one, cid, 1)
        await until(lambda: two.holds_for(one, cid))
        (found,) = one.peer.catalog.pins()
        replicas = one.peer.catalog.replicas_of(found)
        unpin(one.peer.catalog, cid)
        await one.replication.release(found, replicas)
        assert not two.holds_for(one, cid)
        assert one.peer.catalog.replicas_of(found) == []


async def test_keep_when_not_accepted_or_no_room_then_refused(team: Team, tmp_path: Path) -> None:
    async with (
        team.member("one") as one,
        team.member("no", one, accepts=False) as unwilling,
        team.member("full", one) as full,
        asyncio.timeout(30),
    ):
        full.room_bytes = 20_000
        cid = await share(one, tmp_path)
        refused = await one.ask(unwilling, "keep", cid)
        assert (refused.state, refused.reason) == ("refused", "holds no copies for others")
        assert (await one.ask(full, "keep", cid, 30_000)).reason == "has no room for it"
        # A size that is a lie does not help: it is measured before anything is fetched.
        assert (await one.ask(full, "keep", cid, 1)).state == "coming"
        answer = await one.ask(full, "tell", cid)
        while answer.state == "coming":
            answer = await one.ask(full, "tell", cid)
        assert (await one.ask(full, "keep", cid, 1)).reason == "TargetError"
        assert size_here(full.peer.catalog, Cid.parse(cid)) is None


async def test_keep_when_the_copy_was_lost_then_fetched_again(team: Team, tmp_path: Path) -> None:
    async with (
        team.member("one") as one,
        team.member("two", one) as two,
        asyncio.timeout(30),
    ):
        cid = await share(one, tmp_path)
        await pin(one, cid, 1)
        await until(lambda: two.holds_for(one, cid))
        assert (await one.ask(two, "tell", cid)).state == "kept"
        (file,) = two.peer.catalog.all_files()
        file.path.unlink()
        assert (await one.ask(two, "tell", cid)).state == "none"
        assert (await one.ask(two, "keep", cid)).state == "coming"
        await until(file.path.exists)


async def test_lease_when_the_asker_is_gone_for_good_then_let_go(
    team: Team, tmp_path: Path
) -> None:
    async with (
        team.member("one") as one,
        team.member("two", one) as two,
        asyncio.timeout(30),
    ):
        cid = await share(one, tmp_path)
        await pin(one, cid, 1)
        await until(lambda: two.holds_for(one, cid))
        assert (await one.ask(two, "tell", cid)).state == "kept"  # and renewed, at the test's time
        team.clock.now += LEASE_S
        await two.replication.tick()
        assert two.holds_for(one, cid)
        team.clock.now += 1
        await two.replication.tick()
        assert not two.holds_for(one, cid)


async def test_answer_when_garbage_then_none(team: Team) -> None:
    async with team.member("one") as one:
        assert await one.replication.answer("x", b"garbage") is None


def test_replica_when_its_pin_is_gone_then_not_noted(tmp_path: Path) -> None:
    with open_catalog(tmp_path / "home") as catalog:
        found = catalog.pin(made_up("x"))
        catalog.unpin(found.target)
        catalog.put_replica(found, Replica("a", "kept", "", 1.0, 1.0))
        assert catalog.replicas_of(found) == []

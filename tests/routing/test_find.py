"""Finding peers that hold a target: those at hand, those in the DHT, those that come later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import cast

import pytest

from mirrornode.content.cid import Cid
from mirrornode.errors import LocalProtocolError, RemoteProtocolError, SourceTooSlow, TargetError
from mirrornode.routing.find import (
    ASK_BACK_S,
    FRESH_S,
    Finder,
    Found,
    FoundBlocks,
    SwarmPort,
    split_peer,
)
from mirrornode.routing.kad.node import ProviderRecord
from mirrornode.wire.ticket import PROTOCOL, Holding, Ticket, decode_request, encode_ticket
from support.room import FakeDht
from support.virtual_swarm import VirtualNet, VirtualSwarm
from support.virtual_time import run_virtual

ROOT = Cid.raw_sha256(b"r" * 32)


class Office:
    """Answers ticket requests; holds the root or not."""

    def __init__(self, swarm: VirtualSwarm, *, holds: bool = True) -> None:
        self.holds = holds
        self.asked = 0
        swarm.serve(PROTOCOL, self.answer)

    async def answer(self, peer_id: str, request: bytes) -> bytes:
        self.asked += 1
        holdings = tuple(Holding(root, root, 5) for root in decode_request(request) if self.holds)
        return encode_ticket(Ticket("http", 4102, ("10.0.0.9",), b"", "t", 60.0, holdings))


class Net:
    """An asker and the peers around it."""

    def __init__(self) -> None:
        self.net = VirtualNet()
        self.asker = self.net.join("asker")
        self.dht = FakeDht()
        self.finder = Finder(cast("SwarmPort", self.asker), self.dht)

    def peer(self, name: str, *, holds: bool = True) -> tuple[VirtualSwarm, Office]:
        swarm = self.net.join(name)
        return swarm, Office(swarm, holds=holds)

    async def first(self, *peers: str) -> Found:
        async with aclosing(self.finder.find([ROOT], peers)) as finding:
            found = await anext(finding)
        assert isinstance(found, Found)
        return found


def test_peer_that_is_linked_is_asked_and_its_near_address_told() -> None:
    async def scene() -> None:
        net = Net()
        seed, _ = net.peer("seed")
        await net.asker.dial(seed.peer_id, seed.listen)
        found = await net.first()
        assert (found.peer_id, found.near_host) == (seed.peer_id, "10.0.0.3")
        assert [holding.root for holding in found.ticket.holdings] == [ROOT]

    run_virtual(scene())


def test_peer_given_by_the_user_is_dialled_until_it_is_there() -> None:
    async def scene() -> None:
        net = Net()
        seed, _ = net.peer("seed")
        seed.is_up = False

        async def switch_on() -> None:
            await asyncio.sleep(60)
            seed.is_up = True

        switching = asyncio.create_task(switch_on())
        found = await net.first(seed.addresses()[0])
        assert found.peer_id == seed.peer_id
        await switching

    run_virtual(scene())


def test_provider_of_the_dht_is_dialled_and_asked() -> None:
    async def scene() -> None:
        net = Net()
        seed, _ = net.peer("seed")
        dead = net.net.join("dead")
        net.net.kill(dead.peer_id)
        net.dht.providers[ROOT.multihash] = [
            ProviderRecord(net.asker.peer_id, tuple(net.asker.addresses())),
            ProviderRecord(dead.peer_id, tuple(dead.addresses())),
            ProviderRecord(seed.peer_id, tuple(seed.addresses())),
        ]
        assert (await net.first()).peer_id == seed.peer_id

    run_virtual(scene())


def test_looked_when_all_that_the_dht_named_have_been_asked() -> None:
    async def scene() -> None:
        net = Net()
        empty, office = net.peer("empty", holds=False)
        dead = net.net.join("dead")
        net.net.kill(dead.peer_id)
        net.dht.providers[ROOT.multihash] = [
            ProviderRecord(dead.peer_id, tuple(dead.addresses())),
            ProviderRecord(empty.peer_id, tuple(empty.addresses())),
        ]
        asked: list[int] = []
        finding = net.finder.find([ROOT], on_looked=lambda: asked.append(office.asked))
        waiting = asyncio.create_task(anext(finding))
        await asyncio.sleep(60)
        assert len(asked) == 1
        assert asked[0] >= 1
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    run_virtual(scene())


@pytest.mark.parametrize(("age_s", "waits_s"), [(0.0, FRESH_S), (1.0, FRESH_S - 1.0), (60.0, 0.0)])
def test_looked_when_there_is_no_dht_then_as_soon_as_peers_must_have_come(
    age_s: float, waits_s: float
) -> None:
    async def scene() -> None:
        net = Net()
        times = iter([100.0])
        finder = Finder(
            cast("SwarmPort", net.asker), Nowhere(), clock=lambda: next(times, 100.0 + age_s)
        )
        clock = asyncio.get_running_loop().time
        began, looked = clock(), asyncio.Event()
        finding = finder.find([ROOT], on_looked=looked.set)
        waiting = asyncio.create_task(anext(finding))
        await looked.wait()
        assert clock() - began == pytest.approx(waits_s)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    run_virtual(scene())


class Nowhere(FakeDht):
    """A DHT of which this node knows nobody."""

    async def wait_for_peers(self) -> None:
        await asyncio.Event().wait()


def test_dht_when_a_look_up_fails_then_asked_again() -> None:
    class FailsFirst(FakeDht):
        async def find_providers(
            self, multihash: bytes, *, count: int = 20, timeout_s: float = 30.0
        ) -> AsyncIterator[ProviderRecord]:
            self.asked += 1
            if self.asked == 1:
                raise LocalProtocolError("not ready")
            yield ProviderRecord(seed.peer_id, tuple(seed.addresses()))

    net = Net()
    seed, _ = net.peer("seed")
    net.finder = Finder(cast("SwarmPort", net.asker), FailsFirst())

    async def scene() -> None:
        assert (await net.first()).peer_id == seed.peer_id

    run_virtual(scene())


def test_peer_that_links_later_is_asked_then() -> None:
    async def scene() -> None:
        net = Net()
        seed, _ = net.peer("seed")
        finding = asyncio.create_task(net.first())
        await asyncio.sleep(10)
        assert not finding.done()
        await seed.dial(net.asker.peer_id, net.asker.listen)
        assert (await finding).peer_id == seed.peer_id

    run_virtual(scene())


def test_peer_that_has_it_later_is_asked_again() -> None:
    async def scene() -> None:
        net = Net()
        seed, office = net.peer("seed", holds=False)
        await net.asker.dial(seed.peer_id, seed.listen)
        finding = asyncio.create_task(net.first())
        await asyncio.sleep(10)
        assert not finding.done()
        assert office.asked > 1
        office.holds = True
        assert (await finding).peer_id == seed.peer_id

    run_virtual(scene())


def test_peer_that_comes_back_is_told_again_and_otherwise_once() -> None:
    async def scene() -> None:
        net = Net()
        seed, office = net.peer("seed")
        await net.asker.dial(seed.peer_id, seed.listen)
        async with aclosing(net.finder.find([ROOT])) as finding:
            await anext(finding)
            again = asyncio.ensure_future(anext(finding))
            await asyncio.sleep(30)
            assert not again.done()
            assert office.asked == 1
            net.asker.unlink(seed.peer_id)
            await net.asker.dial(seed.peer_id, seed.listen)
            assert (await again).peer_id == seed.peer_id

    run_virtual(scene())


@pytest.mark.parametrize("faults", ["E", "G", "T", "EGT"])
def test_peer_that_fails_is_asked_again_and_holds_nobody_up(faults: str) -> None:
    async def scene() -> None:
        net = Net()
        bad, _ = net.peer("bad")
        bad.faults = faults
        await net.asker.dial(bad.peer_id, bad.listen)
        assert (await net.first()).peer_id == bad.peer_id

    run_virtual(scene())


def test_peer_of_another_kind_is_not_asked() -> None:
    async def scene() -> None:
        net = Net()
        kubo = net.net.join("kubo")
        await net.asker.dial(kubo.peer_id, kubo.listen)
        finding = asyncio.create_task(net.first())
        await asyncio.sleep(10)
        assert kubo.received == []
        finding.cancel()

    run_virtual(scene())


def test_find_leaves_no_task_behind() -> None:
    async def scene() -> None:
        net = Net()
        seed, _ = net.peer("seed")
        await net.first(seed.addresses()[0])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(scene())


def test_ask_when_the_answer_is_garbage_then_remote_protocol_error() -> None:
    async def scene() -> None:
        net = Net()
        seed, _ = net.peer("seed")
        seed.faults = "G"
        await net.asker.dial(seed.peer_id, seed.listen)
        with pytest.raises(RemoteProtocolError):
            await net.finder.ask(seed.peer_id, [ROOT])

    run_virtual(scene())


@pytest.mark.parametrize(
    "address", ["", "x", "/ip4/1.2.3.4/tcp/1", "/p2p/", "/ip4/1.2.3.4/tcp/1/p2p/", "/p2p/a/b"]
)
def test_peer_address_when_it_is_none_then_target_error(address: str) -> None:
    with pytest.raises(TargetError):
        split_peer(address)


def test_peer_address_is_split() -> None:
    assert split_peer("/ip4/1.2.3.4/tcp/1/p2p/12D3Koo") == ("12D3Koo", "/ip4/1.2.3.4/tcp/1")


def test_holder_when_its_link_is_gone_and_a_record_says_where_it_is_then_found_again() -> None:
    async def scene() -> None:
        net = Net()
        seed, office = net.peer("seed")
        net.dht.providers[ROOT.multihash] = [ProviderRecord(seed.peer_id, tuple(seed.listen))]
        async with aclosing(net.finder.find([ROOT])) as finding:
            assert (await anext(finding)).peer_id == seed.peer_id
            net.asker.unlink(seed.peer_id)
            assert (await anext(finding)).peer_id == seed.peer_id
        assert office.asked == 2

    run_virtual(scene())


def test_meet_when_a_peer_is_named_then_linked_at_once() -> None:
    async def scene() -> None:
        net = Net()
        seed, _ = net.peer("seed")
        began = asyncio.get_running_loop().time()
        await net.finder.meet(seed.addresses(), patience_s=0.0)
        assert [link.peer_id for link in net.asker.links()] == [seed.peer_id]
        assert asyncio.get_running_loop().time() - began < 1
        with pytest.raises(TargetError):
            await net.finder.meet(["/ip4/10.0.0.1/tcp/1"], patience_s=0.0)

    run_virtual(scene())


def test_asker_of_the_same_root_is_asked_back_at_once_and_not_too_often() -> None:
    async def scene() -> None:
        net = Net()
        taker, office = net.peer("taker", holds=False)
        await net.asker.dial(taker.peer_id, taker.listen)
        async with aclosing(net.finder.find([ROOT])) as finding:
            first = asyncio.create_task(anext(finding))
            await asyncio.sleep(0.1)
            assert office.asked == 1
            office.holds = True
            net.finder.asked_by(taker.peer_id, [Cid.raw_sha256(b"o" * 32)])
            net.finder.asked_by("12D3KooNobody", [ROOT])
            await asyncio.sleep(0.1)
            assert office.asked == 1
            office.holds = False
            for _ in range(20):
                net.finder.asked_by(taker.peer_id, [ROOT])
                await asyncio.sleep(ASK_BACK_S / 10)
            assert 2 <= office.asked <= 4
            office.holds = True
            await asyncio.sleep(ASK_BACK_S)
            net.finder.asked_by(taker.peer_id, [ROOT])
            assert (await first).peer_id == taker.peer_id
            asked = office.asked
            net.finder.asked_by(taker.peer_id, [ROOT])
            await asyncio.sleep(1.0)
            assert office.asked == asked  # it is known by now

    run_virtual(scene())


def test_meet_when_somebody_turns_up_then_no_longer_waited() -> None:
    async def scene() -> None:
        net = Net()
        seed, _ = net.peer("seed")
        stranger = net.net.join("stranger")
        meeting = asyncio.create_task(net.finder.meet((), patience_s=30.0))
        await stranger.dial(net.asker.peer_id, net.asker.listen)
        await asyncio.sleep(1)
        assert not meeting.done()
        await seed.dial(net.asker.peer_id, net.asker.listen)
        async with asyncio.timeout(1):
            await meeting

    run_virtual(scene())


def test_look_again_asks_all_who_had_nothing_and_knows_the_other_root() -> None:
    async def scene() -> None:
        net = Net()
        taker, office = net.peer("taker", holds=False)
        await net.asker.dial(taker.peer_id, taker.listen)
        other = Cid.raw_sha256(b"other" + bytes(27))
        async with aclosing(net.finder.find([ROOT])) as finding:
            first = asyncio.create_task(anext(finding))
            await asyncio.sleep(0.1)
            net.finder.look_again(ROOT, other)
            await asyncio.sleep(0.1)
            assert office.asked == 2
            office.holds = True
            net.finder.asked_by(taker.peer_id, [other])
            await asyncio.sleep(0.1)
            assert (await first).peer_id == taker.peer_id
        net.finder.asked_by(taker.peer_id, [ROOT])  # nobody searches any more
        net.finder.look_again(ROOT, other)

    run_virtual(scene())


def test_meet_when_nobody_is_there_then_it_ends_all_the_same() -> None:
    async def scene() -> None:
        net = Net()
        seed, _ = net.peer("seed")
        seed.is_up = False
        loop = asyncio.get_running_loop()
        for peers, patience_s, longest_s in (
            (seed.addresses(), 0.0, 6.0),
            ((), 0.0, 0.1),
            ((), 1.5, 1.6),
        ):
            began = loop.time()
            await net.finder.meet(peers, patience_s=patience_s)
            assert loop.time() - began <= longest_s

    run_virtual(scene())


class ScriptedBlocks:
    """Asks peers for blocks; those in `holders` have everything."""

    protocols = ("/blocks/2", "/blocks/1")

    def __init__(self, *holders: str) -> None:
        self.holders = set(holders)
        self.asked: list[str] = []

    async def ask(self, peer_id: str, cids: Sequence[Cid]) -> list[Cid]:
        self.asked.append(peer_id)
        if peer_id not in self.holders:
            raise SourceTooSlow("gave no answer", source_id=peer_id)
        return list(cids)


async def nobody(peer_id: str, request: bytes) -> bytes | None:
    return None


def test_peer_without_tickets_is_asked_for_the_block_wherever_it_turns_up() -> None:
    async def scene() -> None:
        net = Net()
        lan, named, provider, silent, mute, own = (
            net.net.join(name) for name in ("lan", "named", "provider", "silent", "mute", "own")
        )
        for node in (lan, named, provider, silent, own):
            node.serve("/blocks/1", nobody)
        Office(own)  # speaks both: its ticket tells more
        blocks = ScriptedBlocks(lan.peer_id, named.peer_id, provider.peer_id, own.peer_id)
        net.finder = Finder(cast("SwarmPort", net.asker), net.dht, blocks=blocks)
        net.dht.providers[ROOT.multihash] = [
            ProviderRecord(provider.peer_id, tuple(provider.addresses()))
        ]
        for node in (lan, silent, mute, own):
            await net.asker.dial(node.peer_id, node.listen)
        found: dict[str, object] = {}
        async with aclosing(net.finder.find([ROOT], named.addresses())) as finding:
            while len(found) < 4:
                one = await anext(finding)
                found[one.peer_id] = one
        for node in (lan, named, provider):
            assert found[node.peer_id] == FoundBlocks(node.peer_id)
        assert isinstance(found[own.peer_id], Found)
        assert silent.peer_id in blocks.asked
        assert not {mute.peer_id, own.peer_id} & set(blocks.asked)

    run_virtual(scene())


def test_peer_without_tickets_that_gets_it_later_is_found_then() -> None:
    async def scene() -> None:
        net = Net()
        peer = net.net.join("peer")
        peer.serve("/blocks/2", nobody)
        blocks = ScriptedBlocks()
        net.finder = Finder(cast("SwarmPort", net.asker), net.dht, blocks=blocks)
        await net.asker.dial(peer.peer_id, peer.listen)
        async with aclosing(net.finder.find([ROOT])) as finding:
            first = asyncio.ensure_future(anext(finding))
            await asyncio.sleep(10)
            assert not first.done()
            blocks.holders.add(peer.peer_id)
            assert await first == FoundBlocks(peer.peer_id)

    run_virtual(scene())

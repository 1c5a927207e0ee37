"""Peers that speak bitswap as sources, honest and hostile, without a network."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import pytest

from contracts.source import check_source, fetch
from mirrornode.content.cid import Cid
from mirrornode.content.recipe import recipe_from
from mirrornode.errors import CidMismatch, RemoteProtocolError, SourceGone, SourceRefused
from mirrornode.mirror.bitswap import MAX_ASKED, Bitswap
from mirrornode.sources.bitswap import BitswapSource
from mirrornode.sources.bitswap_client import MAX_KEPT, MAX_REOPENED
from mirrornode.wire.bitswap import (
    BITSWAP_100,
    BITSWAP_120,
    PROTOCOLS,
    Buffer,
    Message,
    encode_answer,
)
from mirrornode.wire.bitswap_wants import MAX_UNREQUESTED
from mirrornode.wire.protobuf import encode_bytes_field
from support.bitswap_net import BitswapNet, NetSwarm, ScriptedPeer, honest, node_of
from support.models import LEAF, model_of
from support.waiting import until

MODEL = model_of()
ABSENT = Cid.raw_sha256(b"a" * 32)


def blocks_of_model() -> dict[bytes, bytes]:
    return {block.cid.multihash: block.data for block in MODEL.blocks}


@asynccontextmanager
async def asking() -> AsyncIterator[tuple[ScriptedPeer, Bitswap, NetSwarm]]:
    """Run a node of ours beside a scripted peer."""
    net = BitswapNet()
    peer = ScriptedPeer(net)
    async with node_of(net, "taker") as (bitswap, swarm, _):
        yield peer, bitswap, swarm


@pytest.mark.parametrize("raw_leaves", [True, False])
async def test_peer_keeps_the_contract(raw_leaves: bool) -> None:
    recipe = recipe_from(chunker="size-1000", max_links=4, raw_leaves=raw_leaves)
    model, net = model_of(recipe=recipe), BitswapNet()
    async with node_of(net, "seed", model.blocks), node_of(net, "taker") as (taker, _, _):
        await asyncio.to_thread(check_source, taker.source("seed"), model)


@pytest.mark.parametrize("protocol", PROTOCOLS[1:])
async def test_older_protocols_bring_the_same_bytes(protocol: str) -> None:
    model, net = model_of(recipe=recipe_from("unixfs-v0-2015")), BitswapNet()
    async with (
        node_of(net, "seed", model.blocks, protocols=[protocol]),
        node_of(net, "taker") as (taker, _, _),
    ):
        lane = taker.source("seed").open_lane()
        got = await asyncio.to_thread(fetch, lane, model.file, 0, model.file.map.leaves)
        assert got == model.data


async def test_fetch_blocks_brings_what_is_there_and_none_for_the_rest() -> None:
    net = BitswapNet()
    async with node_of(net, "seed", MODEL.blocks), node_of(net, "taker") as (taker, _, _):
        source = taker.source("seed")
        cids = [MODEL.root, ABSENT, MODEL.file.map.leaf_cid(0)]
        root, absent, leaf = await asyncio.to_thread(source.fetch_blocks, cids)
        assert root == blocks_of_model()[MODEL.root.multihash]
        assert absent is None
        assert leaf == MODEL.data[:LEAF]


async def test_ask_tells_what_the_peer_has() -> None:
    net = BitswapNet()
    async with node_of(net, "seed", MODEL.blocks), node_of(net, "taker") as (taker, _, _):
        assert await taker.ask("seed", [ABSENT, MODEL.root]) == [MODEL.root]
        with pytest.raises(SourceGone):
            await taker.ask("nobody", [MODEL.root])


async def test_block_that_comes_instead_of_have_is_not_asked_for_again() -> None:
    async with asking() as (peer, bitswap, _):
        peer.answer = honest(blocks_of_model())
        assert await bitswap.ask("scripted", [MODEL.root]) == [MODEL.root]
        peer.answer = lambda message: None  # Helia sends no block twice within five seconds
        source = bitswap.source("scripted")
        for _ in range(2):
            (block,) = await asyncio.to_thread(source.fetch_blocks, [MODEL.root])
            assert block == blocks_of_model()[MODEL.root.multihash]
        assert peer.wanted == [MODEL.root]


async def test_leaf_that_was_looked_at_is_not_asked_for_again_by_the_transfer() -> None:
    async with asking() as (peer, bitswap, _):
        peer.answer = honest(blocks_of_model())
        source = bitswap.source("scripted")
        leaf = MODEL.file.map.leaf_cid(1)
        await asyncio.to_thread(source.fetch_blocks, [leaf])
        got = await asyncio.to_thread(fetch, source.open_lane(), MODEL.file, 0, 3)
        assert got == MODEL.data[: 3 * LEAF]
        assert peer.wanted == [leaf, MODEL.file.map.leaf_cid(0), MODEL.file.map.leaf_cid(2)]


async def test_block_that_crosses_with_a_cancel_is_there_for_the_next_run() -> None:
    async with asking() as (peer, bitswap, swarm):
        lane = bitswap.source("scripted").open_lane()
        await asyncio.to_thread(lane.begin, MODEL.file, 0, 2)
        await until(lambda: len(peer.wanted) == 2)
        lane.end()
        await until(lambda: len(peer.cancelled) == 2)
        late = [(cid, blocks_of_model()[cid.multihash]) for cid in peer.wanted]
        await peer.send(swarm.peer_id, encode_answer(late, BITSWAP_120))
        assert await asyncio.to_thread(fetch, lane, MODEL.file, 0, 2) == MODEL.data[: 2 * LEAF]
        assert len(peer.wanted) == 2


async def test_blocks_that_come_instead_of_have_when_too_many_then_asked_for_again() -> None:
    raw = [bytes([number % 256]) * (number + 1) for number in range(2 * MAX_KEPT)]
    cids = [Cid.raw_sha256(hashlib.sha256(data).digest()) for data in raw]
    blocks = {cid.multihash: data for cid, data in zip(cids, raw, strict=True)}
    async with asking() as (peer, bitswap, _):
        peer.answer = honest(blocks)
        for start in range(0, len(cids), MAX_ASKED):
            part = cids[start : start + MAX_ASKED]
            assert await bitswap.ask("scripted", part) == part
        asked = len(peer.wanted)
        source = bitswap.source("scripted")
        assert await asyncio.to_thread(source.fetch_blocks, cids) == raw
        assert len(peer.wanted) == asked + len(cids) - MAX_KEPT


async def test_leaves_are_asked_for_together_and_given_up_when_the_run_ends() -> None:
    async with asking() as (peer, bitswap, _):
        lane = bitswap.source("scripted").open_lane()
        await asyncio.to_thread(lane.begin, MODEL.file, 0, 5)
        await until(lambda: len(peer.wanted) == 5)
        assert len(peer.messages) == 1
        lane.end()
        await until(lambda: len(peer.cancelled) == 5)
        assert sorted(peer.cancelled, key=str) == sorted(peer.wanted, key=str)


async def test_aborted_lane_wakes_its_reader_and_works_again() -> None:
    async with asking() as (peer, bitswap, _):
        lane = bitswap.source("scripted").open_lane()
        await asyncio.to_thread(lane.begin, MODEL.file, 0, 2)
        view = memoryview(bytearray(LEAF))
        reading = asyncio.create_task(asyncio.to_thread(lane.read_leaf, view))
        await until(lambda: bool(peer.messages))
        lane.abort()
        with pytest.raises(SourceGone):
            await reading
        peer.answer = honest(blocks_of_model())
        assert await asyncio.to_thread(fetch, lane, MODEL.file, 0, 2) == MODEL.data[: 2 * LEAF]


async def test_two_lanes_that_need_one_leaf_ask_once_and_both_get_it() -> None:
    async with asking() as (peer, bitswap, _):
        source = bitswap.source("scripted")
        lanes = [source.open_lane(), source.open_lane()]
        for lane in lanes:
            await asyncio.to_thread(lane.begin, MODEL.file, 3, 4)
        await until(lambda: bool(peer.messages))
        assert peer.wanted == [MODEL.file.map.leaf_cid(3)]
        await peer.send("taker", honest(blocks_of_model())(peer.messages[0]))
        for lane in lanes:
            view = memoryview(bytearray(LEAF))
            await asyncio.to_thread(lane.read_leaf, view)
            assert view == MODEL.data[3 * LEAF : 4 * LEAF]


async def test_peer_that_leaves_fails_who_waits_and_serves_again_when_it_is_back() -> None:
    async with asking() as (peer, bitswap, _):
        lane = bitswap.source("scripted").open_lane()
        await asyncio.to_thread(lane.begin, MODEL.file, 0, 2)
        view = memoryview(bytearray(LEAF))
        reading = asyncio.create_task(asyncio.to_thread(lane.read_leaf, view))
        await until(lambda: bool(peer.messages))
        net = peer.swarm.net
        net.cut("scripted")
        with pytest.raises(SourceGone):
            await reading
        again = ScriptedPeer(net)
        again.answer = honest(blocks_of_model())
        assert await asyncio.to_thread(fetch, lane, MODEL.file, 0, 2) == MODEL.data[: 2 * LEAF]


Answers = Callable[[Message], Iterable[Buffer]]


def wrong_blocks(message: Message) -> list[Buffer]:
    wrong = [(entry.cid, b"wrong %d" % at) for at, entry in enumerate(message.entries)]
    return encode_answer(wrong, BITSWAP_120)


def unknown_hash(message: Message) -> list[Buffer]:
    parts = encode_answer([(entry.cid, b"x") for entry in message.entries], BITSWAP_120)
    return [b"".join(parts).replace(b"\x01\x55\x12\x20", b"\x01\x55\x11\x14")]


@pytest.mark.parametrize("answer", [wrong_blocks, unknown_hash])
async def test_peer_that_sends_wrong_blocks_is_dropped_and_counted(answer: Answers) -> None:
    async with asking() as (peer, bitswap, swarm):
        peer.answer = answer
        lane = bitswap.source("scripted").open_lane()
        with pytest.raises((CidMismatch, SourceGone)):
            await asyncio.to_thread(fetch, lane, MODEL.file, 0, MAX_UNREQUESTED + 2)
        await until(lambda: swarm.refused["blocks nobody asked for"] == 1)


async def test_wrong_block_among_right_ones_is_never_handed_out() -> None:
    async with asking() as (peer, bitswap, swarm):
        blocks = blocks_of_model()

        def answer(message: Message) -> list[Buffer]:
            asked = [entry.cid for entry in message.entries if not entry.is_cancel]
            right = [(cid, blocks[cid.multihash]) for cid in asked]
            return encode_answer([(asked[0], b"wrong"), *right], BITSWAP_120) if asked else []

        peer.answer = answer
        lane = bitswap.source("scripted").open_lane()
        assert await asyncio.to_thread(fetch, lane, MODEL.file, 0, 3) == MODEL.data[: 3 * LEAF]
        assert not swarm.refused


async def test_leaf_of_a_size_that_its_parent_denies_is_refused() -> None:
    # The hash is right, so the peer did not lie: the tree did, and the leaf does not fit.
    async with asking() as (peer, bitswap, _):
        peer.answer = honest(blocks_of_model())
        lane = bitswap.source("scripted").open_lane()
        await asyncio.to_thread(lane.begin, MODEL.file, 0, 1)
        with pytest.raises(SourceRefused, match="another size"):
            await asyncio.to_thread(lane.read_leaf, memoryview(bytearray(LEAF - 1)))


async def test_small_block_does_not_keep_a_large_message_alive() -> None:
    async with asking() as (peer, bitswap, _):
        lane = bitswap.source("scripted").open_lane()
        await asyncio.to_thread(lane.begin, MODEL.file, 0, 1)
        await until(lambda: bool(peer.messages))
        padding = encode_bytes_field(99, bytes(1 << 20))
        talk = bitswap.client.with_peer("scripted")
        claims = await asyncio.to_thread(talk.claim, [(MODEL.file.map.leaf_cid(0), LEAF)])
        await peer.send("taker", [*honest(blocks_of_model())(peer.messages[0]), padding])
        block = await asyncio.to_thread(claims.take, MODEL.file.map.leaf_cid(0))
        assert isinstance(block, bytes)
        lane.abort()


async def test_peer_that_ends_every_stream_is_not_asked_for_ever() -> None:
    class Resetting(ScriptedPeer):
        async def _take(self, peer_id: str, frames: Sequence[bytes]) -> None:
            await super()._take(peer_id, frames)
            raise RemoteProtocolError("not so")

    net = BitswapNet()
    peer = Resetting(net)
    async with node_of(net, "taker") as (bitswap, _, _):
        with pytest.raises(SourceGone):
            await asyncio.to_thread(bitswap.source("scripted").fetch_blocks, [MODEL.root])
        assert len(peer.messages) == MAX_REOPENED + 1


async def test_malformed_message_ends_the_stream_and_not_the_peer() -> None:
    async with asking() as (peer, bitswap, swarm):
        with pytest.raises(SourceGone):
            await peer.send("taker", [b"\xff\xff\xff"])
        peer.answer = honest(blocks_of_model())
        blocks = await asyncio.to_thread(bitswap.source("scripted").fetch_blocks, [MODEL.root])
        assert blocks != [None]
        assert not swarm.refused


async def test_old_peer_answers_a_question_with_the_block() -> None:
    net = BitswapNet()
    peer = ScriptedPeer(net, protocols=(BITSWAP_100,))
    cid = Cid(0, 0x70, MODEL.root.multihash)

    def answer(message: Message) -> list[Buffer] | None:
        asked = [entry.cid for entry in message.entries if not entry.is_cancel]
        block = blocks_of_model()[MODEL.root.multihash]
        return encode_answer([(each, block) for each in asked], BITSWAP_100) if asked else None

    peer.answer = answer
    async with node_of(net, "taker") as (bitswap, _, _):
        assert await bitswap.ask("scripted", [cid]) == [cid]


def test_source_names_its_kind_and_its_peer() -> None:
    source = BitswapSource("12D3KooPeer", lambda peer_id: pytest.fail("not asked"))
    assert source.source_id == "bitswap:12D3KooPeer"

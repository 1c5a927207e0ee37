"""What peers that speak bitswap are sent, and what those that flood or do not read cannot do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pytest

from mirrornode.content.block import Block
from mirrornode.content.cid import Cid
from mirrornode.errors import SourceGone
from mirrornode.store.catalog import open_catalog
from mirrornode.transfer.pacing import Uploads
from mirrornode.wire.bitswap import BITSWAP_120, Entry, WantType, encode_wantlist
from mirrornode.wire.bitswap_ledger import ENTRIES_BURST
from support.bitswap_net import BitswapNet, ScriptedPeer, node_of
from support.models import LEAF, model_of
from support.planes import shelf_of
from support.shared_files import SMALL_CHUNKS, content, overwrite, record
from support.waiting import until

MODEL = model_of()
ABSENT = Cid.raw_sha256(b"a" * 32)
LARGE = [
    Block(Cid.raw_sha256(hashlib.sha256(data).digest()), data)
    for data in (content(300_000 + number) for number in range(6))
]


def wants(cids: Iterable[Cid], *, have: bool = False) -> list[bytes]:
    kind = WantType.HAVE if have else WantType.BLOCK
    entries = [Entry(cid, want=kind, send_dont_have=True) for cid in cids]
    return [encode_wantlist(entries, BITSWAP_120)]


def got(peer: ScriptedPeer) -> list[bytes]:
    return [bytes(block.data) for message in peer.messages for block in message.blocks]


def told(peer: ScriptedPeer) -> tuple[list[Cid], list[Cid]]:
    haves = [cid for message in peer.messages for cid in message.haves]
    return haves, [cid for message in peer.messages for cid in message.dont_haves]


async def test_peer_gets_blocks_presences_and_what_is_pending() -> None:
    net, uploads = BitswapNet(), Uploads()
    peer = ScriptedPeer(net)
    async with node_of(net, "seed", [*MODEL.blocks, *LARGE], uploads=uploads) as (_, _, shelf):
        await peer.send("seed", wants([block.cid for block in LARGE]))
        await peer.send("seed", wants([ABSENT, LARGE[0].cid], have=True))
        await until(lambda: len(got(peer)) == len(LARGE) and told(peer)[1] == [ABSENT])
        assert sorted(got(peer)) == sorted(block.data for block in LARGE)
        assert max(message.pending_bytes for message in peer.messages) > 0
        total = sum(len(block.data) for block in LARGE)
        await until(lambda: uploads.sent_bytes == total)
        assert shelf.served > 0


async def test_question_is_answered_without_reading_the_block() -> None:
    net = BitswapNet()
    peer = ScriptedPeer(net)
    async with node_of(net, "seed", LARGE) as (_, _, shelf):
        await peer.send("seed", wants([LARGE[0].cid, ABSENT], have=True))
        await until(lambda: told(peer) == ([LARGE[0].cid], [ABSENT]))
        assert shelf.reads == []


async def test_block_that_comes_later_is_sent_then() -> None:
    net = BitswapNet()
    peer = ScriptedPeer(net)
    async with node_of(net, "seed") as (bitswap, _, shelf):
        await peer.send("seed", wants([LARGE[0].cid]))
        await until(lambda: told(peer)[1] == [LARGE[0].cid])
        assert bitswap.server.wants_of("scripted") == 1
        shelf.blocks[LARGE[0].cid.multihash] = LARGE[0].data
        await until(lambda: got(peer) == [LARGE[0].data])
        assert bitswap.server.wants_of("scripted") == 0


async def test_file_that_changed_is_not_sent_but_denied(tmp_path: Path) -> None:
    net = BitswapNet()
    peer = ScriptedPeer(net)
    with open_catalog(tmp_path / "home") as catalog:
        path = MODEL.write(tmp_path)
        record(catalog, path, SMALL_CHUNKS)
        shelf = shelf_of(catalog)
        leaf = MODEL.file.map.leaf_cid(0)
        assert shelf.block_sizes([leaf, MODEL.root, ABSENT]) == {
            leaf: LEAF,
            MODEL.root: len(shelf.read_block(MODEL.root) or b""),
            ABSENT: None,
        }
        overwrite(path, bytes(len(MODEL.data)))
        async with node_of(net, "seed", served=shelf):
            await peer.send("seed", wants([leaf]))
            await until(lambda: told(peer)[1] == [leaf])
        assert got(peer) == []


async def test_flood_of_wants_drops_the_peer_and_no_other() -> None:
    net = BitswapNet()
    peer, other = ScriptedPeer(net), ScriptedPeer(net, "other")
    async with node_of(net, "seed", LARGE) as (_, swarm, _):
        message = wants([Cid.raw_sha256(number.to_bytes(32, "big")) for number in range(4000)])

        async def flood() -> None:
            for _ in range(10 * ENTRIES_BURST // 4000):  # some is allowed again meanwhile
                await peer.send("seed", message)

        with pytest.raises(SourceGone):
            await flood()
        await until(lambda: swarm.refused["flood of wants"] == 1)
        await other.send("seed", wants([LARGE[0].cid]))
        await until(lambda: got(other) == [LARGE[0].data])


async def test_peer_that_does_not_read_holds_two_answers_and_stops_nobody() -> None:
    net = BitswapNet()
    peer, other = ScriptedPeer(net), ScriptedPeer(net, "other")
    async with node_of(net, "seed", LARGE) as (_, _, shelf):
        peer.swarm.gate.clear()
        await peer.send("seed", wants([block.cid for block in LARGE]))
        await other.send("seed", wants([block.cid for block in LARGE]))
        await until(lambda: len(got(other)) == len(LARGE))
        assert len(shelf.reads) <= len(LARGE) + 2
        assert got(peer) == []
        peer.swarm.gate.set()
        await until(lambda: len(got(peer)) == len(LARGE))


class CountedTurns(Uploads):
    """Gives every turn at once, and keeps what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.piece_bytes = 100_000
        self.turns: list[tuple[str, int, bool]] = []

    async def turn(self, peer: str, size_bytes: int, *, is_small: bool) -> None:
        self.turns.append((peer, size_bytes, is_small))


async def test_blocks_wait_for_their_turns_when_uploads_are_limited() -> None:
    net, uploads = BitswapNet(), CountedTurns()
    peer = ScriptedPeer(net)
    async with node_of(net, "seed", LARGE[:1], uploads=uploads):
        await peer.send("seed", wants([LARGE[0].cid]))
        await until(lambda: len(got(peer)) == 1)
    sizes = [size for name, size, is_small in uploads.turns if name == "scripted" and not is_small]
    assert sizes == [100_000, 100_000, 100_000]


async def test_peer_that_left_is_forgotten() -> None:
    net = BitswapNet()
    peer = ScriptedPeer(net)
    async with node_of(net, "seed") as (bitswap, _, _):
        await peer.send("seed", wants([ABSENT]))
        await until(lambda: bitswap.server.wants_of("scripted") == 1)
        net.cut("scripted")
        assert bitswap.server.wants_of("scripted") == 0
        await bitswap.take("scripted", wants([ABSENT]))  # was on its way when it left
        assert bitswap.server.wants_of("scripted") == 0

"""Decoders of what content is made of: CIDs, nodes, files and folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

from fuzz.decoder import Decoder, text
from mirrornode.content.block import Block, multihash_of
from mirrornode.content.cid import DAG_PB, IDENTITY, RAW, SHA2_256, Cid
from mirrornode.content.dagcbor import Value, decode_dagcbor, encode_dagcbor
from mirrornode.content.dagpb import Link, Node, decode_node, encode_node
from mirrornode.content.directory import DirEntry, build_directory, build_symlink
from mirrornode.content.recipe import UNIXFS_V0_2015, UNIXFS_V1_2025
from mirrornode.content.unixfs import Kind, Mtime, UnixFs, decode_unixfs, encode_unixfs
from mirrornode.content.varint import encode_uvarint
from mirrornode.content.walk import (
    Walk,
    WalkLimits,
    run_walk,
    walk_directory,
    walk_file,
    walk_tree,
)
from mirrornode.errors import ContentError, TargetError
from support.blocks import Shelf

SHARDED = replace(UNIXFS_V0_2015, hamt_threshold_bytes=0)
ROOT = Cid.v1(DAG_PB, multihash_of(SHA2_256, b"root"))
RAWS = tuple(Cid.v1(RAW, multihash_of(SHA2_256, bytes((n,)))) for n in range(4))
CIDS = (
    *RAWS,
    ROOT,
    Cid(0, DAG_PB, multihash_of(SHA2_256, b"old")),
    Cid.v1(RAW, multihash_of(IDENTITY, b"inline")),
)
# Small enough that a DAG that leads back to itself ends soon.
LIMITS = WalkLimits(max_depth=16, max_nodes=300, max_entries=500, max_leaves=2000, max_batch=64)


def _messages() -> list[UnixFs]:
    return [
        UnixFs(Kind.FILE, data=b"hello world", filesize=11),
        UnixFs(Kind.RAW, data=b"old", filesize=3),
        UnixFs(Kind.FILE, filesize=41, blocksizes=[9, 9, 9, 9, 5]),
        UnixFs(Kind.DIRECTORY, mode=0o755, mtime=Mtime(1_655_158_632, 5)),
        UnixFs(Kind.SYMLINK, data=b"../elsewhere", mtime=Mtime(-1)),
        UnixFs(Kind.HAMT_SHARD, data=b"\x01\x02", hash_type=0x22, fanout=256),
    ]


LEAF = encode_node([], encode_unixfs(UnixFs(Kind.FILE, data=b"123456789", filesize=9)))
FILE = encode_node(
    [Link(Cid.v1(DAG_PB, multihash_of(SHA2_256, LEAF)).binary, b"", len(LEAF))] * 4,
    encode_unixfs(UnixFs(Kind.FILE, filesize=36, blocksizes=[9] * 4)),
)


def _asked(
    walk: Callable[[Cid, WalkLimits], Walk[object]], root: Cid, blocks: Sequence[Block]
) -> list[bytes]:
    """Return the blocks of a valid DAG in the order in which a walk asks for them."""
    shelf = Shelf(blocks)
    run_walk(walk(root, LIMITS), shelf.load)
    asked = [cid for batch in shelf.requests for cid in batch]
    return [block.data for block in shelf.load(asked)]


def _files() -> list[list[bytes]]:
    shelf = [UNIXFS_V1_2025.node_block(data) for data in (FILE, LEAF)]
    return [_asked(walk_file, block.cid, shelf) for block in shelf]


def _folders() -> list[list[bytes]]:
    entries = [DirEntry(f"file-{n}.bin", CIDS[n % len(CIDS)], n * 1000) for n in range(60)]
    built = (build_directory(entries[:5], UNIXFS_V1_2025), build_directory(entries, SHARDED))
    return [_asked(walk_directory, each.root, each.blocks) for each in built]


def _trees() -> list[list[bytes]]:
    """Return a folder with a file, a symlink, raw blocks and a folder inside, basic and sharded."""
    blocks = [UNIXFS_V1_2025.node_block(data) for data in (FILE, LEAF)]
    blocks.append(build_symlink("../elsewhere", UNIXFS_V1_2025)[1])
    inside = [DirEntry(f"raw-{n}", cid, 1) for n, cid in enumerate(RAWS)]
    dags = []
    for recipe in (UNIXFS_V1_2025, SHARDED):
        below = build_directory(inside, recipe)
        entries = [DirEntry(f"entry-{n}", block.cid, 0) for n, block in enumerate(blocks)]
        top = build_directory([*entries, DirEntry("below", below.root, 0)], recipe)
        dags.append(_asked(walk_tree, top.root, [*blocks, *below.blocks, *top.blocks]))
    return dags


def _nodes() -> list[bytes]:
    links = [Link(cid.binary, b"", 262_158) for cid in CIDS[:5]]
    return [
        b"",
        *(encode_node([], encode_unixfs(message)) for message in _messages()),
        encode_node(links, encode_unixfs(_messages()[2])),
        encode_node([Link(CIDS[5].binary, b"name"), Link(CIDS[6].binary, None)], None),
        *(blocks[0] for blocks in _folders()),
    ]


def _rows(dags: Callable[[], list[list[bytes]]]) -> Callable[[], list[bytes]]:
    """Return a corpus of DAGs, each a row of blocks with their lengths before them."""
    return lambda: [b"".join(encode_uvarint(len(data)) + data for data in dag) for dag in dags()]


def _split_dag(data: bytes) -> list[bytes]:
    """Return the blocks of such a row; what is broken beyond that is one block."""
    blocks: list[bytes] = []
    offset = 0
    while offset < len(data) and len(blocks) < 64:
        length, width = data[offset], 1
        if length >= 0x80 and offset + 1 < len(data):
            length, width = length & 0x7F | data[offset + 1] << 7, 2
        blocks.append(data[offset + width : offset + width + length])
        offset += width + length
    return blocks or [b""]


def _walking(walk: Callable[[Cid, WalkLimits], Walk[object]]) -> Callable[[bytes], object]:
    """Return a decoder that walks a DAG whose blocks come as they are, whatever was asked for."""

    def decode(data: bytes) -> object:
        blocks = _split_dag(data)
        given = 0

        def load(cids: Sequence[Cid]) -> list[Block]:
            nonlocal given
            start, given = given, given + len(cids)
            return [Block(cid, blocks[(start + n) % len(blocks)]) for n, cid in enumerate(cids)]

        return run_walk(walk(ROOT, LIMITS), load)

    return decode


def _check_cid(data: bytes, value: object) -> None:
    assert isinstance(value, Cid)
    assert value.binary == data
    assert Cid.parse(str(value)) == value


def _check_node(data: bytes, value: object) -> None:
    assert isinstance(value, Node)
    again = decode_node(encode_node(value.links, value.data))
    assert again.data == value.data
    assert sorted(again.links, key=repr) == sorted(value.links, key=repr)


def _documents() -> list[bytes]:
    values: list[Value] = [
        {"roots": list(CIDS[:5]), "version": 1},
        {"Value": b"/ipfs/x", "TTL": 300 * 10**9, "Validity": b"2026", "Sequence": 2**64 - 1},
        [None, True, -(2**64), 1.5, "text", {"": [[], {}]}, 23, 24, 255, 256, 65_536],
    ]
    return [encode_dagcbor(value) for value in values]


def _check_dagcbor(data: bytes, value: object) -> None:
    encoded = encode_dagcbor(cast("Value", value))
    assert len(encoded) == len(data), "a second way of writing the same"  # keys may be unsorted
    assert decode_dagcbor(encoded) == value


def _check_unixfs(data: bytes, value: object) -> None:
    assert isinstance(value, UnixFs)
    assert decode_unixfs(encode_unixfs(value)) == value


CONTENT = (
    Decoder("cid", lambda: [c.binary for c in CIDS], Cid.from_bytes, (ContentError,), _check_cid),
    Decoder(
        "cid-text",
        lambda: [str(c).encode() for c in CIDS],
        lambda data: Cid.parse(text(data)),
        (ContentError,),
        is_text=True,
    ),
    Decoder("dag-cbor", _documents, decode_dagcbor, (ContentError,), _check_dagcbor),
    Decoder("dag-pb", _nodes, decode_node, (ContentError,), _check_node),
    Decoder(
        "unixfs",
        lambda: [encode_unixfs(message) for message in _messages()],
        decode_unixfs,
        (ContentError,),
        _check_unixfs,
    ),
    Decoder("file", _rows(_files), _walking(walk_file), (ContentError, TargetError)),
    Decoder("folder", _rows(_folders), _walking(walk_directory), (ContentError, TargetError)),
    Decoder("tree", _rows(_trees), _walking(walk_tree), (ContentError, TargetError)),
)

"""Trees of which blocks may be missing, and trees made to harm."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from mirrornode.content.block import Block
from mirrornode.content.cid import RAW, Cid
from mirrornode.content.dag_links import links_of
from mirrornode.content.directory import DirEntry, build_directory, build_symlink
from mirrornode.content.file_dag import import_bytes
from mirrornode.content.recipe import UNIXFS_V1_2025
from mirrornode.content.walk import run_walk, walk_tree
from mirrornode.content.walking import DEFAULT_LIMITS, WalkLimits
from mirrornode.errors import BlockNotFound, LimitExceeded, MalformedNode
from mirrornode.mirror.partial_tree import PartialTree, read_tree
from support.cars import dag_pb, raw
from support.shared_files import SMALL_CHUNKS, content

SHARDED = dataclasses.replace(UNIXFS_V1_2025, name="custom", hamt_threshold_bytes=100)


class Blocks:
    """Blocks in memory, some of them taken away."""

    def __init__(self) -> None:
        self.known: dict[bytes, bytes] = {}

    def add(self, blocks: Sequence[Block]) -> None:
        self.known.update((block.cid.multihash, block.data) for block in blocks)

    def file(self, data: bytes, name: str) -> DirEntry:
        dag, blocks = import_bytes([data], SMALL_CHUNKS)
        self.add([*dag.inner, *blocks])
        return DirEntry(name, dag.root, dag.tsize_bytes)

    def folder(self, name: str, *entries: DirEntry, sharded: bool = False) -> DirEntry:
        dag = build_directory(entries, SHARDED if sharded else SMALL_CHUNKS)
        self.add(dag.blocks)
        return DirEntry(name, dag.root, dag.tsize_bytes)

    def load(self, cids: Sequence[Cid]) -> list[Block]:
        for cid in cids:
            if cid.multihash not in self.known:
                raise BlockNotFound(cid)
        return [Block.verify(cid, self.known[cid.multihash]) for cid in cids]

    def raw_size(self, cid: Cid) -> int | None:
        found = self.known.get(cid.multihash)
        return None if found is None else len(found)

    def read(self, root: Cid, limits: WalkLimits = DEFAULT_LIMITS) -> PartialTree:
        return read_tree(root, self.load, self.raw_size, limits)


@pytest.fixture
def blocks() -> Blocks:
    return Blocks()


def test_read_when_all_is_there_then_as_walk_tree(blocks: Blocks) -> None:
    link, block, size = build_symlink("a.bin", SMALL_CHUNKS)
    blocks.add([block])
    many = [blocks.file(b"%d" % number, f"{number:03}.txt") for number in range(50)]
    root = blocks.folder(
        "",
        blocks.file(content(5000), "a.bin"),
        blocks.file(b"", "empty"),
        DirEntry("link", link, size),
        blocks.folder("sub", blocks.folder("deep", blocks.file(content(70), "x"))),
        blocks.folder("many", *many, sharded=True),
    )
    tree = blocks.read(root.cid)
    assert tree.missing == []
    assert tree.entries == run_walk(walk_tree(root.cid), blocks.load)


def test_read_when_nodes_lack_then_their_paths_and_the_rest(blocks: Blocks) -> None:
    big = blocks.file(content(5000), "big")
    one = blocks.file(b"one", "one")
    sub = blocks.folder("sub", blocks.file(b"two", "two"))
    shards = [blocks.file(b"%d" % number, f"{number:03}.txt") for number in range(300)]
    wide = blocks.folder("wide", *shards, sharded=True)
    root = blocks.folder("", big, one, sub, wide)
    shard = next(
        link.cid for link in links_of(wide.cid, blocks.known[wide.cid.multihash]) if not link.name
    )
    for cid in (big.cid, one.cid, sub.cid, shard):
        del blocks.known[cid.multihash]
    tree = blocks.read(root.cid)
    assert tree.missing == ["big", "one", "sub", "wide/"]
    assert [entry.path for entry in tree.entries] == [""]
    del blocks.known[root.cid.multihash]
    assert blocks.read(root.cid) == PartialTree([], [""])


def test_read_when_leaves_lack_then_the_file_is_known_all_the_same(blocks: Blocks) -> None:
    root = blocks.file(content(4000), "")
    for key in [key for key in blocks.known if key != root.cid.multihash]:
        del blocks.known[key]
    tree = blocks.read(root.cid)
    assert tree.missing == []
    assert tree.entries[0].file is not None
    assert tree.entries[0].file.leaves == 4


def test_read_when_folders_are_too_deep_or_too_many_then_limit(blocks: Blocks) -> None:
    entry = blocks.file(b"x", "x")
    for _ in range(DEFAULT_LIMITS.max_path_depth + 2):
        entry = blocks.folder("d", entry)
    with pytest.raises(LimitExceeded, match="levels deep"):
        blocks.read(entry.cid)
    # Each folder holds the one below twice: 2 ** 40 entries from 40 blocks.
    entry = blocks.file(b"x", "x")
    for _ in range(40):
        entry = blocks.folder("a", entry, dataclasses.replace(entry, name="b"))
    with pytest.raises(LimitExceeded, match="2000 directory entries"):
        blocks.read(entry.cid, WalkLimits(max_entries=2000))


def test_read_when_root_is_raw_or_strange_then_file_or_malformed(blocks: Blocks) -> None:
    block = raw(b"content")
    blocks.add([block])
    [entry] = blocks.read(block.cid).entries
    assert (entry.kind, entry.cid.codec) == ("file", RAW)
    metadata = dag_pb(bytes.fromhex("0a020803"))
    blocks.add([metadata])
    with pytest.raises(MalformedNode, match="metadata"):
        blocks.read(metadata.cid)

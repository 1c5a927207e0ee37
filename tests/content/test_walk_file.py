"""Reading file trees into maps."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from mirrornode.content.block import Block
from mirrornode.content.cid import BLAKE3, DAG_PB, RAW, SHA2_256, Cid
from mirrornode.content.dagpb import Link, encode_node
from mirrornode.content.file_dag import build_file_dag, import_bytes
from mirrornode.content.leaf_form import LeafForm, leaf_block_size, leaf_multihash
from mirrornode.content.recipe import UNIXFS_V0_2015, UNIXFS_V1_2025, Recipe, recipe_from
from mirrornode.content.unixfs import Kind, UnixFs, encode_unixfs
from mirrornode.content.walk import FileMap, run_walk, run_walk_async, walk_file
from support.blocks import Shelf, raw_link, read_car, read_file
from support.fixtures import fixtures_dir

CONTENT = hashlib.shake_128(b"walk").digest(5000)


def shelve(content: bytes, recipe: Recipe) -> tuple[Shelf, Cid]:
    dag, leaves = import_bytes([content], recipe)
    return Shelf([*dag.inner, *leaves]), dag.root


def small(profile: str = "unixfs-v1-2025", links: int = 5, **changes: object) -> Recipe:
    recipe = recipe_from(profile, chunker="size-100", max_links=links)
    return replace(recipe, **changes)  # type: ignore[arg-type]  # fields of the dataclass


def leaf_of(chunk: bytes, kind: Kind, **fields: int) -> bytes:
    message = UnixFs(kind, data=chunk, filesize=len(chunk), **fields)  # type: ignore[arg-type]  # mode
    return encode_node([], encode_unixfs(message))


def walk(shelf: Shelf, root: Cid) -> FileMap:
    return run_walk(walk_file(root), shelf.load)


@pytest.mark.parametrize(
    ("recipe", "form"),
    [
        (small(), LeafForm.RAW),
        (small("unixfs-v0-2015"), LeafForm.DAG_PB),
        (small("unixfs-v0-2015", layout="trickle"), LeafForm.DAG_PB_OLD),
        (small(layout="trickle"), LeafForm.RAW),
        (small(hash_code=BLAKE3), LeafForm.RAW),
        (small(inline_limit_bytes=32), LeafForm.RAW),
    ],
)
def test_map_when_built_by_recipe_then_leaves_tile_the_file(recipe: Recipe, form: LeafForm) -> None:
    shelf, root = shelve(CONTENT, recipe)
    file = walk(shelf, root)
    assert (file.leaves, file.leaf_form, file.hash_code) == (50, form, recipe.hash_code)
    assert file.size_bytes == 5000
    assert list(file.starts) == list(range(0, 5000, 100))
    assert list(file.lengths) == [100] * 50
    assert file.inline == []
    assert file.inner[0].cid == root
    assert read_file(shelf, file) == CONTENT


@pytest.mark.parametrize("recipe", [small(), small("unixfs-v0-2015")])
def test_map_when_walked_then_only_inner_nodes_and_leaf_samples_are_asked_for(
    recipe: Recipe,
) -> None:
    shelf, root = shelve(CONTENT, recipe)
    file = walk(shelf, root)
    inner = {block.cid.multihash for block in file.inner}
    samples = set() if recipe.raw_leaves else {file.multihashes[0], file.multihashes[-1]}
    assert shelf.asked == inner | samples
    # One request for the root, one for each level below it, one for the samples.
    assert len(shelf.requests) == 3 + bool(samples)


def test_map_when_wide_then_requests_are_bounded() -> None:
    shelf, root = shelve(CONTENT * 2, small(links=4, chunker="size-3"))
    run_walk(walk_file(root), shelf.load)
    assert max(len(batch) for batch in shelf.requests) == 256


def test_leaf_cid_when_v0_tree_then_v0_unless_leaves_are_raw() -> None:
    shelf, root = shelve(CONTENT, small("unixfs-v0-2015"))
    assert str(walk(shelf, root).leaf_cid(0)).startswith("Qm")
    shelf, root = shelve(CONTENT, small("unixfs-v0-2015", raw_leaves=True))
    cid = walk(shelf, root).leaf_cid(49)
    assert (cid.version, cid.codec) == (1, RAW)


@pytest.mark.parametrize("recipe", [UNIXFS_V1_2025, UNIXFS_V0_2015])
@pytest.mark.parametrize("content", [b"", b"abc"])
def test_map_when_one_block_then_one_leaf_and_its_bytes(recipe: Recipe, content: bytes) -> None:
    shelf, root = shelve(content, recipe)
    file = walk(shelf, root)
    assert (file.leaves, list(file.starts), list(file.lengths)) == (1, [0], [len(content)])
    assert (file.leaf_cid(0), file.leaf_form) == (root, recipe.leaf_form)
    assert (file.inner_root_bytes, file.inner, file.inline) == (content, [], [])


@pytest.mark.parametrize("raw_leaves", [True, False])
def test_map_when_root_is_identity_then_nothing_is_asked_for(raw_leaves: bool) -> None:
    recipe = replace(UNIXFS_V1_2025, inline_limit_bytes=32, raw_leaves=raw_leaves)
    shelf, root = shelve(b"tiny", recipe)
    file = walk(shelf, root)
    assert root.is_identity
    assert shelf.requests == []
    assert (file.leaves, file.inline, file.inner) == (0, [(0, b"tiny")], [])
    assert file.inner_root_bytes == b"tiny"


def test_map_when_last_leaf_is_identity_then_its_bytes_are_inline() -> None:
    shelf, root = shelve(CONTENT[:520], small(inline_limit_bytes=32))
    file = walk(shelf, root)
    assert (file.leaves, file.inline) == (5, [(500, CONTENT[500:520])])
    assert read_file(shelf, file) == CONTENT[:520]


def test_map_when_single_leaf_has_mode_then_bytes_are_inline_and_block_is_kept() -> None:
    shelf = Shelf()
    root = shelf.put(leaf_of(b"abc", Kind.FILE, mode=0o644))
    file = walk(shelf, root)
    assert (file.leaves, file.inline, file.inner_root_bytes) == (0, [(0, b"abc")], b"abc")
    assert [block.cid for block in file.inner] == [root]


def test_map_when_inner_node_has_data_then_it_comes_before_its_children() -> None:
    shelf = Shelf()
    shelf.put(b"world", RAW)
    message = UnixFs(Kind.FILE, data=b"hello ", filesize=11, blocksizes=[5])
    root = shelf.put_node([raw_link(b"world")], message)
    file = walk(shelf, root)
    assert (file.inline, list(file.starts)) == ([(0, b"hello ")], [6])
    assert read_file(shelf, file) == b"hello world"


def test_map_when_leaves_mix_forms_then_the_rarer_ones_are_inline() -> None:
    shelf = Shelf()
    wrapped = leaf_of(b"odd", Kind.FILE)
    other = shelf.put(wrapped)
    for data in (b"one", b"two"):
        shelf.put(data, RAW)
    links = [raw_link(b"one"), Link(other.binary, b"", len(wrapped)), raw_link(b"two")]
    file = walk(shelf, shelf.put_file_node(links, [3, 3, 3]))
    assert (file.leaf_form, file.leaves) == (LeafForm.RAW, 2)
    assert file.inline == [(3, b"odd")]
    assert other in [block.cid for block in file.inner]
    assert read_file(shelf, file) == b"oneoddtwo"


def test_map_when_leaves_mix_hash_functions_then_the_rarer_ones_are_inline() -> None:
    shelf = Shelf()
    data = [b"one", b"two", b"odd"]
    cids = [
        Cid.v1(RAW, leaf_multihash(LeafForm.RAW, BLAKE3 if chunk == b"odd" else SHA2_256, chunk))
        for chunk in data
    ]
    shelf.add(Block.verify(cid, chunk) for cid, chunk in zip(cids, data, strict=True))
    links = [Link(cid.binary, b"", 3) for cid in cids]
    file = walk(shelf, shelf.put_file_node(links, [3, 3, 3]))
    assert (file.hash_code, file.leaves, file.inline) == (SHA2_256, 2, [(6, b"odd")])


@pytest.mark.parametrize("tsize", [None, 0, 99])
def test_map_when_tsize_is_not_that_of_a_leaf_then_it_is_loaded(tsize: int | None) -> None:
    shelf = Shelf()
    leaves = [shelf.put(leaf_of(chunk, Kind.FILE)) for chunk in (b"one", b"two")]
    root = shelf.put_file_node([Link(cid.binary, b"", tsize) for cid in leaves], [3, 3])
    file = walk(shelf, root)
    assert (file.leaf_form, file.leaves, file.inline) == (LeafForm.DAG_PB, 2, [])
    assert read_file(shelf, file) == b"onetwo"


def test_map_when_first_and_last_leaf_have_other_forms_then_each_is_looked_at() -> None:
    shelf = Shelf()
    chunks = [b"one", b"two", b"six", b"ten"]
    kinds = [Kind.FILE, Kind.FILE, Kind.RAW, Kind.RAW]
    cids = [shelf.put(leaf_of(*pair)) for pair in zip(chunks, kinds, strict=True)]
    size = leaf_block_size(LeafForm.DAG_PB, 3)
    root = shelf.put_file_node([Link(cid.binary, b"", size) for cid in cids], [3] * 4)
    file = walk(shelf, root)
    assert (file.leaves, file.leaf_form) == (2, LeafForm.DAG_PB)
    assert file.inline == [(6, b"six"), (9, b"ten")]
    assert read_file(shelf, file) == b"onetwosixten"


def test_map_when_same_sub_dag_repeats_then_its_block_is_asked_for_once() -> None:
    shelf, root = shelve(bytes(100 * 25 * 8), small())
    file = walk(shelf, root)
    assert file.leaves == 200
    asked = [cid for batch in shelf.requests for cid in batch]
    assert len(asked) == len(set(asked)) == len(file.inner)
    assert read_file(shelf, file) == bytes(20_000)


def test_map_when_a_hundred_thousand_leaves_then_it_is_complete() -> None:
    multihashes = [b"\x12\x20" + number.to_bytes(32, "big") for number in range(100_000)]
    dag = build_file_dag(multihashes, [1 << 20] * 100_000, UNIXFS_V1_2025)
    shelf = Shelf(dag.inner)
    file = run_walk(walk_file(dag.root), shelf.load)
    assert file.multihashes == multihashes
    assert (file.starts[-1], file.size_bytes) == (99_999 << 20, 100_000 << 20)
    assert (file.starts.itemsize, len(file.inner)) == (8, 99)


async def test_run_walk_async_when_driven_then_same_map() -> None:
    shelf, root = shelve(CONTENT, small())
    assert await run_walk_async(walk_file(root), shelf.load_async) == walk(shelf, root)


def test_run_walk_when_loader_fails_then_the_walk_is_closed() -> None:
    _, root = shelve(CONTENT, small())
    steps = walk_file(root)
    with pytest.raises(KeyError):
        run_walk(steps, Shelf().load)
    with pytest.raises(StopIteration):
        next(steps)


def test_map_when_real_multiblock_files_then_they_read_back() -> None:
    path = "car/directory-with-multilayer-hamt-and-multiblock-files.car"
    shelf = Shelf(read_car(fixtures_dir() / path))
    # SOURCE: ipfs/boxo gateway/testdata, basicDir/exampleA
    root = Cid.parse("bafybeigcisqd7m5nf3qmuvjdbakl5bdnh4ocrmacaqkpuh77qjvggmt2sa")
    file = walk(shelf, root)
    assert (file.size_bytes, file.leaves, root.codec) == (1026, 5, DAG_PB)
    assert read_file(shelf, file)[:20].isascii()

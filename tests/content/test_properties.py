"""Properties that hold for any bytes, any names and any recipe."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirrornode.content.block import Block
from mirrornode.content.cid import BLAKE3, DAG_PB, SHA2_256, SHA2_512, Cid
from mirrornode.content.dagpb import encode_node
from mirrornode.content.directory import DirEntry, build_directory
from mirrornode.content.file_dag import import_bytes
from mirrornode.content.recipe import Recipe
from mirrornode.content.walk import (
    WalkLimits,
    resolve_path,
    run_walk,
    walk_directory,
    walk_file,
    walk_tree,
)
from mirrornode.errors import ContentError, TargetError
from support.blocks import Shelf, read_file

SMALL = WalkLimits(max_depth=9, max_nodes=2000, max_leaves=5000, max_entries=500, max_batch=7)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    version = draw(st.sampled_from((0, 1)))
    return Recipe(
        name="custom",
        chunker=f"size-{draw(st.integers(1, 64))}",
        max_links=draw(st.integers(2, 9)),
        raw_leaves=draw(st.booleans()),
        cid_version=version,
        hash_code=draw(st.sampled_from((SHA2_256, SHA2_512, BLAKE3))) if version else SHA2_256,
        layout=draw(st.sampled_from(("balanced", "trickle"))),
        inline_limit_bytes=draw(st.sampled_from((0, 8, 32, 128))),
        hamt_fanout=draw(st.sampled_from((8, 16, 64, 256, 1024))),
        hamt_threshold_bytes=draw(st.sampled_from((0, 300, 262_144))),
        hamt_estimation=draw(st.sampled_from(("block-bytes", "links-bytes"))),
    )


names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20
).filter(lambda name: name not in (".", ".."))


@settings(max_examples=250, deadline=None)
@given(st.binary(max_size=1500), recipes(), st.lists(st.integers(0, 1500), max_size=6))
def test_file_when_any_bytes_and_recipe_then_it_reads_back(
    content: bytes, recipe: Recipe, cuts: list[int]
) -> None:
    dag, leaves = import_bytes([content], recipe)
    bounds = sorted({0, len(content), *(min(cut, len(content)) for cut in cuts)})
    pieces = [content[start:stop] for start, stop in pairwise(bounds)]
    assert import_bytes(pieces, recipe)[0].root == dag.root
    for block in (*dag.inner, *leaves):
        assert Block.verify(block.cid, block.data) == block
    shelf = Shelf([*dag.inner, *leaves])
    file = run_walk(walk_file(dag.root, WalkLimits(max_batch=7)), shelf.load)
    assert file.size_bytes == dag.size_bytes == len(content)
    assert read_file(shelf, file) == content
    held = {*(block.cid for block in file.inner), *map(file.leaf_cid, range(file.leaves))}
    assert {block.cid for block in dag.inner} <= held
    assert all(len(batch) <= 7 for batch in shelf.requests)
    (entry,) = run_walk(walk_tree(dag.root), shelf.load)
    assert entry.file == file


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(names, st.binary(max_size=80), max_size=40), recipes())
def test_directory_when_any_names_then_they_read_back(
    files: dict[str, bytes], recipe: Recipe
) -> None:
    shelf = Shelf()
    entries = []
    for name, content in files.items():
        dag, leaves = import_bytes([content], recipe)
        shelf.add([*dag.inner, *leaves])
        entries.append(DirEntry(name, dag.root, dag.tsize_bytes))
    directory = build_directory(entries, recipe)
    assert build_directory(reversed(entries), recipe).root == directory.root
    for block in directory.blocks:
        assert Block.verify(block.cid, block.data) == block
    shelf.add(directory.blocks)
    listed = run_walk(walk_directory(directory.root), shelf.load)
    assert listed == sorted(entries, key=lambda entry: entry.name.encode())
    for entry in listed:
        assert run_walk(resolve_path(directory.root, [entry.name]), shelf.load) == entry.cid
    tree = run_walk(walk_tree(directory.root), shelf.load)
    read = {entry.path: read_file(shelf, entry.file) for entry in tree if entry.file}
    assert read == files


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600), recipes(), st.data())
def test_walks_when_a_dag_is_damaged_then_only_named_errors(
    content: bytes, recipe: Recipe, draw: st.DataObject
) -> None:
    """Every block is changed at random and re-hashed, as an attacker would."""
    dag, leaves = import_bytes([content], recipe)
    blocks = {block.cid.multihash: block.data for block in (*dag.inner, *leaves)}
    for multihash, data in blocks.items():
        if data and draw.draw(st.booleans()):
            changed = bytearray(data)
            for _ in range(draw.draw(st.integers(1, 3))):
                changed[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
            blocks[multihash] = bytes(changed)

    def load(cids: object) -> list[Block]:
        assert isinstance(cids, list)
        return [Block(cid, blocks.get(cid.multihash, b"")) for cid in cids]

    with suppress(ContentError, TargetError):
        run_walk(walk_file(dag.root, SMALL), load)
    with suppress(ContentError, TargetError):
        run_walk(walk_tree(dag.root, SMALL), load)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=120), st.booleans())
def test_walks_when_a_block_is_garbage_then_only_named_errors(data: bytes, wrapped: bool) -> None:
    shelf = Shelf()
    root: Cid = shelf.put(encode_node([], data) if wrapped else data, DAG_PB)
    for walk in (walk_file, walk_directory, walk_tree):
        with suppress(ContentError, TargetError):
            run_walk(walk(root, SMALL), shelf.load)

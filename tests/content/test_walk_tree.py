"""Reading directories and whole trees."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mirrornode.content.cid import Cid
from mirrornode.content.directory import DirEntry, build_directory, build_symlink
from mirrornode.content.file_dag import import_bytes
from mirrornode.content.recipe import UNIXFS_V0_2015, UNIXFS_V1_2025, Recipe, recipe_from
from mirrornode.content.walk import (
    TreeEntry,
    resolve_path,
    run_walk,
    walk_directory,
    walk_file,
    walk_tree,
)
from mirrornode.errors import TargetError
from support.blocks import Shelf, read_car, read_file
from support.fixtures import fixtures_dir

SHARDED = replace(UNIXFS_V1_2025, hamt_threshold_bytes=0)
# SOURCE: ipfs/boxo gateway/testdata, with names chosen to collide in two levels of the hash
MULTILAYER = "car/directory-with-multilayer-hamt-and-multiblock-files.car"
MULTILAYER_ROOT = Cid.parse("bafybeid3fd2xxdcd3dbj7trb433h2aqssn6xovjbwnkargjv7fuog4xjdi")
# SOURCE: ipfs/gateway-conformance, 1000 files in 237 shards
THOUSAND = "gateway-conformance/trustless_gateway_car/single-layer-hamt-with-multi-block-files.car"
THOUSAND_ROOT = Cid.parse("bafybeidbclfqleg2uojchspzd4bob56dqetqjsj27gy2cq3klkkgxtpn4i")

Tree = dict[str, "bytes | str | Tree"]

TREE: Tree = {
    "config.json": b"{}",
    "empty": b"",
    "weights": {"a.bin": b"a" * 300, "deep": {"b.bin": b"b" * 99}, "link": "../config.json"},
    "nothing": {},
}


def build(shelf: Shelf, tree: Tree, recipe: Recipe) -> DirEntry:
    entries = []
    for name, node in tree.items():
        if isinstance(node, dict):
            entries.append(replace(build(shelf, node, recipe), name=name))
        elif isinstance(node, str):
            cid, block, tsize = build_symlink(node, recipe)
            shelf.add([block])
            entries.append(DirEntry(name, cid, tsize))
        else:
            dag, leaves = import_bytes([node], recipe)
            shelf.add([*dag.inner, *leaves])
            entries.append(DirEntry(name, dag.root, dag.tsize_bytes))
    directory = build_directory(entries, recipe)
    shelf.add(directory.blocks)
    return DirEntry("", directory.root, directory.tsize_bytes)


def contents(shelf: Shelf, entries: list[TreeEntry]) -> dict[str, bytes | str | None]:
    """What a tree holds by path: file bytes, symlink text, None for directories."""
    return {
        entry.path: read_file(shelf, entry.file)
        if entry.file
        else entry.link_target
        if entry.kind == "symlink"
        else None
        for entry in entries
    }


RECIPES = [
    recipe_from(chunker="size-64"),
    recipe_from("unixfs-v0-2015", chunker="size-64"),
    replace(SHARDED, chunker="size-64"),
    replace(SHARDED, hamt_fanout=8, inline_limit_bytes=128),
    replace(SHARDED, hamt_fanout=1024),
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_tree_when_built_by_recipe_then_everything_reads_back(recipe: Recipe) -> None:
    shelf = Shelf()
    root = build(shelf, TREE, recipe).cid
    entries = run_walk(walk_tree(root), shelf.load)
    assert [entry.path for entry in entries] == sorted(entry.path for entry in entries)
    assert entries[0] == TreeEntry("", "directory", root)
    assert contents(shelf, entries) == {
        "": None,
        "config.json": b"{}",
        "empty": b"",
        "nothing": None,
        "weights": None,
        "weights/a.bin": b"a" * 300,
        "weights/deep": None,
        "weights/deep/b.bin": b"b" * 99,
        "weights/link": "../config.json",
    }


def test_tree_when_root_is_a_file_then_one_entry_without_path() -> None:
    dag, leaves = import_bytes([bytes(300)], RECIPES[0])
    shelf = Shelf([*dag.inner, *leaves])
    (entry,) = run_walk(walk_tree(dag.root), shelf.load)
    assert (entry.path, entry.kind, entry.cid) == ("", "file", dag.root)
    assert entry.file == run_walk(walk_file(dag.root), shelf.load)


def test_tree_when_root_is_a_symlink_then_its_text() -> None:
    cid, block, _ = build_symlink("/etc/passwd", UNIXFS_V1_2025)
    assert run_walk(walk_tree(cid), Shelf([block]).load) == [
        TreeEntry("", "symlink", cid, link_target="/etc/passwd")
    ]


def test_tree_when_files_are_raw_then_they_are_not_loaded() -> None:
    shelf = Shelf()
    root = build(shelf, {f"{number}.bin": bytes(number + 1) for number in range(200)}, SHARDED).cid
    entries = run_walk(walk_tree(root), shelf.load)
    files = [entry.file for entry in entries if entry.file]
    assert sum(file.size_bytes for file in files) == sum(range(1, 201))
    assert not shelf.asked & {file.multihashes[0] for file in files}


def test_tree_when_files_are_dag_pb_then_they_are_asked_for_together() -> None:
    shelf = Shelf()
    recipe = UNIXFS_V0_2015
    tree: Tree = {f"{number}.bin": b"%d" % number for number in range(100)}
    root = build(shelf, tree, recipe).cid
    entries = run_walk(walk_tree(root), shelf.load)
    assert [len(batch) for batch in shelf.requests] == [1, 64, 36]
    assert all(entry.file and entry.file.inner_root_bytes for entry in entries[1:])


def test_tree_when_tsize_of_a_raw_file_is_unknown_then_it_is_loaded() -> None:
    shelf = Shelf()
    dag, leaves = import_bytes([b"abc"], UNIXFS_V1_2025)
    directory = build_directory([DirEntry("a", dag.root, 0)], UNIXFS_V1_2025)
    shelf.add([*leaves, *directory.blocks])
    entries = run_walk(walk_tree(directory.root), shelf.load)
    assert contents(shelf, entries)["a"] == b"abc"


@pytest.mark.parametrize("recipe", RECIPES)
def test_directory_when_built_then_entries_sorted_with_tsize(recipe: Recipe) -> None:
    shelf = Shelf()
    names = ["b", "a", "é", "Z", "10", "2", "文件.bin"]
    dag, _ = import_bytes([b"x"], recipe)
    entries = [DirEntry(name, dag.root, dag.tsize_bytes) for name in names]
    directory = build_directory(entries, recipe)
    shelf.add(directory.blocks)
    listed = run_walk(walk_directory(directory.root), shelf.load)
    assert listed == sorted(entries, key=lambda entry: entry.name.encode())


def test_directory_when_target_is_a_file_or_symlink_then_target_error() -> None:
    raw, raw_leaves = import_bytes([b"x"], UNIXFS_V1_2025)
    wrapped, wrapped_leaves = import_bytes([b"x"], UNIXFS_V0_2015)
    link, block, _ = build_symlink("x", UNIXFS_V1_2025)
    shelf = Shelf([*raw_leaves, *wrapped_leaves, block])
    for cid in (raw.root, wrapped.root, link):
        with pytest.raises(TargetError, match="not a directory"):
            run_walk(walk_directory(cid), shelf.load)


@pytest.mark.parametrize("recipe", [UNIXFS_V1_2025, SHARDED])
def test_file_when_target_is_a_directory_then_target_error(recipe: Recipe) -> None:
    shelf = Shelf()
    root = build(shelf, TREE, recipe).cid
    with pytest.raises(TargetError, match="is a directory, not a file"):
        run_walk(walk_file(root), shelf.load)


@pytest.mark.parametrize("recipe", RECIPES)
def test_resolve_when_path_exists_then_its_cid(recipe: Recipe) -> None:
    shelf = Shelf()
    root = build(shelf, TREE, recipe).cid
    by_path = {entry.path: entry.cid for entry in run_walk(walk_tree(root), shelf.load)}
    for path, cid in by_path.items():
        segments = path.split("/") if path else []
        assert run_walk(resolve_path(root, segments), shelf.load) == cid


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    "path",
    [
        "missing",
        "weights/missing",
        "config.json/x",
        "weights/link/x",
        "..",
        "",
        "weights/..",
        "\udcff",
    ],
)
def test_resolve_when_there_is_no_such_entry_then_target_error(recipe: Recipe, path: str) -> None:
    shelf = Shelf()
    root = build(shelf, TREE, recipe).cid
    with pytest.raises(TargetError):
        run_walk(resolve_path(root, path.split("/")), shelf.load)


def test_tree_when_real_multilayer_hamt_then_names_and_sizes() -> None:
    shelf = Shelf(read_car(fixtures_dir() / MULTILAYER))
    entries = run_walk(walk_tree(MULTILAYER_ROOT), shelf.load)
    files = {
        entry.path: (entry.file.size_bytes, entry.file.leaves) for entry in entries if entry.file
    }
    assert files == {
        "basicDir/exampleA": (1026, 5),
        "basicDir/exampleB": (887, 4),
        "hamtDir/exampleA": (1026, 5),
        "hamtDir/exampleB": (887, 4),
        "hamtDir/exampleC-hamt-collide-exampleA-seed-52": (962, 1),
        "hamtDir/exampleD-hamt-collide-exampleB-seed-364": (1283, 1),
    }
    assert all(read_file(shelf, entry.file) for entry in entries if entry.file)


def test_directory_when_real_thousand_files_then_all_listed_in_wide_requests() -> None:
    shelf = Shelf(read_car(fixtures_dir() / THOUSAND))
    entries = run_walk(walk_directory(THOUSAND_ROOT), shelf.load)
    assert {entry.name for entry in entries} == {f"{number}.txt" for number in range(1, 1001)}
    assert [len(batch) for batch in shelf.requests] == [1, 229, 7]


def test_resolve_when_real_thousand_files_then_only_the_way_there_is_read() -> None:
    shelf = Shelf(read_car(fixtures_dir() / THOUSAND))
    # SOURCE: ipfs/gateway-conformance, path of 470.txt: root, shard "00", link "6E470.txt"
    found = run_walk(resolve_path(THOUSAND_ROOT, ["470.txt"]), shelf.load)
    assert str(found) == "bafybeigcisqd7m5nf3qmuvjdbakl5bdnh4ocrmacaqkpuh77qjvggmt2sa"
    assert [str(cid) for batch in shelf.requests for cid in batch] == [
        str(THOUSAND_ROOT),
        "bafybeiaebmuestgbpqhkkbrwl2qtjtvs3whkmp2trkbkimuod4yv7oygni",
    ]


def test_tree_when_real_directory_has_special_names_then_they_are_kept() -> None:
    # SOURCE: ipfs/boxo gateway/testdata
    shelf = Shelf(read_car(fixtures_dir() / "car/dir-special-chars.car"))
    root = Cid.parse("bafybeiebgctytpwjp7suihumuyckgbx2wuofmjjncavkamhjen3jpd7vda")
    entries = run_walk(walk_tree(root), shelf.load)
    assert contents(shelf, entries) == {
        "": None,
        "file.txt": b"1",
        "foo? #<'": None,
        "foo? #<'/file.txt": b"2",
        "foo? #<'/bar": None,
        "foo? #<'/bar/file.txt": b"3",
    }


def test_tree_when_real_symlinks_then_text_only() -> None:
    path = fixtures_dir() / "gateway-conformance/path_gateway_unixfs/symlink.car"
    blocks = read_car(path)
    shelf = Shelf(blocks)
    links = [
        entry
        for block in blocks
        for entry in run_walk(walk_tree(block.cid), shelf.load)
        if entry.kind == "symlink"
    ]
    assert links
    assert all(link.link_target and link.file is None for link in links)

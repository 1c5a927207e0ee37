"""Building directories, shards and symlinks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.content.cid import Cid
from mirrornode.content.dagpb import decode_node
from mirrornode.content.directory import DirEntry, build_directory, build_symlink, check_name
from mirrornode.content.file_dag import import_bytes
from mirrornode.content.hamt import HamtEntry, bucket_of, build_hamt
from mirrornode.content.murmur3 import murmur3_x64_64
from mirrornode.content.names import name_from_bytes
from mirrornode.content.recipe import (
    UNIXFS_V0_2015,
    UNIXFS_V1_2025,
    Estimation,
    Recipe,
    recipe_from,
)
from mirrornode.content.unixfs import Kind, decode_unixfs
from mirrornode.errors import LimitExceeded, MalformedNode, UnsafeName

V0, V1 = UNIXFS_V0_2015, UNIXFS_V1_2025
V1_DAG_PB = recipe_from("unixfs-v0-2015", cid_version=1, raw_leaves=False)
HELLO = Cid.parse("bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e")


def entry(name: str, content: str, recipe: Recipe) -> DirEntry:
    dag, _ = import_bytes([content.encode()], recipe)
    return DirEntry(name, dag.root, dag.tsize_bytes)


# SOURCE: ipfs/specs unixfs.md
@pytest.mark.parametrize(
    ("recipe", "cid"),
    [
        (V0, "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"),
        (V1, "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"),
        (replace(V1, inline_limit_bytes=32), "bafyaabakaieac"),
    ],
)
def test_directory_when_empty_then_known_cid(recipe: Recipe, cid: str) -> None:
    directory = build_directory([], recipe)
    assert str(directory.root) == cid
    assert directory.tsize_bytes == 4
    assert [block.cid for block in directory.blocks] == (
        [] if directory.root.is_identity else [directory.root]
    )


# SOURCE: ipfs/kubo test/sharness/t0040-add-and-cat.sh
@pytest.mark.parametrize(
    ("recipe", "cid"),
    [
        (V0, "QmWSgS32xQEcXMeqd3YPJLrNBLSdsfYCep2U7CFkyrjXwY"),
        (replace(V0, raw_leaves=True), "QmfWfQfKCY5Ukv9peBbxM5vqWM9BzmqUSXvdCgjT2wsiBT"),
        (V1, "bafybeih7e5dmkyk25up5vxug4q3hrg2fxbzf23dfrac2fns5h7z4aa7ioi"),
        (V1_DAG_PB, "bafybeif5tuep5ap2d7zyhbktucey75aoacxufgt6i3v4gebmixyipnyp7y"),
    ],
)
def test_directory_when_two_files_then_known_cid_in_any_order(recipe: Recipe, cid: str) -> None:
    entries = [
        entry("mars.txt", "Hello Mars!\n", recipe),
        entry("venus.txt", "Hello Venus!\n", recipe),
    ]
    assert str(build_directory(entries, recipe).root) == cid
    assert str(build_directory(reversed(entries), recipe).root) == cid


# SOURCE: ipfs/kubo test/sharness/t0260-sharding.sh, 2000 files file{i} = "{i}\n"
@pytest.mark.parametrize(
    ("threshold", "cid", "kind"),
    [
        (1 << 30, "QmavrTrQG4VhoJmantURAYuw3bowq3E2WcvP36NRQDAC1N", Kind.DIRECTORY),
        (1, "QmSCJD1KYLhVVHqBK3YyXuoEqHt7vggyJhzoFYbT8v1XYL", Kind.HAMT_SHARD),
    ],
)
def test_directory_when_threshold_decides_then_known_cid(
    threshold: int, cid: str, kind: Kind
) -> None:
    recipe = replace(V0, hamt_threshold_bytes=threshold)
    entries = [entry(f"file{number}", f"{number}\n", recipe) for number in range(1, 2001)]
    directory = build_directory(entries, recipe)
    assert str(directory.root) == cid
    root = next(block for block in directory.blocks if block.cid == directory.root)
    assert decode_unixfs(decode_node(root.data).data or b"").kind is kind
    leaves = sum(item.tsize_bytes for item in entries)
    assert directory.tsize_bytes == leaves + sum(len(block.data) for block in directory.blocks)


@pytest.mark.parametrize("estimation", ["block-bytes", "links-bytes"])
def test_directory_when_exactly_at_threshold_then_basic(estimation: Estimation) -> None:
    # SOURCE: one entry of 11 characters with CIDv1 and Tsize 1 is 55 bytes of block (IPIP-499)
    size = 4 + 55 if estimation == "block-bytes" else 11 + 36
    recipe = replace(V1, hamt_estimation=estimation)
    item = DirEntry("a" * 11, HELLO, 1)
    for threshold, kind in ((size, Kind.DIRECTORY), (size - 1, Kind.HAMT_SHARD)):
        directory = build_directory([item], replace(recipe, hamt_threshold_bytes=threshold))
        node = decode_node(directory.blocks[-1].data)
        assert decode_unixfs(node.data or b"").kind is kind


def test_estimate_when_block_bytes_then_the_size_of_the_real_block() -> None:
    entries = [DirEntry("é" * length, HELLO, 1 << length) for length in range(1, 50)]
    basic = build_directory(entries, V1).blocks[0]
    for threshold, shards in ((len(basic.data), False), (len(basic.data) - 1, True)):
        recipe = replace(V1, hamt_threshold_bytes=threshold)
        assert (build_directory(entries, recipe).root != basic.cid) is shards


def test_directory_when_two_entries_share_a_name_then_malformed() -> None:
    with pytest.raises(MalformedNode, match="two entries"):
        build_directory([DirEntry("a", HELLO, 1), DirEntry("a", HELLO, 1)], V1)


BAD_NAMES = ["", ".", "..", "a/b", "/", "a\0b", "x" * 256, "é" * 128, "\udcff"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_check_name_when_it_could_leave_the_folder_then_unsafe(name: str) -> None:
    with pytest.raises(UnsafeName):
        check_name(name)
    with pytest.raises(UnsafeName):
        build_directory([DirEntry(name, HELLO, 1)], V1)


@pytest.mark.parametrize("name", ["a\\b", "C:x"])
def test_check_name_when_on_windows_then_its_separators_are_unsafe(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_name(name) == name
    monkeypatch.setattr("mirrornode.content.names._FORBIDDEN", "/\0\\:")
    with pytest.raises(UnsafeName):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "...", ".hidden", "a b", "模型.bin", "x" * 255, "~", "-rf"])
def test_check_name_when_plain_then_returned(name: str) -> None:
    assert check_name(name) == name
    assert name_from_bytes(name.encode()) == name


@given(st.binary(max_size=30))
def test_name_from_bytes_when_garbage_then_checked_or_unsafe(raw: bytes) -> None:
    try:
        name = name_from_bytes(raw)
    except UnsafeName:
        return
    assert name.encode() == raw
    assert "/" not in name


def test_symlink_when_built_then_known_block() -> None:
    # SOURCE: ipfs/specs unixfs.md, symlink to "foo"
    cid, block, tsize = build_symlink("foo", V0)
    assert str(cid) == "QmTB8BaCJdCH5H3k7GrxJsxgDNmNYGGR71C58ERkivXoj5"
    assert (block.data.hex(), tsize) == ("0a0708041203666f6f", 9)


def test_symlink_when_target_cannot_be_then_refused() -> None:
    for target in ("", "a\0b", "\udcff"):
        with pytest.raises(MalformedNode):
            build_symlink(target, V1)
    with pytest.raises(LimitExceeded):
        build_symlink("x" * 4097, V1)


# SOURCE: murmur3 x64 64 of these names as ipfs/boxo computes them
@pytest.mark.parametrize(
    ("key", "digest"),
    [
        ("", 0),
        ("a", 0x85555565F6597889),
        ("hello world", 0x533F6046EB7F610E),
        ("470.txt", 0x006E88DF5847E67C),
        ("742.txt", 0x00FF87D129AE5428),
    ],
)
def test_murmur3_when_known_keys_then_known_hashes(key: str, digest: int) -> None:
    assert murmur3_x64_64(key.encode()) == digest


def test_bucket_when_levels_descend_then_next_bits_until_they_end() -> None:
    assert [bucket_of(b"470.txt", level, 256) for level in (0, 1)] == [0x00, 0x6E]
    assert bucket_of(b"470.txt", 7, 256) == 0x7C
    with pytest.raises(LimitExceeded):
        bucket_of(b"470.txt", 8, 256)


def test_hamt_when_hashes_collide_then_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirrornode.content.hamt.murmur3_x64_64", lambda key: 7)
    entries = [HamtEntry(name, HELLO.binary, 1) for name in (b"a", b"b")]
    with pytest.raises(LimitExceeded):
        build_hamt(entries, V1, [])

"""DAGs made to harm: every one is refused with a named error, and before much work is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mirrornode.content.block import MIB, Block, multihash_of
from mirrornode.content.cid import DAG_PB, IDENTITY, RAW, SHA2_256, Cid
from mirrornode.content.dagpb import Link, Node, decode_node, encode_node
from mirrornode.content.directory import DirEntry, build_directory
from mirrornode.content.hamt import read_shard
from mirrornode.content.leaf_form import LeafForm, leaf_block_size
from mirrornode.content.recipe import UNIXFS_V1_2025
from mirrornode.content.unixfs import Kind, UnixFs, encode_unixfs
from mirrornode.content.walk import (
    DEFAULT_LIMITS,
    WalkLimits,
    resolve_path,
    run_walk,
    walk_directory,
    walk_file,
    walk_tree,
)
from mirrornode.errors import (
    CidMismatch,
    ContentError,
    HashNotAllowed,
    LimitExceeded,
    MalformedCid,
    MalformedNode,
    UnsafeName,
)
from support.blocks import Shelf, raw_link

ONE = raw_link(b"one")
SHARDED = replace(UNIXFS_V1_2025, hamt_threshold_bytes=0)


def walk(shelf: Shelf, root: Cid, limits: WalkLimits = DEFAULT_LIMITS) -> None:
    run_walk(walk_file(root, limits), shelf.load)


def refused(
    shelf: Shelf, root: Cid, error: type[ContentError], limits: WalkLimits = DEFAULT_LIMITS
) -> str:
    """The message with which both the file walk and the tree walk refuse a root."""
    with pytest.raises(error):
        run_walk(walk_tree(root, limits), shelf.load)
    with pytest.raises(error) as caught:
        walk(shelf, root, limits)
    assert type(caught.value) is error
    return str(caught.value)


# Files: sizes


@pytest.mark.parametrize("filesize", [0, 2, 4, 1 << 61])
def test_file_when_filesize_is_not_the_sum_then_malformed(filesize: int) -> None:
    shelf = Shelf()
    assert "filesize" in refused(
        shelf, shelf.put_file_node([ONE], [3], filesize=filesize), MalformedNode
    )


@pytest.mark.parametrize("blocksizes", [[], [3, 3]])
def test_file_when_blocksizes_do_not_match_links_then_malformed(blocksizes: list[int]) -> None:
    shelf = Shelf()
    assert "blocksizes for 1 links" in refused(
        shelf, shelf.put_file_node([ONE], blocksizes), MalformedNode
    )


def test_file_when_leaf_has_blocksizes_then_malformed() -> None:
    shelf = Shelf()
    root = shelf.put_node([], UnixFs(Kind.FILE, data=b"abc", filesize=6, blocksizes=[3]))
    refused(shelf, root, MalformedNode)


def test_file_when_child_has_other_size_than_its_parent_says_then_malformed() -> None:
    shelf = Shelf()
    child = shelf.put_file_node([ONE, ONE], [3, 3])
    root = shelf.put_file_node([Link(child.binary, b"", 0)], [7])
    assert "its parent says 7" in refused(shelf, root, MalformedNode)


def test_file_when_loaded_leaf_has_other_size_then_malformed() -> None:
    shelf = Shelf()
    leaf = shelf.put_node([], UnixFs(Kind.FILE, data=b"abcd", filesize=4))
    root = shelf.put_file_node([Link(leaf.binary, b"", 0)], [3])
    refused(shelf, root, MalformedNode)


def test_file_when_odd_raw_leaf_has_other_size_then_malformed() -> None:
    shelf = Shelf()
    cid = Cid.v1(RAW, multihash_of(0x13, b"four"))
    shelf.add([Block(cid, b"four")])
    root = shelf.put_file_node([ONE, ONE, Link(cid.binary, b"", 3)], [3, 3, 3])
    refused(shelf, root, MalformedNode)


def test_file_when_identity_part_has_other_size_then_malformed() -> None:
    shelf = Shelf()
    inline = Cid.v1(RAW, multihash_of(IDENTITY, b"abc"))
    root = shelf.put_file_node([Link(inline.binary, b"", 3)], [4])
    refused(shelf, root, MalformedNode)


def test_file_when_a_part_is_named_then_malformed() -> None:
    shelf = Shelf()
    root = shelf.put_file_node([raw_link(b"one", b"../../etc/passwd")], [3])
    assert "named" in refused(shelf, root, MalformedNode)


@pytest.mark.parametrize("kind", [Kind.DIRECTORY, Kind.SYMLINK, Kind.HAMT_SHARD, Kind.METADATA])
def test_file_when_a_part_is_not_a_file_then_malformed(kind: Kind) -> None:
    shelf = Shelf()
    child = shelf.put_node([], UnixFs(kind))
    root = shelf.put_file_node([Link(child.binary, b"", 0)], [0])
    assert "inside a file" in refused(shelf, root, MalformedNode)


def test_file_when_tsize_of_a_leaf_is_a_lie_then_malformed_or_mapped() -> None:
    """An inner node with the Tsize of a leaf is found out when it is sampled."""
    shelf = Shelf()
    child = shelf.put_file_node([ONE], [3])
    root = shelf.put_file_node([Link(child.binary, b"", leaf_block_size(LeafForm.DAG_PB, 3))], [3])
    refused(shelf, root, MalformedNode)


@pytest.mark.parametrize("form", [RAW, DAG_PB])
def test_file_when_a_leaf_would_exceed_a_block_then_limit_or_loaded(form: int) -> None:
    shelf = Shelf()
    size = 2 * MIB + 1
    tsize = leaf_block_size(LeafForm.DAG_PB, size)
    link = Link(Cid.v1(form, multihash_of(SHA2_256, b"one")).binary, b"", tsize)
    shelf.put(b"one", RAW)
    root = shelf.put_file_node([link], [size])
    refused(shelf, root, LimitExceeded if form == RAW else MalformedNode)


def test_file_when_root_has_no_unixfs_then_malformed() -> None:
    shelf = Shelf()
    for block in (b"", encode_node([ONE], None), encode_node([], b"garbage")):
        refused(shelf, shelf.put(block), MalformedNode)


def test_file_when_root_is_metadata_then_malformed_in_a_tree() -> None:
    shelf = Shelf()
    root = shelf.put_node([], UnixFs(Kind.METADATA, data=b""))
    with pytest.raises(MalformedNode, match="metadata"):
        run_walk(walk_tree(root), shelf.load)


# Files: bombs


def test_file_when_a_chain_is_deep_then_limit_after_a_few_levels() -> None:
    shelf = Shelf()
    root = shelf.put_file_node([ONE], [3])
    for _ in range(1000):
        root = shelf.put_file_node([Link(root.binary, b"", 0)], [3])
    assert "levels deep" in refused(shelf, root, LimitExceeded)
    assert len(shelf.requests) <= 2 * (DEFAULT_LIMITS.max_depth + 1)


@pytest.mark.parametrize("size", [0, 1])
def test_file_when_sub_dags_repeat_a_billion_times_then_limit(size: int) -> None:
    """Thirty levels of a thousand links to the same node: tiny to store, endless to expand."""
    shelf = Shelf()
    data = b"x" * size
    shelf.put(data, RAW)
    node = shelf.put_file_node([raw_link(data)] * 1000, [size] * 1000)
    total = 1000 * size
    for _ in range(4):
        node = shelf.put_file_node([Link(node.binary, b"", 0)] * 1000, [total] * 1000)
        total *= 1000
    refused(shelf, node, LimitExceeded, WalkLimits(max_leaves=100_000, max_nodes=100_000))
    assert sum(len(batch) for batch in shelf.requests) < 20


def test_file_when_larger_than_the_limit_then_refused_at_the_root() -> None:
    shelf = Shelf()
    huge = DEFAULT_LIMITS.max_file_bytes + 1
    root = shelf.put_file_node([Link(ONE.cid_bytes.replace(b"\x55", b"\x70", 1), b"", 0)], [huge])
    refused(shelf, root, LimitExceeded)
    assert len(shelf.requests) == 2


@pytest.mark.parametrize(
    "limits",
    [
        WalkLimits(max_leaves=9),
        WalkLimits(max_links_per_node=9),
        WalkLimits(max_file_bytes=29),
        WalkLimits(max_held_bytes=100),
    ],
)
def test_file_when_wider_than_a_limit_then_limit(limits: WalkLimits) -> None:
    shelf = Shelf()
    root = shelf.put_file_node([ONE] * 10, [3] * 10)
    walk(shelf, root)
    refused(shelf, root, LimitExceeded, limits)


def test_file_when_more_nodes_than_the_limit_then_limit() -> None:
    shelf = Shelf()
    child = shelf.put_file_node([ONE], [3])
    root = shelf.put_file_node([Link(child.binary, b"", 0)] * 10, [3] * 10)
    refused(shelf, root, LimitExceeded, WalkLimits(max_nodes=10))


def test_file_when_inline_bytes_exceed_memory_then_limit() -> None:
    shelf = Shelf()
    leaf = shelf.put_node([], UnixFs(Kind.FILE, data=bytes(1000), filesize=1000, mode=0o644))
    root = shelf.put_file_node([Link(leaf.binary, b"", 0)] * 100, [1000] * 100)
    refused(shelf, root, LimitExceeded, WalkLimits(max_held_bytes=50_000))


# CIDs and hashes


def test_file_when_identity_cid_exceeds_128_bytes_then_not_allowed() -> None:
    with pytest.raises(HashNotAllowed):
        Cid.from_bytes(b"\x01\x55\x00\x81\x01" + bytes(129))
    block = encode_node(
        [Link(b"\x01\x55\x00\x81\x01" + bytes(129))], encode_unixfs(UnixFs(Kind.FILE))
    )
    shelf = Shelf()
    refused(shelf, shelf.put(block), HashNotAllowed)


@pytest.mark.parametrize(
    "cid",
    [
        Cid.v1(0x71, multihash_of(SHA2_256, b"")),
        Cid.v1(RAW, bytes.fromhex("a0e40220") + bytes(32)),
        Cid.v1(RAW, b"\x11\x14" + bytes(20)),
        Cid.v1(DAG_PB, b"\x12\x14" + bytes(20)),
    ],
)
def test_walks_when_codec_or_hash_is_unknown_then_nothing_is_asked_for(cid: Cid) -> None:
    shelf = Shelf()
    refused(shelf, cid, HashNotAllowed)
    assert shelf.requests == []
    for parent in (
        shelf.put_file_node([Link(cid.binary, b"", 3)], [3]),
        shelf.put_file_node([ONE, Link(cid.binary, b"", 3)], [3, 3]),
    ):
        refused(shelf, parent, HashNotAllowed)
    directory = shelf.put_node([Link(cid.binary, b"a", 3)], UnixFs(Kind.DIRECTORY))
    assert len(run_walk(walk_directory(directory), shelf.load)) == 1
    with pytest.raises(HashNotAllowed):
        run_walk(walk_tree(directory), shelf.load)


def test_walks_when_block_is_not_what_its_cid_says_then_mismatch() -> None:
    cid = Cid.v1(DAG_PB, multihash_of(SHA2_256, b"promised"))
    with pytest.raises(CidMismatch):
        run_walk(walk_file(cid), lambda cids: [Block.verify(cids[0], b"delivered")])


# Directories


def put_directory(shelf: Shelf, *names: bytes) -> Cid:
    return shelf.put_node([Link(ONE.cid_bytes, name, 3) for name in names], UnixFs(Kind.DIRECTORY))


def put_shard(shelf: Shelf, *names: bytes, **changes: object) -> Cid:
    """Put a root shard of fanout 256 with the given link names, e.g. `00name`."""
    bits = 0
    for name in names:
        bits |= 1 << int(name[:2], 16)
    message = UnixFs(
        Kind.HAMT_SHARD,
        data=bits.to_bytes((bits.bit_length() + 7) // 8, "big"),
        hash_type=0x22,
        fanout=256,
    )
    message = replace(message, **changes)  # type: ignore[arg-type]  # fields of the dataclass
    return shelf.put_node([Link(ONE.cid_bytes, name, 3) for name in names], message)


BAD = [b"", b".", b"..", b"a/b", b"../x", b"/etc/passwd", b"a\0b", b"x" * 256, b"\xff\xfe"]


@pytest.mark.parametrize("name", BAD)
def test_directory_when_a_name_could_leave_the_folder_then_unsafe(name: bytes) -> None:
    shelf = Shelf()
    root = put_directory(shelf, b"good", name)
    for steps in (walk_directory(root), walk_tree(root)):
        with pytest.raises(UnsafeName):
            run_walk(steps, shelf.load)


@pytest.mark.parametrize("name", [b".", b"..", b"a/b"])
def test_shard_when_a_name_could_leave_the_folder_then_unsafe(name: bytes) -> None:
    from mirrornode.content.hamt import bucket_of

    shelf = Shelf()
    root = put_shard(shelf, b"%02X" % bucket_of(name, 0, 256) + name)
    with pytest.raises(UnsafeName):
        run_walk(walk_directory(root), shelf.load)


def test_directory_when_two_entries_share_a_name_then_malformed() -> None:
    """Readers differ in which of the two they take, so neither is safe."""
    shelf = Shelf()
    root = put_directory(shelf, b"same", b"same")
    for steps in (walk_directory(root), walk_tree(root), resolve_path(root, ["same"])):
        with pytest.raises(MalformedNode, match="two entries"):
            run_walk(steps, shelf.load)


def hello_bucket() -> bytes:
    # SOURCE: murmur3 of "hello world" begins with 53 (ipfs/boxo)
    return b"53hello world"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"fanout": 0}, id="no buckets"),
        pytest.param({"fanout": None}, id="fanout absent"),
        pytest.param({"fanout": 255}, id="not a power of two"),
        pytest.param({"fanout": 4}, id="below 8"),
        pytest.param({"fanout": 2048}, id="above 1024"),
        pytest.param({"fanout": 1 << 40}, id="huge"),
        pytest.param({"hash_type": 0x12}, id="other hash"),
        pytest.param({"hash_type": None}, id="hash absent"),
        pytest.param({"data": b""}, id="bitfield empty"),
        pytest.param({"data": b"\xff"}, id="bitfield of more buckets"),
        pytest.param({"data": b"\x01"}, id="bitfield of another bucket"),
        pytest.param({"data": bytes(33)}, id="bitfield too long"),
    ],
)
def test_shard_when_its_fields_are_wrong_then_malformed(changes: dict[str, object]) -> None:
    shelf = Shelf()
    good = put_shard(shelf, hello_bucket())
    assert run_walk(walk_directory(good), shelf.load)[0].name == "hello world"
    root = put_shard(shelf, hello_bucket(), **changes)
    for steps in (walk_directory(root), resolve_path(root, ["hello world"])):
        with pytest.raises(MalformedNode):
            run_walk(steps, shelf.load)


def test_shard_when_a_name_is_in_a_wrong_bucket_then_malformed() -> None:
    shelf = Shelf()
    with pytest.raises(MalformedNode, match="wrong bucket"):
        run_walk(walk_directory(put_shard(shelf, b"54hello world")), shelf.load)


def test_shard_when_links_are_not_in_bucket_order_then_malformed() -> None:
    links = [Link(ONE.cid_bytes, name, 3) for name in (b"53hello world", b"00")]
    bits = (1 << 0x53) | 1
    message = UnixFs(Kind.HAMT_SHARD, bits.to_bytes(11, "big"), hash_type=0x22, fanout=256)
    with pytest.raises(MalformedNode, match="misplaced"):
        read_shard(Node(links, None), message, level=0)


def test_shard_when_child_is_not_a_shard_then_malformed() -> None:
    shelf = Shelf()
    children = [
        shelf.put_node([], UnixFs(Kind.DIRECTORY)),
        shelf.put_node([], UnixFs(Kind.FILE, filesize=0)),
        shelf.put(b"raw", RAW),
        put_shard(shelf, fanout=16),
    ]
    for child in children:
        message = UnixFs(Kind.HAMT_SHARD, b"\x08", hash_type=0x22, fanout=8)
        root = shelf.put_node([Link(child.binary, b"3", 0)], message)
        with pytest.raises(MalformedNode):
            run_walk(walk_directory(root), shelf.load)


def test_shard_when_chain_is_deeper_than_the_hash_then_limit_or_malformed() -> None:
    shelf = Shelf()
    child = put_shard(shelf, hello_bucket())
    for _ in range(1000):
        message = UnixFs(Kind.HAMT_SHARD, b"\x01", hash_type=0x22, fanout=256)
        child = shelf.put_node([Link(child.binary, b"00", 0)], message)
    with pytest.raises(LimitExceeded):
        run_walk(walk_directory(child), shelf.load)
    assert len(shelf.requests) < 20


def test_directory_when_wider_than_the_limit_then_limit() -> None:
    shelf = Shelf()
    root = put_directory(shelf, *[b"%d" % number for number in range(20)])
    with pytest.raises(LimitExceeded):
        run_walk(walk_directory(root, WalkLimits(max_entries=19)), shelf.load)
    sharded = build_directory([DirEntry(f"{number}", ONE.cid, 3) for number in range(20)], SHARDED)
    shelf.add(sharded.blocks)
    with pytest.raises(LimitExceeded):
        run_walk(walk_directory(sharded.root, WalkLimits(max_entries=19)), shelf.load)


def nest(shelf: Shelf, name: bytes, depth: int, width: int = 1) -> Cid:
    root = shelf.put_node([], UnixFs(Kind.DIRECTORY))
    for _ in range(depth):
        names = [name + (b"%d" % number if width > 1 else b"") for number in range(width)]
        links = [Link(root.binary, item, 0) for item in names]
        root = shelf.put_node(links, UnixFs(Kind.DIRECTORY))
    return root


def test_tree_when_folders_repeat_a_billion_times_then_limit() -> None:
    shelf = Shelf()
    with pytest.raises(LimitExceeded):
        run_walk(walk_tree(nest(shelf, b"d", 10, width=100)), shelf.load)
    assert len(shelf.requests) < 10


@pytest.mark.parametrize(("name", "depth"), [(b"d", 129), (b"x" * 255, 17)])
def test_tree_when_folders_are_too_deep_or_paths_too_long_then_limit(
    name: bytes, depth: int
) -> None:
    shelf = Shelf()
    run_walk(walk_tree(nest(shelf, name, depth - 2)), shelf.load)
    with pytest.raises(LimitExceeded):
        run_walk(walk_tree(nest(shelf, name, depth)), shelf.load)


def test_resolve_when_path_is_endless_then_limit() -> None:
    shelf = Shelf()
    with pytest.raises(LimitExceeded):
        run_walk(resolve_path(nest(shelf, b"d", 1), ["d"] * 129), shelf.load)


@pytest.mark.parametrize("target", [b"", b"a\0b", b"\xff", b"x" * 4097, None])
def test_tree_when_symlink_target_cannot_be_then_refused(target: bytes | None) -> None:
    shelf = Shelf()
    root = shelf.put_node([], UnixFs(Kind.SYMLINK, data=target))
    with pytest.raises(LimitExceeded if target and len(target) > 4096 else MalformedNode):
        run_walk(walk_tree(root), shelf.load)


def test_tree_when_symlink_points_outside_then_it_is_text_only() -> None:
    shelf = Shelf()
    link = shelf.put_node([], UnixFs(Kind.SYMLINK, data=b"../../../etc/passwd"))
    root = shelf.put_node([Link(link.binary, b"link", 0)], UnixFs(Kind.DIRECTORY))
    entry = run_walk(walk_tree(root), shelf.load)[1]
    assert (entry.kind, entry.link_target) == ("symlink", "../../../etc/passwd")
    assert entry.file is None


def test_errors_when_a_node_is_malformed_then_they_name_it() -> None:
    shelf = Shelf()
    root = shelf.put(b"\x1a\x00")
    with pytest.raises(MalformedNode, match=str(root)):
        walk(shelf, root)


@pytest.mark.parametrize("decode", [decode_node, Cid.from_bytes])
def test_decoders_when_truncated_anywhere_then_only_content_errors(
    decode: Callable[[bytes], object],
) -> None:
    shelf = Shelf()
    root = shelf.put_file_node([ONE, ONE], [3, 3])
    (block,) = shelf.load([root])
    for data in (block.data, root.binary):
        for stop in range(len(data)):
            try:
                decode(data[:stop])
            except ContentError:
                continue


def test_link_when_cid_is_malformed_then_the_node_is_named() -> None:
    shelf = Shelf()
    root = shelf.put(encode_node([Link(b"\x01\x55\x12")], encode_unixfs(UnixFs(Kind.FILE))))
    assert str(root) in refused(shelf, root, MalformedCid)

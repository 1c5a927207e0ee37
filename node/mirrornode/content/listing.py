"""Reading directories: all entries of one, or the one entry that a path needs.

Names come from strangers and are checked here. A directory with two entries of one name is refused
as a whole: readers differ in which of the two they take, so it has no safe meaning.
Spec: ipfs/specs unixfs.md, "Directory" and "HAMTDirectory".
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from mirrornode.content.cid import DAG_PB, Cid
from mirrornode.content.directory import DirEntry
from mirrornode.content.hamt import Shard, bucket_of, read_shard
from mirrornode.content.names import name_from_bytes
from mirrornode.content.unixfs import Kind, UnixFs
from mirrornode.content.walking import (
    DEFAULT_LIMITS,
    Ledger,
    Walk,
    WalkLimits,
    load,
    read_node,
)
from mirrornode.errors import ContentError, LimitExceeded, MalformedNode, TargetError

if TYPE_CHECKING:
    from mirrornode.content.block import Block
    from mirrornode.content.dagpb import Link, Node


def walk_directory(root: Cid, limits: WalkLimits = DEFAULT_LIMITS) -> Walk[list[DirEntry]]:
    """Return the entries of a directory, basic or sharded, sorted by name.

    Raises:
        TargetError: `root` is a file or a symlink.
        UnsafeName: An entry whose name could lead out of a folder.
        ContentError: The directory is malformed or exceeds a limit.
    """
    (block,) = yield from load([root], limits)
    return (yield from list_directory(block, Ledger(limits)))


def list_directory(
    block: Block, ledger: Ledger, read: tuple[Node, UnixFs] | None = None
) -> Walk[list[DirEntry]]:
    """Return the entries of the directory whose root block is at hand; as `walk_directory`.

    Args:
        read: The block as a directory's node, where that is known already.
    """
    node, message = read or read_directory_node(block, ledger.limits)
    ledger.count_nodes(1)
    if message.kind is Kind.DIRECTORY:
        ledger.count_entries(len(node.links))
        entries = [_entry(link, link.name or b"") for link in node.links]
    else:
        entries = yield from _list_shards(block, node, message, ledger)
    entries.sort(key=lambda entry: entry.name)
    for before, after in pairwise(entries):
        if before.name == after.name:
            raise MalformedNode(f"{block.cid}: two entries are named {after.name!r}")
    return entries


def read_directory_node(block: Block, limits: WalkLimits) -> tuple[Node, UnixFs]:
    """Decode a block that must be a directory or the root shard of one.

    Raises:
        TargetError: It is a file or a symlink.
        ContentError: It is malformed.
    """
    if block.cid.codec != DAG_PB:
        raise TargetError(f"{block.cid} is a file, not a directory")
    node, message = read_node(block, limits)
    if message.kind not in (Kind.DIRECTORY, Kind.HAMT_SHARD):
        kind = "symlink" if message.kind is Kind.SYMLINK else "file"
        raise TargetError(f"{block.cid} is a {kind}, not a directory")
    return node, message


def resolve_path(root: Cid, path: Sequence[str], limits: WalkLimits = DEFAULT_LIMITS) -> Walk[Cid]:
    """Return what `path` names below `root`; of a sharded directory only the way there is read.

    Raises:
        TargetError: There is no such entry, or a file stands where a directory is needed.
            Symlinks are not followed.
        ContentError: A directory on the way is malformed or exceeds a limit.
    """
    cid = root
    if len(path) > limits.max_path_depth:
        raise LimitExceeded(f"a path of {len(path)} names; the limit is {limits.max_path_depth}")
    for segment in path:
        (block,) = yield from load([cid], limits)
        node, message = read_directory_node(block, limits)
        try:
            wanted = segment.encode("utf-8")
        except UnicodeEncodeError as error:
            raise TargetError(f"{segment!a} is not a name") from error
        if message.kind is Kind.DIRECTORY:
            links = [link for link in node.links if (link.name or b"") == wanted]
            if len(links) > 1:
                raise MalformedNode(f"{cid}: two entries are named {segment!r}")
            link = links[0] if links else None
        else:
            link = yield from _find_in_shards(block, node, message, wanted, limits)
        if link is None or not wanted:
            raise TargetError(f"{cid} has no entry {segment!r}")
        cid = link.cid
    return cid


def _entry(link: Link, name: bytes) -> DirEntry:
    return DirEntry(name_from_bytes(name), link.cid, link.tsize_bytes or 0)


def _list_shards(root: Block, node: Node, message: UnixFs, ledger: Ledger) -> Walk[list[DirEntry]]:
    shards = [_read_shard(root, node, message, level=0, fanout=None)]
    fanout = shards[0].fanout
    entries: list[DirEntry] = []
    level = 0
    while shards:
        below: list[Cid] = []
        for shard in shards:
            leaves = [bucket for bucket in shard.links if bucket.name]
            ledger.count_entries(len(leaves))
            ledger.count_nodes(len(shard.links) - len(leaves))
            entries += [_entry(bucket.link, bucket.name) for bucket in leaves]
            below += [bucket.link.cid for bucket in shard.links if not bucket.name]
        level += 1
        shards = []
        width = ledger.limits.max_batch
        for start in range(0, len(below), width):
            for block in (yield from load(below[start : start + width], ledger.limits)):
                child, child_message = _read_shard_node(block, ledger.limits)
                shards.append(_read_shard(block, child, child_message, level=level, fanout=fanout))
    return entries


def _find_in_shards(
    root: Block, node: Node, message: UnixFs, wanted: bytes, limits: WalkLimits
) -> Walk[Link | None]:
    shard = _read_shard(root, node, message, level=0, fanout=None)
    fanout = shard.fanout
    level = 0
    while True:
        bucket = bucket_of(wanted, level, fanout)
        held = [link for link in shard.links if link.bucket == bucket]
        if not held or held[0].name:
            return held[0].link if held and held[0].name == wanted else None
        (block,) = yield from load([held[0].link.cid], limits)
        level += 1
        child, child_message = _read_shard_node(block, limits)
        shard = _read_shard(block, child, child_message, level=level, fanout=fanout)


def _read_shard_node(block: Block, limits: WalkLimits) -> tuple[Node, UnixFs]:
    try:
        node, message = read_directory_node(block, limits)
    except TargetError as error:
        raise MalformedNode(f"{block.cid}: not a shard of its directory") from error
    if message.kind is not Kind.HAMT_SHARD:
        raise MalformedNode(f"{block.cid}: not a shard of its directory")
    return node, message


def _read_shard(
    block: Block, node: Node, message: UnixFs, *, level: int, fanout: int | None
) -> Shard:
    try:
        return read_shard(node, message, level=level, fanout=fanout)
    except ContentError as error:
        raise type(error)(f"{block.cid}: {error}") from error

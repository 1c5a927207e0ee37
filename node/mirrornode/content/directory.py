"""Building directories and symlinks: one block, or a trie of shards when it grows too large.

Which of the two is decided by the recipe's estimate of the size, exactly as Kubo decides it,
because the CID depends on it. Reading is `walk`.
Spec: ipfs/specs unixfs.md, "Directory" and "Symlink"; IPIP-499 for the thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirrornode.content.dagpb import Link, encode_node
from mirrornode.content.hamt import HamtEntry, build_hamt
from mirrornode.content.names import check_name
from mirrornode.content.unixfs import Kind, UnixFs, encode_unixfs
from mirrornode.content.varint import uvarint_size
from mirrornode.errors import LimitExceeded, MalformedNode

if TYPE_CHECKING:
    from mirrornode.content.block import Block
    from mirrornode.content.cid import Cid
    from mirrornode.content.recipe import Recipe

__all__ = [
    "DirEntry",
    "DirectoryDag",
    "MAX_SYMLINK_BYTES",
    "build_directory",
    "build_symlink",
    "check_name",
]

MAX_SYMLINK_BYTES = 4096  # PATH_MAX

_DIRECTORY_MESSAGE = encode_unixfs(UnixFs(Kind.DIRECTORY))


@dataclass(frozen=True, slots=True)
class DirEntry:
    """One entry of a directory.

    Attributes:
        name: One plain path segment.
        cid: What it names.
        tsize_bytes: Size of all blocks below, as the writer claims; 0 when unknown. Never trusted.
    """

    name: str
    cid: Cid
    tsize_bytes: int


@dataclass(frozen=True, slots=True)
class DirectoryDag:
    """A built directory: its root, all blocks below it counted once per link, its own blocks."""

    root: Cid
    tsize_bytes: int
    blocks: list[Block]


def build_directory(entries: Iterable[DirEntry], recipe: Recipe) -> DirectoryDag:
    """Build a directory, sharded when the recipe's estimate exceeds its threshold.

    Raises:
        UnsafeName: A name that `check_name` refuses.
        MalformedNode: Two entries of one name.
        LimitExceeded: Names made to collide.
    """
    members: dict[bytes, HamtEntry] = {}
    for entry in entries:
        name = check_name(entry.name).encode("utf-8")
        if name in members:
            raise MalformedNode(f"two entries are named {entry.name!r}")
        members[name] = HamtEntry(name, entry.cid.binary, entry.tsize_bytes)
    ordered = [members[name] for name in sorted(members)]
    blocks: list[Block] = []
    if estimated_size(ordered, recipe) > recipe.hamt_threshold_bytes:
        root = build_hamt(ordered, recipe, blocks)
        return DirectoryDag(root.cid, root.tsize_bytes, blocks)
    links = [Link(entry.cid_bytes, entry.name, entry.tsize_bytes) for entry in ordered]
    block = recipe.node_block(encode_node(links, _DIRECTORY_MESSAGE))
    if not block.cid.is_identity:
        blocks.append(block)
    tsize = len(block.data) + sum(entry.tsize_bytes for entry in ordered)
    return DirectoryDag(block.cid, tsize, blocks)


def build_symlink(target: str, recipe: Recipe) -> tuple[Cid, Block, int]:
    """Return CID, block and Tsize of a symbolic link with this text.

    Raises:
        LimitExceeded: The target is longer than 4096 bytes.
        MalformedNode: The target is empty, not UTF-8, or has NUL in it.
    """
    try:
        raw = target.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MalformedNode(f"symlink target {target!a} is not UTF-8") from error
    check_symlink(raw)
    block = recipe.node_block(encode_node([], encode_unixfs(UnixFs(Kind.SYMLINK, data=raw))))
    return block.cid, block, len(block.data)


def check_symlink(target: bytes) -> str:
    """Return the text of a symlink as it stands in a block; it is text only, never followed.

    Raises:
        LimitExceeded: Longer than 4096 bytes.
        MalformedNode: Empty, not UTF-8, or with NUL in it.
    """
    if len(target) > MAX_SYMLINK_BYTES:
        raise LimitExceeded(f"a symlink of {len(target)} bytes; the limit is {MAX_SYMLINK_BYTES}")
    if not target or b"\0" in target:
        raise MalformedNode("a symlink whose target is empty or contains NUL")
    try:
        return target.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedNode("a symlink whose target is not UTF-8") from error


def estimated_size(entries: Sequence[HamtEntry], recipe: Recipe) -> int:
    """Return the size in bytes that decides about sharding, by the recipe's rule."""
    if recipe.hamt_estimation == "links-bytes":
        return sum(len(entry.name) + len(entry.cid_bytes) for entry in entries)
    total = 1 + uvarint_size(len(_DIRECTORY_MESSAGE)) + len(_DIRECTORY_MESSAGE)
    for name, cid_bytes, tsize in entries:
        body = (
            3
            + uvarint_size(len(cid_bytes))
            + len(cid_bytes)
            + uvarint_size(len(name))
            + len(name)
            + uvarint_size(tsize)
        )
        total += 1 + uvarint_size(body) + body
    return total

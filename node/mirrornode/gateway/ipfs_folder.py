"""Entries of a directory, basic or sharded, one at a time, and the page that a person is shown.

A basic directory is shown in the order of its names. One that is sharded is shown in its own order,
that of the hashes: a page begins where the one before ended, and costs only the shards of its own
rows, in a folder of a hundred thousand as in one of a thousand.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from mirrornode.content.cid import DAG_PB, RAW, Cid
from mirrornode.content.hamt import bucket_of, read_shard
from mirrornode.content.names import MAX_NAME_BYTES, name_from_bytes
from mirrornode.content.unixfs import Kind
from mirrornode.errors import (
    BlockNotFound,
    ContentError,
    LimitExceeded,
    MalformedNode,
    TargetError,
    UnsafeName,
)
from mirrornode.gateway.ipfs_path import follow

if TYPE_CHECKING:
    from mirrornode.content.dagpb import Link
    from mirrornode.gateway.ipfs_blocks import Entity, LocalBlocks

PAGE_ENTRIES = 200
MAX_ENTRIES = 250_000  # of one directory; as many as a `get` takes
MAX_SHARD_DEPTH = 32

_CARDS = ("README.md", "readme.md", "MODEL_CARD.md", "model_card.md", "README", "README.txt")


class Entry(NamedTuple):
    """One entry as it stands in the directory; the name may be anything."""

    name: bytes
    link: Link


@dataclass(frozen=True, slots=True)
class Row:
    """One entry as a person is shown it.

    Attributes:
        name: Made printable when it is not UTF-8.
        is_safe: It can be addressed in a path.
        kind: "file", "folder", "link", or "" when the block that says so is not here.
        size_bytes: Of a file exactly; of all else what the directory claims.
    """

    name: str
    is_safe: bool
    kind: str
    size_bytes: int
    cid: Cid


@dataclass(frozen=True, slots=True)
class FolderPage:
    """A part of a directory.

    Attributes:
        first: How many entries stand before it; None in a sharded directory.
        total: Entries of the directory; None for a sharded one.
        claimed_bytes: What all entries weigh, by the directory's word.
        next_after: The name after which the next page begins, b"" when this is the last.
        card: Name of the README, "" when there is none.
    """

    rows: tuple[Row, ...]
    first: int | None
    total: int | None
    claimed_bytes: int
    next_after: bytes
    card: str


def entries(root: Entity, blocks: LocalBlocks) -> Iterator[Entry]:
    """Yield the entries of a directory in its own order; none has an empty name.

    Raises:
        MalformedNode: Not a directory, or one name twice.
        LimitExceeded: More than `MAX_ENTRIES`.
        BlockNotFound: A shard is not here.
    """
    if root.node is None or root.message is None or not root.is_folder:
        raise MalformedNode(f"{root.block.cid}: not a directory")
    if root.message.kind is Kind.HAMT_SHARD:
        return _sharded(root, blocks)
    return _basic(root.block.cid, root.node.links)


def _basic(cid: Cid, links: Sequence[Link]) -> Iterator[Entry]:
    names: set[bytes] = set()
    for link in links:
        name = link.name or b""
        if not name or name in names:
            raise MalformedNode(f"{cid}: an entry without a name, or one name twice")
        names.add(name)
        yield Entry(name, link)


def _sharded(root: Entity, blocks: LocalBlocks, after: bytes = b"") -> Iterator[Entry]:
    """Walk the shards depth first; a name is in one bucket only, so none comes twice.

    Args:
        after: Begin behind the place of this name; b"" is the beginning.
    """
    fanout: int | None = None
    count = 0
    stack: list[Iterator[tuple[Entry, bool]]] = []

    def open_shard(entity: Entity, *, is_on_way: bool) -> None:
        """Put a shard's entries on the stack; one `is_on_way` is that of `after`, or above it."""
        nonlocal fanout
        if entity.node is None or entity.message is None or not entity.is_folder:
            raise MalformedNode(f"{entity.block.cid}: not a shard of its directory")
        shard = read_shard(entity.node, entity.message, level=len(stack), fanout=fanout)
        fanout = shard.fanout
        border = bucket_of(after, len(stack), fanout) if is_on_way else -1
        rows = (
            (Entry(found.name, found.link), found.bucket == border)
            for found in shard.links
            if found.bucket > border or (found.bucket == border and found.name != after)
        )
        stack.append(rows)

    open_shard(root, is_on_way=bool(after))
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
            continue
        entry, is_on_way = step
        count += 1
        if count > MAX_ENTRIES or len(stack) > MAX_SHARD_DEPTH:
            raise LimitExceeded(f"{root.block.cid}: more than {MAX_ENTRIES} entries")
        if entry.name:
            yield entry
        else:
            open_shard(blocks.entity(entry.link.cid), is_on_way=is_on_way)


def folder_page(
    root: Entity, blocks: LocalBlocks, after: bytes = b"", size: int = PAGE_ENTRIES
) -> FolderPage:
    """Return the entries that follow the one named `after`, at most `size`.

    Raises:
        ContentError, BlockNotFound: As `entries`.
    """
    if root.node is None or root.message is None:
        raise MalformedNode(f"{root.block.cid}: not a directory")
    first: int | None = None
    total: int | None = None
    if root.message.kind is Kind.HAMT_SHARD:
        found = list(islice(_sharded(root, blocks, after), size + 1))
    else:
        all_entries = sorted(entries(root, blocks), key=lambda entry: entry.name)
        total = len(all_entries)
        first = bisect_right(all_entries, after, key=lambda entry: entry.name)
        found = all_entries[first : first + size + 1]
    shown = found[:size]
    return FolderPage(
        rows=tuple(_row(entry, blocks) for entry in shown),
        first=first,
        total=total,
        # Every link of a shard weighs all below it, so the root's own links are enough.
        claimed_bytes=sum(link.tsize_bytes or 0 for link in root.node.links),
        next_after=_cursor(shown[-1].name) if len(found) > size else b"",
        card=_card(root, blocks),
    )


def _card(root: Entity, blocks: LocalBlocks) -> str:
    """Return the name of the README of a directory, "" when it has none."""
    for name in _CARDS:
        try:
            follow(root.block.cid, [name], blocks)
        except (TargetError, ContentError, BlockNotFound):
            continue  # without its card a folder is shown all the same
        return name
    return ""


def _cursor(name: bytes) -> bytes:
    """Return a short text at or after a name; of names too long to be any file's some are lost."""
    return name if len(name) <= MAX_NAME_BYTES else name[:MAX_NAME_BYTES] + b"\xff"


def _row(entry: Entry, blocks: LocalBlocks) -> Row:
    try:
        name, is_safe = name_from_bytes(entry.name), True
    except UnsafeName:
        name, is_safe = entry.name[:MAX_NAME_BYTES].decode("utf-8", "replace"), False
    cid = entry.link.cid
    kind, size_bytes = "", entry.link.tsize_bytes or 0
    if cid.codec == RAW:
        kind = "file"  # its size is its Tsize
    elif cid.codec == DAG_PB:
        try:
            entity = blocks.entity(cid)
            if entity.is_file:
                kind, size_bytes = "file", entity.size_bytes
            elif entity.is_folder:
                kind = "folder"
            elif entity.is_symlink:
                kind = "link"
        except (BlockNotFound, ContentError):
            pass  # shown by name and CID; whoever asks for it is told more
    return Row(name, is_safe, kind, size_bytes, cid)

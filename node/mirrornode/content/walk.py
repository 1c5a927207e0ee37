"""Walking DAGs: the public face, and the walk of a whole tree of folders.

A walk is a generator that yields CIDs and is sent blocks; see `walking` for how it is driven,
`file_walk` for files and `listing` for directories. Symlinks are returned as text, never followed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from mirrornode.content.block import MAX_BLOCK_BYTES, check_verifiable
from mirrornode.content.cid import DAG_PB, RAW, Cid
from mirrornode.content.directory import DirEntry, check_symlink
from mirrornode.content.file_map import FileMap
from mirrornode.content.file_walk import map_file, map_raw_file, walk_file
from mirrornode.content.listing import list_directory, resolve_path, walk_directory
from mirrornode.content.unixfs import Kind
from mirrornode.content.walking import (
    DEFAULT_LIMITS,
    Ledger,
    Walk,
    WalkLimits,
    load,
    read_node,
    run_walk,
    run_walk_async,
    together,
)
from mirrornode.errors import LimitExceeded, MalformedNode

__all__ = [
    "DEFAULT_LIMITS",
    "FileMap",
    "TreeEntry",
    "Walk",
    "WalkLimits",
    "resolve_path",
    "run_walk",
    "run_walk_async",
    "walk_directory",
    "walk_file",
    "walk_tree",
]

_EMPTY_RAW = b"\x12\x20" + hashlib.sha256(b"", usedforsecurity=False).digest()
_CHILDREN_BATCH = 64  # children may be whole leaves of up to 2 MiB, unlike inner nodes

EntryKind: TypeAlias = Literal["file", "directory", "symlink"]


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One file, directory or symlink of a tree.

    Attributes:
        path: Names joined by `/`; empty for the root itself.
        kind: What it is.
        cid: Its CID.
        file: The map of a file, None for others. Equal files share one map: do not change it.
        link_target: The text of a symlink, empty for others.
    """

    path: str
    kind: EntryKind
    cid: Cid
    file: FileMap | None = None
    link_target: str = ""


class _Symlink(NamedTuple):
    target: str


_Seen: TypeAlias = "FileMap | list[DirEntry] | _Symlink"


class _Place(NamedTuple):
    """Where in the tree a DAG stands; `tsize_bytes` is its directory's word, 0 when unknown."""

    path: str
    cid: Cid
    tsize_bytes: int


def walk_tree(root: Cid, limits: WalkLimits = DEFAULT_LIMITS) -> Walk[list[TreeEntry]]:
    """Return everything below `root`, itself included, sorted by path.

    The blocks of directories are not in the result: a caller that wants to keep them takes them
    from what it sends. A raw file of a folder is not loaded; its length is its link's Tsize, which
    every writer sets to the length, and which is proven when the bytes hash to the CID.

    Raises:
        ContentError: Anything below `root` is malformed, cannot be verified, or exceeds a limit.
    """
    ledger = Ledger(limits)
    entries: list[TreeEntry] = []
    maps: dict[Cid, FileMap] = {}
    level = [_Place("", root, 0)]
    for _ in range(limits.max_path_depth + 1):
        fresh = list(dict.fromkeys((place.cid, place.tsize_bytes) for place in level))
        width = min(_CHILDREN_BATCH, limits.max_batch)
        visits = (_visit(cid, tsize, maps, ledger) for cid, tsize in fresh)
        seen = dict(zip(fresh, (yield from together(visits, width)), strict=True))
        below: list[_Place] = []
        for place in level:
            what = seen[place.cid, place.tsize_bytes]
            if isinstance(what, FileMap):
                maps[place.cid] = what
                entries.append(TreeEntry(place.path, "file", place.cid, file=what))
            elif isinstance(what, _Symlink):
                entries.append(TreeEntry(place.path, "symlink", place.cid, link_target=what.target))
            else:
                entries.append(TreeEntry(place.path, "directory", place.cid))
                ledger.count_entries(len(what))
                below += _places(place.path, what, limits)
        if not below:
            return sorted(entries, key=lambda entry: entry.path)
        level = below
    raise LimitExceeded(f"{root}: folders more than {limits.max_path_depth} levels deep")


def _places(path: str, entries: list[DirEntry], limits: WalkLimits) -> Iterator[_Place]:
    for entry in entries:
        joined = f"{path}/{entry.name}" if path else entry.name
        if len(joined.encode("utf-8")) > limits.max_path_bytes:
            raise LimitExceeded(f"a path of more than {limits.max_path_bytes} bytes")
        yield _Place(joined, entry.cid, entry.tsize_bytes)


def _visit(cid: Cid, tsize_bytes: int, maps: dict[Cid, FileMap], ledger: Ledger) -> Walk[_Seen]:
    """Find out what a CID is and read it."""
    if cid in maps:
        return maps[cid]
    if cid.codec == RAW and not cid.is_identity:
        check_verifiable(cid)
        if cid.multihash == _EMPTY_RAW:
            return map_raw_file(cid, 0, b"")
        if 0 < tsize_bytes <= MAX_BLOCK_BYTES:
            return map_raw_file(cid, tsize_bytes, None)
    (block,) = yield from load([cid], ledger.limits)
    if cid.codec == DAG_PB:
        node, message = read_node(block, ledger.limits)
        if message.kind in (Kind.DIRECTORY, Kind.HAMT_SHARD):
            return (yield from list_directory(block, ledger, (node, message)))
        if message.kind is Kind.SYMLINK:
            return _Symlink(check_symlink(message.data or b""))
        if message.kind is Kind.METADATA:
            raise MalformedNode(f"{cid}: UnixFS metadata nodes are not files")
    return (yield from map_file(block, ledger))

"""A tree of files of which blocks may be missing: what is there, and which paths lack something.

`content.walk` reads whole trees and ends at the first block that is not to be had. Here the rest
is read on, under the same limits, because a CAR may hold a part of a DAG on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirrornode.content.cid import DAG_PB, RAW, Cid
from mirrornode.content.directory import check_symlink
from mirrornode.content.file_walk import map_file, map_raw_file
from mirrornode.content.listing import list_directory
from mirrornode.content.unixfs import Kind
from mirrornode.content.walk import TreeEntry
from mirrornode.content.walking import DEFAULT_LIMITS, Ledger, WalkLimits, read_node, run_walk
from mirrornode.errors import BlockNotFound, LimitExceeded, MalformedNode

if TYPE_CHECKING:
    from mirrornode.content.block import Block
    from mirrornode.content.file_map import FileMap

Load = Callable[[Sequence[Cid]], list["Block"]]
"""Returns verified blocks in order, or raises `BlockNotFound`."""


@dataclass(slots=True)
class PartialTree:
    """What is known of a tree.

    Attributes:
        entries: All that could be read, sorted by path; their leaves need not be there.
        missing: Paths whose structure is not to be had; folders end in a slash, the root is "".
    """

    entries: list[TreeEntry] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def read_tree(
    root: Cid,
    load: Load,
    raw_size: Callable[[Cid], int | None],
    limits: WalkLimits = DEFAULT_LIMITS,
) -> PartialTree:
    """Return what can be read of the tree under `root`. Blocking.

    Args:
        raw_size: Tells the size of a raw block without loading it, None when it is not there.

    Raises:
        ContentError: A block is damaged or malformed, or the tree exceeds a limit.
    """
    reader = _Reader(load, raw_size, limits)
    reader.read(root)
    reader.tree.entries.sort(key=lambda entry: entry.path)
    reader.tree.missing.sort()
    return reader.tree


class _Reader:
    """One reading."""

    def __init__(
        self, load: Load, raw_size: Callable[[Cid], int | None], limits: WalkLimits
    ) -> None:
        self.tree = PartialTree()
        self._load = load
        self._raw_size = raw_size
        self._limits = limits
        self._ledger = Ledger(limits)
        self._maps: dict[Cid, FileMap] = {}
        self._folders: dict[Cid, list[tuple[str, Cid]]] = {}

    def read(self, root: Cid) -> None:
        todo = [("", root, 0)]
        while todo:
            path, cid, depth = todo.pop()
            if depth > self._limits.max_path_depth:
                raise LimitExceeded(
                    f"{root}: folders more than {self._limits.max_path_depth} levels deep"
                )
            for name, child in self._visit(path, cid):
                below = f"{path}/{name}" if path else name
                if len(below.encode()) > self._limits.max_path_bytes:
                    raise LimitExceeded(f"a path of more than {self._limits.max_path_bytes} bytes")
                todo.append((below, child, depth + 1))

    def _visit(self, path: str, cid: Cid) -> list[tuple[str, Cid]]:
        """Note what stands at a path; return what is below it."""
        tree = self.tree
        if cid.codec == RAW and not cid.is_identity and cid not in self._maps:
            size = self._raw_size(cid)
            if size is None:
                tree.missing.append(path)
                return []
            self._maps[cid] = map_raw_file(cid, size, None if size else b"")
        if cid in self._maps:
            tree.entries.append(TreeEntry(path, "file", cid, file=self._maps[cid]))
            return []
        if cid in self._folders:
            tree.entries.append(TreeEntry(path, "directory", cid))
            self._ledger.count_entries(len(self._folders[cid]))
            return self._folders[cid]
        try:
            (block,) = self._load([cid])
        except BlockNotFound:
            tree.missing.append(path)
            return []
        if cid.codec == DAG_PB:
            _, message = read_node(block, self._limits)
            if message.kind in (Kind.DIRECTORY, Kind.HAMT_SHARD):
                return self._list(path, block)
            if message.kind is Kind.SYMLINK:
                target = check_symlink(message.data or b"")
                tree.entries.append(TreeEntry(path, "symlink", cid, link_target=target))
                return []
            if message.kind is Kind.METADATA:
                raise MalformedNode(f"{cid}: UnixFS metadata nodes are not files")
        try:
            self._maps[cid] = run_walk(map_file(block, self._ledger), self._load)
        except BlockNotFound:
            tree.missing.append(path)
            return []
        tree.entries.append(TreeEntry(path, "file", cid, file=self._maps[cid]))
        return []

    def _list(self, path: str, block: Block) -> list[tuple[str, Cid]]:
        try:
            found = run_walk(list_directory(block, self._ledger), self._load)
        except BlockNotFound:
            self.tree.missing.append(f"{path}/" if path else "")
            return []
        self.tree.entries.append(TreeEntry(path, "directory", block.cid))
        self._folders[block.cid] = [(entry.name, entry.cid) for entry in found]
        return self._folders[block.cid]

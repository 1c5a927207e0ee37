"""What one transfer has to bring: every leaf of every file, numbered in one row.

A transfer of a single file and one of a folder with ten thousand are the same to the planner: a
row of leaves with their sizes. The manifest maps a leaf number back to its file and offset. It is
made from verified inner nodes only, so its sizes and hashes are those of the Merkle tree.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.content.walk import FileMap, TreeEntry


SMALL_FILE_BYTES = 256 * 1024  # larger files gain nothing from sharing a request


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One regular file of the transfer; `path` is relative, "" for a single-file target."""

    path: str
    root: Cid
    map: FileMap
    first_leaf: int

    @property
    def stop_leaf(self) -> int:
        return self.first_leaf + self.map.leaves


@dataclass(slots=True)
class Manifest:
    """All leaves of a target in one row, in the order of its files.

    Attributes:
        target: Root CID of the whole.
        entries: The tree as walked, folders and symlinks included.
        files: The regular files, in leaf order: small ones first, so that none waits behind a
            large one.
        edges: Byte position of each leaf in the row, and the total as last element.
        size_bytes: Bytes of all files, inline bytes included.
    """

    target: Cid
    entries: Sequence[TreeEntry]
    files: list[ManifestFile] = field(default_factory=list)
    edges: array[int] = field(default_factory=lambda: array("Q", [0]))
    size_bytes: int = 0
    _firsts: list[int] = field(default_factory=list)

    @property
    def leaves(self) -> int:
        return len(self.edges) - 1

    @property
    def batch_stop(self) -> int:
        """Leaves `[0, batch_stop)` are small files of one leaf each (files are sorted by size)."""
        stop = 0
        for file in self.files:
            if file.map.leaves > 1 or file.map.size_bytes > SMALL_FILE_BYTES:
                break
            stop = file.stop_leaf
        return stop

    @property
    def is_single_file(self) -> bool:
        return len(self.entries) == 1 and self.entries[0].kind == "file"

    def locate(self, leaf: int) -> tuple[int, int]:
        """Return (index of the file, leaf number inside it)."""
        index = bisect_right(self._firsts, leaf) - 1
        # Empty files share their first leaf number with the next file and own no leaf.
        return index, leaf - self.files[index].first_leaf

    def file_stop(self, leaf: int) -> int:
        """Return the first leaf number after the file that holds `leaf`."""
        return self.files[self.locate(leaf)[0]].stop_leaf


def make_manifest(target: Cid, entries: Sequence[TreeEntry]) -> Manifest:
    """Number the leaves of a walked tree."""
    manifest = Manifest(target, entries)
    found = [(entry, entry.file) for entry in entries if entry.file is not None]
    found.sort(key=lambda pair: (pair[1].size_bytes, pair[0].path))
    position, number = 0, 0
    for entry, file_map in found:
        manifest.files.append(ManifestFile(entry.path, entry.cid, file_map, number))
        manifest._firsts.append(number)
        manifest.size_bytes += file_map.size_bytes
        for length in file_map.lengths:
            position += length
            manifest.edges.append(position)
        number += file_map.leaves
    return manifest

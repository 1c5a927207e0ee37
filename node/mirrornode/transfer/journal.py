"""What survives a crash: which leaves of a part file are known to be good.

A claim is written only after the data it speaks of was synced, so it never runs ahead of the
bytes. At the next start a claim is believed only when the part has exactly the status it had when
the claim was written; otherwise, and for all that was written after the last claim, the leaves
that lie in the part are hashed again. So kill -9 loses next to nothing, and no damage to a part
can reach the finished file.
"""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.buffers import page_aligned
from mirrornode.content.leaf_form import leaf_multihash
from mirrornode.errors import PathRefused
from mirrornode.transfer.extents import data_runs, leaves_between

if TYPE_CHECKING:
    from mirrornode.content.walk import FileMap
    from mirrornode.store.catalog import Catalog
    from mirrornode.transfer.outputs import OutputFile

JOURNALED_LEAVES = 8  # smaller files are hashed again in no time
CHECKERS = 2  # threads that hash a part: one for each core of a small machine
CHECK_LEAVES = 64  # leaves one checker takes at a time
MIN_BEGUN_BYTES = 4096  # less is not worth a second look


@dataclass(frozen=True, slots=True)
class Resumed:
    """What was found of one file before the transfer began.

    Attributes:
        done: One byte a leaf, 1 where the part holds it.
        is_final: The file is complete under its final name already.
        begun: How many bytes of a leaf the part may hold that is not done, by leaf.
    """

    done: bytearray
    is_final: bool = False
    begun: dict[int, int] = field(default_factory=dict)


class Journal:
    """Reads and writes the claims of one transfer's files."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def resume(self, output: OutputFile) -> Resumed:
        """Find out what of `output` is there already. Blocking."""
        file_map = output.file.map
        if not file_map.has_hashes:
            return Resumed(self._claimed(output) or bytearray(file_map.leaves))
        if _has_size(output.path, file_map.size_bytes):
            done = self._check(output.path, file_map, _empty_leaves(file_map))
            if all(done) and _has_inline(output.path, file_map):
                return Resumed(done, is_final=True)
        if not _may_be_part(output.part, file_map.size_bytes):
            return Resumed(_empty_leaves(file_map))
        known = self._claimed(output) or _empty_leaves(file_map)
        begun: dict[int, int] = {}
        return Resumed(self._check(output.part, file_map, known, begun), begun=begun)

    def claim(self, output: OutputFile, done: bytes) -> None:
        """Sync the part and record what it holds; `done` was copied before this call. Blocking."""
        if output.file.map.leaves < JOURNALED_LEAVES:
            return
        status = output.sync()
        if status is None:
            return
        done = output.without_holes(done)
        self._catalog.save_transfer(
            output.file.root,
            output.path,
            output.part,
            status.st_ino,
            status.st_mtime_ns,
            pack(done),
        )

    def forget(self, output: OutputFile) -> None:
        """Drop the claims of a finished file."""
        if output.file.map.leaves >= JOURNALED_LEAVES:
            self._catalog.close_transfer(output.file.root, output.path)

    def _claimed(self, output: OutputFile) -> bytearray | None:
        record = self._catalog.open_transfer(output.file.root, output.path)
        if record is not None:
            try:
                status = output.part.lstat()
            except OSError:
                return None
            is_untouched = status.st_mtime_ns == record.part_mtime_ns
            # Without leaf hashes the hash of the whole decides in the end, claims or not.
            is_checked_later = not output.file.map.has_hashes
            if status.st_ino == record.part_inode and (is_untouched or is_checked_later):
                return unpack(record.leaf_bits, output.file.map.leaves)
        return None

    def _check(
        self,
        path: Path,
        file_map: FileMap,
        done: bytearray,
        begun: dict[int, int] | None = None,
    ) -> bytearray:
        """Return `done` with every further leaf marked that the file's written parts hold.

        Leaves of which only a beginning may be there are noted in `begun`.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return done
        try:
            touched = dict.fromkeys(
                leaf
                for start, stop in data_runs(descriptor, file_map.size_bytes)
                for leaf in leaves_between(file_map, start, stop)
            )
            leaves = [leaf for leaf in touched if not done[leaf]]
            batches = [leaves[at : at + CHECK_LEAVES] for at in range(0, len(leaves), CHECK_LEAVES)]
            if len(batches) <= 1:
                for batch in batches:
                    _check_leaves(descriptor, file_map, batch, done, begun)
                return done
            with ThreadPoolExecutor(CHECKERS, "part-check") as pool:
                jobs = [
                    pool.submit(_check_leaves, descriptor, file_map, batch, done, begun)
                    for batch in batches
                ]
                for job in jobs:
                    job.result()
            return done
        except OSError as exc:
            raise PathRefused(path, "read", exc.strerror or str(exc)) from exc
        finally:
            os.close(descriptor)


def pack(done: bytes) -> bytes:
    """Return one bit a leaf, first leaf in the lowest bit of the first byte."""
    packed = bytearray((len(done) + 7) // 8)
    for leaf, is_done in enumerate(done):
        if is_done:
            packed[leaf >> 3] |= 1 << (leaf & 7)
    return bytes(packed)


def unpack(bits: bytes, leaves: int) -> bytearray:
    """Return one byte a leaf; bits of another length claim nothing."""
    if len(bits) != (leaves + 7) // 8:
        return bytearray(leaves)
    return bytearray((bits[leaf >> 3] >> (leaf & 7)) & 1 for leaf in range(leaves))


def _has_size(path: Path, size_bytes: int) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size_bytes


def _may_be_part(path: Path, size_bytes: int) -> bool:
    """Tell whether a part of this file may lie there; small ones grow, others are made whole."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and 0 < status.st_size <= size_bytes


def _empty_leaves(file_map: FileMap) -> bytearray:
    """Return one byte a leaf, 1 for leaves without bytes: no server can be asked for those."""
    done = bytearray(file_map.leaves)
    if 0 in file_map.lengths:
        nothing = leaf_multihash(file_map.leaf_form, file_map.hash_code, b"")
        for leaf, multihash in enumerate(file_map.multihashes):
            done[leaf] = file_map.lengths[leaf] == 0 and multihash == nothing
    return done


def _has_inline(path: Path, file_map: FileMap) -> bool:
    """Tell whether a file holds the bytes of its tree that are no leaves."""
    if not file_map.inline:
        return True
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return all(
            os.pread(descriptor, len(inline), offset) == inline
            for offset, inline in file_map.inline
        )
    except OSError as exc:
        raise PathRefused(path, "read", exc.strerror or str(exc)) from exc
    finally:
        os.close(descriptor)


def _check_leaves(
    descriptor: int,
    file_map: FileMap,
    leaves: list[int],
    done: bytearray,
    begun: dict[int, int] | None,
) -> None:
    buffer = page_aligned(max(file_map.lengths[leaf] for leaf in leaves))
    for leaf in leaves:
        view = buffer[: file_map.lengths[leaf]]
        count = os.preadv(descriptor, [view], file_map.starts[leaf])
        if count == len(view):
            found = leaf_multihash(file_map.leaf_form, file_map.hash_code, view)
            if found == file_map.multihashes[leaf]:
                done[leaf] = 1
                continue
        if begun is not None:
            # Reserved space reads as zeros: what lies before them may be a leaf's beginning. If
            # it is not, the leaf will not match and is fetched once more, whole.
            written = len(bytes(view[:count]).rstrip(b"\0"))
            if MIN_BEGUN_BYTES <= written < len(view):
                begun[leaf] = written

"""The files a transfer writes: `<name>.part` until every leaf is verified, then renamed.

Writers come from many threads, each at its own offset. A file is closed and renamed only when no
writer is inside it, so a late duplicate can never write through a recycled descriptor. The order
at the end is: data to disk, rename, folder to disk (crash safe on ext4, xfs, apfs).

Other programs may remove, replace or truncate a part meanwhile. What gets the final name is the
very file that was written, and nothing of it unwritten; else the transfer fails, and says why.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import threading
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.buffers import page_aligned
from mirrornode.content.leaf_form import leaf_multihash
from mirrornode.errors import DiskFull, PathRefused, StoreError
from mirrornode.store.stamps import FileStamp, open_regular
from mirrornode.transfer.disk import REAL_DISK, Disk
from mirrornode.transfer.extents import holes, leaves_between
from mirrornode.transfer.space import allocate, free_bytes, reserve

if TYPE_CHECKING:
    from mirrornode.transfer.manifest import Manifest, ManifestFile

PART_SUFFIX = ".part"
BLOCK_BYTES = 512  # what st_blocks counts, whatever the file system's own are
REMOVED = "somebody removed or replaced it meanwhile"
MAX_NAME_BYTES = 255  # of every file system in use; a part of a long name gets a shorter one


class OutputFile:
    """One regular file on its way to its final name.

    Attributes:
        stamp: What the file looked like when it got its final name; None before, and for one
            that had it already.
        begun: How many bytes of a leaf an earlier run may have received, by leaf. Unverified:
            whoever uses them checks the whole leaf, and removes the entry when it is wrong.
    """

    def __init__(self, file: ManifestFile, path: Path | str, disk: Disk = REAL_DISK) -> None:
        self.file = file
        # Texts, not paths: with ten thousand small files, making paths was a tenth of the time.
        self.path_text = os.fspath(path)
        self.part_text = part_text(self.path_text)
        self.is_finished = False
        self.stamp: FileStamp | None = None
        self.begun: dict[int, int] = {}
        self._disk = disk
        self._descriptor: int | None = None
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # to write: the kernel lets one at a time, and others spin
        self._users = 0
        self._is_sealed = False
        self._left: threading.Condition | None = None  # made by the first who waits: most never do
        self._reserved: set[int] | None = None  # windows touched so far, on file systems in memory
        self._written = bytearray(file.map.leaves)  # leaves that came verified: no `keep` any more
        self._keeping: int | None = None  # the leaf that a `keep` is writing
        self._is_named_on_disk = False
        self._failure: DiskFull | PathRefused | None = None  # of a sync: no claim after that

    @property
    def path(self) -> Path:
        """The final name."""
        return Path(self.path_text)

    @property
    def part(self) -> Path:
        """Where the file grows until all of it is verified."""
        return Path(self.part_text)

    def open(self) -> int:
        """Create or reopen the part file at its full size and return its descriptor.

        Raises:
            DiskFull: The file system cannot hold it.
            PathRefused: The folder or file cannot be written.
        """
        with self._lock:
            if self._descriptor is None:
                self._descriptor = self._open()
            return self._descriptor

    def write(self, view: memoryview, offset: int) -> None:
        """Write all of `view`, verified bytes of whole leaves, at `offset`.

        Dropped silently when the file is finished or closed.
        """
        file_map = self.file.map
        first = bisect_right(file_map.starts, offset) - 1
        with self._lock:
            if self._is_sealed:
                return
            if self._descriptor is None:
                self._descriptor = self._open()
            descriptor = self._descriptor
            self._users += 1
            # From here on no unverified byte can come over these; one under way comes before.
            stop = bisect_right(file_map.starts, offset + max(0, len(view) - 1), first)
            self._written[first:stop] = b"\x01" * (stop - first)
            self._wait_for(lambda: self._keeping not in range(first, stop))
        try:
            with self._turn:
                if self._reserved is not None and view:
                    size = file_map.size_bytes
                    reserve(self._reserved, descriptor, offset, offset + len(view), size)
                self._disk.write(descriptor, view, offset)
        except OSError as exc:
            raise self._refused(exc) from exc
        finally:
            self._leave()

    def keep(self, leaf: int, view: memoryview, offset: int) -> bool:
        """Write bytes of a leaf that is still arriving, unverified, for a run after a crash.

        Returns:
            False when nothing was written: the leaf has come verified, the file is closed, or the
            disk refuses, which `write` will tell.
        """
        with self._lock:
            if self._is_sealed or self._written[leaf] or self._keeping is not None:
                return False
            if self._descriptor is None:
                try:
                    self._descriptor = self._open()
                except StoreError:
                    return False
            descriptor = self._descriptor
            self._keeping = leaf
            self._users += 1
        try:
            self._disk.write(descriptor, view, offset)
        except OSError:
            return False
        finally:
            self._keeping = None
            self._leave()
        return True

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill `view` with what is at `offset`, verified or not; return how many bytes there were.

        Works on the part and on the finished file; 0 when neither is there.
        """
        with self._lock:
            descriptor = self._descriptor
            if descriptor is not None:
                self._users += 1
        if descriptor is None:
            return _read_file(self.path if self.is_finished else self.part, view, offset)
        try:
            return os.preadv(descriptor, [view], offset)
        except OSError:
            return 0
        finally:
            self._leave()

    def stretch_stop(self, leaf: int, stop: int) -> int:
        """Return where a request for the leaves `[leaf, stop)` must end: at the next begun one."""
        if not self.begun:
            return stop
        return min((begun for begun in tuple(self.begun) if leaf < begun < stop), default=stop)

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._left is not None:
                self._left.notify_all()

    def missing_bytes(self) -> int:
        """Return what the file system still has to give for this file."""
        if self.is_finished:
            return 0
        size = self.file.map.size_bytes
        try:
            return max(0, size - os.lstat(self.part_text).st_blocks * BLOCK_BYTES)
        except OSError:
            return size

    def sync(self) -> os.stat_result | None:
        """Bring the data to disk and return the part's status; None when nothing is open.

        Raises:
            DiskFull: The file system had no room after all.
            PathRefused: The disk failed, now or at an earlier call: what the part holds is
                unknown until it is read again. Or the part is not there any more.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if self._descriptor is None or self._is_sealed:
                return None
            descriptor = os.dup(self._descriptor)
        try:
            return self._sync(descriptor)
        finally:
            os.close(descriptor)

    def without_holes(self, done: bytes) -> bytes:
        """Return `done` less the leaves of which the part has bytes that nobody wrote.

        There are none, unless somebody cut the part behind our back: a claim must not cover them.
        """
        with self._lock:
            if self._descriptor is None:
                return bytes(len(done))
            descriptor = os.dup(self._descriptor)
        try:
            kept = bytearray(done)
            for start, stop in holes(descriptor, self.file.map.size_bytes):
                leaves = leaves_between(self.file.map, start, stop)
                kept[leaves.start : leaves.stop] = bytes(len(leaves))
            return bytes(kept)
        finally:
            os.close(descriptor)

    def finish(self) -> None:
        """Make the part durable and give it its final name. The caller knows it is complete.

        Raises:
            DiskFull: The file system had no room after all.
            PathRefused: The disk failed, or somebody else removed, replaced or cut the part.
        """
        self.open()
        with self._lock:
            self._is_sealed = True
            # A duplicate of a leaf may still be on its way to the disk; microseconds.
            self._wait_for(lambda: not self._users)
            descriptor, self._descriptor = self._descriptor, None
            assert descriptor is not None
        try:
            if self._failure is not None:
                raise self._failure
            status = self._sync(descriptor)
            self._check_whole(descriptor, status)
            try:
                self._disk.rename(self.part_text, self.path_text)
            except FileNotFoundError as exc:
                raise self._spoiled(REMOVED) from exc
            found = _status_of(self.path_text)
            if not _is_same(found, status):
                self._take_back()
                raise self._spoiled("it was replaced while it was renamed")
            assert found is not None
            self.stamp = FileStamp.of(found)
            self.is_finished = True
        except OSError as exc:
            raise self._refused(exc) from exc
        finally:
            os.close(descriptor)

    def _sync(self, descriptor: int) -> os.stat_result:
        """Bring data and name of the part to disk; the name only the first time."""
        try:
            self._disk.sync(descriptor)
            status = os.fstat(descriptor)
            if self.file.map.leaves > 1:  # a file of one leaf is renamed next, and looked at then
                if not _is_same(_status_of(self.part_text), status):
                    raise self._spoiled(REMOVED)
                if not self._is_named_on_disk:
                    self._disk.sync_folder(self.part.parent)
                    self._is_named_on_disk = True
        except OSError as exc:
            self._failure = self._refused(exc)
            raise self._failure from exc
        return status

    def _check_whole(self, descriptor: int, status: os.stat_result) -> None:
        """Refuse a part that was cut, also one that has grown again: its leaves are not there."""
        file_map = self.file.map
        if status.st_size != file_map.size_bytes:
            raise self._spoiled("somebody changed its size meanwhile")
        if status.st_blocks * BLOCK_BYTES >= file_map.size_bytes and file_map.leaves <= 1:
            return  # no room for a hole, at the price of no further call
        for start, stop in holes(descriptor, file_map.size_bytes):
            for leaf in leaves_between(file_map, start, stop):
                # Some file systems keep zeros as holes: then the leaf is right.
                view = page_aligned(file_map.lengths[leaf])[: file_map.lengths[leaf]]
                count = os.preadv(descriptor, [view], file_map.starts[leaf])
                found = leaf_multihash(file_map.leaf_form, file_map.hash_code, view)
                if count != len(view) or found != file_map.multihashes[leaf]:
                    raise self._spoiled("somebody cut it meanwhile")

    def _take_back(self) -> None:
        """Undo the rename of a file that is not ours."""
        with contextlib.suppress(OSError):
            self._disk.rename(self.path_text, self.part_text)

    def _spoiled(self, how: str) -> PathRefused:
        again = "the same command goes on from what is left"
        return PathRefused(self.part, "finish", f"{how}; {again}")

    def _wait_for(self, is_so: Callable[[], bool]) -> None:
        """Wait, with the lock held, until no writer is in the way; microseconds."""
        if is_so():
            return
        if self._left is None:
            self._left = threading.Condition(self._lock)
        self._left.wait_for(is_so)

    def close(self) -> None:
        """Close without finishing; the part stays for the next run. Late writes are dropped."""
        with self._lock:
            self._is_sealed = True
            self._wait_for(lambda: not self._users)
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                os.close(descriptor)

    def _open(self) -> int:
        size = self.file.map.size_bytes
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            try:
                descriptor = os.open(self.part_text, flags, 0o644)
            except FileNotFoundError:
                make_folder(self.part.parent, self._disk)
                descriptor = os.open(self.part_text, flags, 0o644)
        except OSError as exc:
            raise self._refused(exc) from exc
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise PathRefused(self.part, "write", "it is no regular file")
            lock_part(descriptor, self.part_text)
            if status.st_size > size:
                os.ftruncate(descriptor, size)
            self._reserved = allocate(descriptor, size)
            for offset, inline in self.file.map.inline:
                self._disk.write(descriptor, memoryview(inline), offset)
        except OSError as exc:
            os.close(descriptor)
            raise self._refused(exc) from exc
        except PathRefused:
            os.close(descriptor)
            raise
        return descriptor

    def _refused(self, exc: OSError) -> DiskFull | PathRefused:
        return write_error(exc, self.path, self.file.map.size_bytes)


def write_error(exc: OSError, path: Path, needed_bytes: int) -> DiskFull | PathRefused:
    """Return what a failed write to `path` means to the user."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(path, needed_bytes, free_bytes(path.parent))
    return PathRefused(path, "write", exc.strerror or str(exc))


def lock_part(descriptor: int, part: Path | str) -> None:
    """Own a part file until it is closed: two transfers into one would spoil each other's end.

    Raises:
        PathRefused: Another transfer is writing it, in this process or another.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise PathRefused(Path(part), "write", "another transfer is writing it") from exc
    except OSError:
        pass  # a file system without locks


def part_text(path: str, suffix: str = PART_SUFFIX) -> str:
    """Return where a file grows; a name that leaves no room for the suffix is shortened."""
    folder, slash, name = path.rpartition("/")
    encoded = os.fsencode(name)
    if len(encoded) + len(suffix) <= MAX_NAME_BYTES:
        return path + suffix
    short = encoded[:200].decode(errors="ignore")
    return f"{folder}{slash}{short}-{hashlib.sha256(encoded).hexdigest()[:12]}{suffix}"


def make_folder(folder: Path, disk: Disk = REAL_DISK) -> None:
    """Create a folder and those above it, their names on disk; it may be there already."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for made in reversed(missing):
        made.mkdir(exist_ok=True)
        disk.sync_folder(made.parent)


def _status_of(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _is_same(found: os.stat_result | None, status: os.stat_result) -> bool:
    """Tell whether what was found at a path is the very file of `status`."""
    return found is not None and (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino)


def _read_file(path: Path, view: memoryview, offset: int) -> int:
    """Read from a regular file, whose bytes nobody vouches for; 0 when it cannot be read."""
    try:
        descriptor = open_regular(path)
    except StoreError:
        return 0
    try:
        return os.preadv(descriptor, [view], offset)
    except OSError:
        return 0
    finally:
        os.close(descriptor)


def lay_out(manifest: Manifest, destination: Path, disk: Disk = REAL_DISK) -> list[OutputFile]:
    """Return the output of every file of the manifest below `destination`."""
    base = os.fspath(destination)
    return [
        OutputFile(file, f"{base}/{file.path}" if file.path else base, disk)
        for file in manifest.files
    ]


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    REAL_DISK.sync_folder(folder)

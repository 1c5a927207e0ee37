"""The files a transfer writes: `<name>.part` until every leaf is verified, then renamed.

Writers come from many threads, each at its own offset. A file is closed and renamed only when no
writer is inside it, so a late duplicate can never write through a recycled descriptor. The order
at the end is: data to disk, rename, folder to disk (crash safe on ext4, xfs, apfs).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from mirrornode.errors import DiskFull, PathRefused

if TYPE_CHECKING:
    from mirrornode.transfer.manifest import Manifest, ManifestFile

PART_SUFFIX = ".part"
SMALL_BYTES = 256 * 1024  # written in one go: reserving it first would only cost a call
WINDOW_BYTES = 32 << 20
SPARE_BYTES = 16 << 20  # room left on the file system for the catalog and everyone else


class OutputFile:
    """One regular file on its way to its final name."""

    def __init__(self, file: ManifestFile, path: Path) -> None:
        self.file = file
        self.path = path
        self.part = path.with_name(path.name + PART_SUFFIX)
        self.is_finished = False
        self._descriptor: int | None = None
        self._lock = threading.Lock()
        self._users = 0
        self._is_sealed = False
        self._left = threading.Condition(self._lock)
        self._reserved: set[int] | None = None  # windows touched so far, on file systems in memory

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
        """Write all of `view` at `offset`; dropped silently when the file is finished or closed."""
        with self._lock:
            if self._is_sealed:
                return
            if self._descriptor is None:
                self._descriptor = self._open()
            descriptor = self._descriptor
            self._users += 1
        try:
            if self._reserved is not None and view:
                self._reserve(self._reserved, descriptor, offset, offset + len(view))
            written = 0
            while written < len(view):
                written += os.pwrite(descriptor, view[written:], offset + written)
        except OSError as exc:
            raise self._refused(exc) from exc
        finally:
            with self._lock:
                self._users -= 1
                self._left.notify_all()

    def _reserve(self, reserved: set[int], descriptor: int, start: int, stop: int) -> None:
        """Allocate the windows that `[start, stop)` lies in, unless that was done."""
        size = self.file.map.size_bytes
        for window in range(start // WINDOW_BYTES, (stop - 1) // WINDOW_BYTES + 1):
            if window not in reserved:
                reserved.add(window)
                first = window * WINDOW_BYTES
                os.posix_fallocate(descriptor, first, min(WINDOW_BYTES, size - first))

    def missing_bytes(self) -> int:
        """Return what the file system still has to give for this file."""
        if self.is_finished:
            return 0
        size = self.file.map.size_bytes
        try:
            return max(0, size - self.part.lstat().st_blocks * 512)
        except OSError:
            return size

    def sync(self) -> os.stat_result | None:
        """Bring the data to disk and return the part's status; None when nothing is open."""
        with self._lock:
            if self._descriptor is None or self._is_sealed:
                return None
            descriptor = os.dup(self._descriptor)
        try:
            _sync(descriptor)
            return os.fstat(descriptor)
        except OSError as exc:
            raise self._refused(exc) from exc
        finally:
            os.close(descriptor)

    def finish(self) -> None:
        """Make the part durable and give it its final name. The caller knows it is complete."""
        self.open()
        with self._lock:
            self._is_sealed = True
            # A duplicate of a leaf may still be on its way to the disk; microseconds.
            self._left.wait_for(lambda: not self._users)
            descriptor, self._descriptor = self._descriptor, None
            assert descriptor is not None
        try:
            _sync(descriptor)
            os.replace(self.part, self.path)
            self.is_finished = True
        except OSError as exc:
            raise self._refused(exc) from exc
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close without finishing; the part stays for the next run. Late writes are dropped."""
        with self._lock:
            self._is_sealed = True
            self._left.wait_for(lambda: not self._users)
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                os.close(descriptor)

    def _open(self) -> int:
        size = self.file.map.size_bytes
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            try:
                descriptor = os.open(self.part, flags, 0o644)
            except FileNotFoundError:
                self.part.parent.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(self.part, flags, 0o644)
        except OSError as exc:
            raise self._refused(exc) from exc
        try:
            lock_part(descriptor, self.part)
            if os.fstat(descriptor).st_size > size:
                os.ftruncate(descriptor, size)
            self._reserved = _allocate(descriptor, size)
            for offset, inline in self.file.map.inline:
                os.pwrite(descriptor, inline, offset)
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


def lock_part(descriptor: int, part: Path) -> None:
    """Own a part file until it is closed: two transfers into one would spoil each other's end.

    Raises:
        PathRefused: Another transfer is writing it, in this process or another.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise PathRefused(part, "write", "another transfer is writing it") from exc
    except OSError:
        pass  # a file system without locks


def _sync(descriptor: int) -> None:
    """Bring a file's data to disk; macOS has no fdatasync."""
    getattr(os, "fdatasync", os.fsync)(descriptor)


def _allocate(descriptor: int, size_bytes: int) -> set[int] | None:
    """Reserve the whole file: less fragmentation, and a full disk shows before the transfer.

    A file system in memory would touch every page for that, 0.3 s a GiB before the first byte; page
    by page in the writes it would cost still more. There the lanes reserve windows as they reach
    them, which is what the returned set is for.
    """
    if size_bytes <= SMALL_BYTES:
        return None
    if not hasattr(os, "posix_fallocate"):  # macOS
        os.ftruncate(descriptor, size_bytes)
        return None
    if _is_in_memory(descriptor):
        os.ftruncate(descriptor, size_bytes)
        return set()
    os.posix_fallocate(descriptor, 0, size_bytes)
    return None


def _is_in_memory(descriptor: int) -> bool:
    """Tell whether a file lies on a tmpfs."""
    device = os.fstat(descriptor).st_dev
    for partition in psutil.disk_partitions(all=True):
        if partition.fstype in ("tmpfs", "ramfs"):
            with contextlib.suppress(OSError):
                if os.stat(partition.mountpoint).st_dev == device:
                    return True
    return False


def lay_out(manifest: Manifest, destination: Path) -> list[OutputFile]:
    """Return the output of every file of the manifest below `destination`."""
    return [
        OutputFile(file, destination / file.path if file.path else destination)
        for file in manifest.files
    ]


def free_bytes(folder: Path) -> int:
    """Return what an unprivileged writer may still put on the file system of `folder`."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_space(destination: Path, needed_bytes: int) -> None:
    """Refuse early what cannot fit.

    Raises:
        DiskFull: Less than `needed_bytes` and a little spare room are free.
    """
    free = free_bytes(destination.parent)
    if needed_bytes and needed_bytes + SPARE_BYTES > free:
        raise DiskFull(destination, needed_bytes, free)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The files a transfer writes: `<name>.part` until every leaf is verified, then renamed.

Writers come from many threads, each at its own offset. A file is closed and renamed only when no
writer is inside it, so a late duplicate can never write through a recycled descriptor. The order
at the end is: data to disk, rename, folder to disk (crash safe on ext4, xfs, apfs).
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.errors import DiskFull, PathRefused

if TYPE_CHECKING:
    from mirrornode.transfer.manifest import Manifest, ManifestFile

PART_SUFFIX = ".part"
SMALL_BYTES = 256 * 1024  # written in one go: reserving it first would only cost a call
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
        """Write all of `view` at `offset`; dropped silently when the file is finished already."""
        with self._lock:
            if self.is_finished:
                return
            if self._descriptor is None:
                self._descriptor = self._open()
            descriptor = self._descriptor
            self._users += 1
        try:
            written = 0
            while written < len(view):
                written += os.pwrite(descriptor, view[written:], offset + written)
        except OSError as exc:
            raise self._refused(exc) from exc
        finally:
            with self._lock:
                self._users -= 1

    def missing_bytes(self) -> int:
        """Return what the file system still has to give for this file."""
        if self.is_finished:
            return 0
        size = self.file.map.size_bytes
        try:
            return max(0, size - self.part.lstat().st_blocks * 512)
        except OSError:
            return size

    @property
    def is_busy(self) -> bool:
        with self._lock:
            return self._users > 0

    def sync(self) -> os.stat_result | None:
        """Bring the data to disk and return the part's status; None when nothing is open."""
        with self._lock:
            if self._descriptor is None or self.is_finished:
                return None
            descriptor = os.dup(self._descriptor)
        try:
            os.fdatasync(descriptor)
            return os.fstat(descriptor)
        except OSError as exc:
            raise self._refused(exc) from exc
        finally:
            os.close(descriptor)

    def finish(self) -> None:
        """Make the part durable and give it its final name. The caller knows it is complete."""
        self.open()
        with self._lock:
            assert self._users == 0
            descriptor, self._descriptor = self._descriptor, None
            self.is_finished = True
            assert descriptor is not None
        try:
            os.fdatasync(descriptor)
            os.replace(self.part, self.path)
        except OSError as exc:
            raise self._refused(exc) from exc
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close without finishing; the part stays for the next run."""
        with self._lock:
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
            if os.fstat(descriptor).st_size > size:
                os.ftruncate(descriptor, size)
            _allocate(descriptor, size)
            for offset, inline in self.file.map.inline:
                os.pwrite(descriptor, inline, offset)
        except OSError as exc:
            os.close(descriptor)
            raise self._refused(exc) from exc
        return descriptor

    def _refused(self, exc: OSError) -> DiskFull | PathRefused:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            free = free_bytes(self.path.parent)
            return DiskFull(self.path, self.file.map.size_bytes, free)
        return PathRefused(self.path, "write", exc.strerror or str(exc))


def _allocate(descriptor: int, size_bytes: int) -> None:
    """Reserve the whole file: less fragmentation, and a full disk shows before the transfer."""
    if not hasattr(os, "posix_fallocate"):  # macOS
        os.ftruncate(descriptor, size_bytes)
    elif size_bytes > SMALL_BYTES:
        os.posix_fallocate(descriptor, 0, size_bytes)


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

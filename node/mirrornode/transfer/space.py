"""Room on the file system of a download: looked at before, and reserved as it is needed."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil

from mirrornode.errors import DiskFull

SMALL_BYTES = 256 * 1024  # written in one go: reserving it first would only cost a call
WINDOW_BYTES = 2 << 20  # other writers of the file wait while the kernel touches its pages
SPARE_BYTES = 16 << 20  # room left on the file system for the catalog and everyone else


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


def allocate(descriptor: int, size_bytes: int) -> set[int] | None:
    """Reserve the whole file: less fragmentation, and a full disk shows before the transfer.

    A file system in memory would touch every page for that, 0.3 s a GiB before the first byte; page
    by page in the writes it would cost still more. There the lanes reserve windows as they reach
    them, which is what the returned set is for. Where nothing can be reserved (NFS 3, FUSE, ext2,
    macOS) the file has its size, and its blocks as they are written.
    """
    if size_bytes <= SMALL_BYTES:
        return None
    if _is_in_memory(descriptor):
        os.ftruncate(descriptor, size_bytes)
        return set()
    if not _fallocate(descriptor, 0, size_bytes):
        os.ftruncate(descriptor, size_bytes)
    return None


def reserve(reserved: set[int], descriptor: int, start: int, stop: int, size_bytes: int) -> None:
    """Allocate the windows that `[start, stop)` lies in, unless `reserved` says that was done."""
    for window in range(start // WINDOW_BYTES, (stop - 1) // WINDOW_BYTES + 1):
        if window not in reserved:
            reserved.add(window)
            first = window * WINDOW_BYTES
            _fallocate(descriptor, first, min(WINDOW_BYTES, size_bytes - first))


def _fallocate(descriptor: int, start: int, size_bytes: int) -> bool:
    """Reserve a range, at once or not at all; return whether the file system can.

    `os.posix_fallocate` will not do: where the file system cannot, glibc imitates it by a write
    into every block, which on NFS takes longer than many a download.
    """
    call = _system_call()
    if call is None:
        return False
    while call(descriptor, 0, start, size_bytes):
        number = ctypes.get_errno()
        if number in (errno.EOPNOTSUPP, errno.ENOSYS):
            return False
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return True


@functools.cache
def _system_call() -> Callable[[int, int, int, int], int] | None:
    """Return fallocate(2); None where there is none."""
    library = ctypes.CDLL(None, use_errno=True)
    for name in ("fallocate64", "fallocate"):  # glibc's second one takes 32 bits on small machines
        if (call := getattr(library, name, None)) is not None:
            call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
            call.restype = ctypes.c_int
            return call  # type: ignore[no-any-return]  # ctypes knows no types
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

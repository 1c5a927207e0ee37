"""The four things a transfer asks of a disk, as a seam: write, sync, rename, sync a folder.

What a crash leaves behind is decided by the order of exactly these calls. So tests put a disk
behind them that forgets what was not synced, or that fails; everything else goes to `os` directly.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    """Blocking; used from many threads."""

    def write(self, descriptor: int, view: memoryview, offset: int) -> None:
        """Write all of `view` at `offset`."""

    def sync(self, descriptor: int) -> None:
        """Return when what was written to the file is on disk, its size included.

        Raises:
            OSError: It may not be, and what is read back from now on is what the disk has.
        """

    def rename(self, part: str, path: str) -> None:
        """Give a file another name, in place of what had it. Durable after `sync_folder`."""

    def sync_folder(self, folder: Path) -> None:
        """Return when the names inside `folder` are on disk."""


class RealDisk:
    """The disk of this machine."""

    def write(self, descriptor: int, view: memoryview, offset: int) -> None:
        written = 0
        while written < len(view):
            written += os.pwrite(descriptor, view[written:], offset + written)

    def sync(self, descriptor: int) -> None:
        try:
            # macOS has no fdatasync.
            getattr(os, "fdatasync", os.fsync)(descriptor)
        except OSError:
            # After a failed write-back Linux calls the pages clean: they would be read back as
            # if they were on disk, and the next sync would not complain. So they are dropped.
            if hasattr(os, "posix_fadvise"):
                with contextlib.suppress(OSError):
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            raise

    def rename(self, part: str, path: str) -> None:
        os.replace(part, path)

    def sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


REAL_DISK = RealDisk()

"""File stamps: what a file looked like when it was hashed, to see cheaply that it still is it.

A stamp is a promise by the operating system, not by a hash: a program that rewrites a file in place
and restores its time is not seen here. Receivers check every leaf, and `verify` re-hashes.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from mirrornode.errors import FileChanged, PathRefused

CHANGED = "changed"
MISSING = "missing"

_GONE = (FileNotFoundError, NotADirectoryError)
_NOT_A_FILE = (errno.ELOOP, errno.ENXIO)  # a symlink with O_NOFOLLOW; a socket


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Size, time and inode of a file at one moment."""

    size_bytes: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, file: Path | str | int | os.stat_result) -> FileStamp:
        """Return the stamp of a path (links are not followed), a descriptor or a stat result.

        Raises:
            OSError: The path cannot be looked at.
        """
        if isinstance(file, os.stat_result):
            found = file
        elif isinstance(file, int):
            found = os.fstat(file)
        else:
            found = os.stat(file, follow_symlinks=False)
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)


def open_regular(path: Path) -> int:
    """Open a regular file for reading and return its descriptor, which the caller closes.

    Never blocks on a FIFO and never follows a link in the last part of the path.

    Raises:
        FileChanged: Nothing is there any more, or it is not a regular file.
        PathRefused: The operating system denies access.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except _GONE as error:
        raise FileChanged(path, MISSING) from error
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            raise FileChanged(path, CHANGED) from error
        raise PathRefused(path, "read", os.strerror(error.errno or 0)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileChanged(path, CHANGED)
    return descriptor


def look(path: Path, stamp: FileStamp) -> str:
    """Return how the file at `path` compares with its stamp: "ok", "changed" or "missing".

    A path that cannot be looked at counts as missing: it cannot be served.
    """
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return MISSING
    same = stat.S_ISREG(found.st_mode) and FileStamp.of(found) == stamp
    return "ok" if same else CHANGED

"""A verified file under one more name: linked where that is possible, else copied.

A name appears whole or not at all: everything is made beside its place and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import sys
from pathlib import Path

from mirrornode.errors import PathRefused
from mirrornode.transfer.outputs import write_error

_FICLONE = 0x40049409  # Linux: share the blocks of another file, copy on write


def place(source: Path, target: Path, *, shares_inode: bool) -> None:
    """Make `target` a file with the content of `source`, in place of what is there.

    Args:
        shares_inode: A hard link will do: nobody is expected to write into the file. Otherwise a
            copy that shares blocks is preferred, where the file system has such.

    Raises:
        StoreError: The folder cannot be written, or is full.
    """
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir() and not target.is_symlink():
            raise PathRefused(target, "write", "a folder is in the way")
        ways = (_link, _clone) if shares_inode else (_clone, _link)
        if not any(way(source, part) for way in ways):
            _copy(source, part)
        os.replace(part, target)
    except OSError as exc:
        raise write_error(exc, target, source.stat().st_size) from exc
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def is_same_file(one: Path, other: Path) -> bool:
    """Tell whether two names are one file already."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES):
            raise
        return False  # another file system, or one without links
    return True


def _clone(source: Path, target: Path) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    with source.open("rb") as old, target.open("xb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            pass  # a file system without shared blocks
        else:
            return True
    target.unlink()
    return False


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A verified file under one more name: linked, sharing blocks, or copied where neither can be had.

A name appears whole or not at all: everything is made beside its place and renamed. Hard links are
for folders of content only, the node's own and caches: nobody writes into a file there. A file that
people work with has bytes of its own, or what they do to it would change the others.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import sys
from pathlib import Path

from mirrornode.errors import FileChanged, PathRefused
from mirrornode.store.stamps import MISSING
from mirrornode.transfer.outputs import write_error
from mirrornode.transfer.space import check_space

_FICLONE = 0x40049409  # Linux: share the blocks of another file, copy on write
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)


def place(source: Path, target: Path, *, shares_inode: bool) -> None:
    """Make `target` a file with the content of `source`, in place of what is there.

    Args:
        shares_inode: A hard link will do: nobody is expected to write into either file.

    Raises:
        FileChanged: The source is gone.
        StoreError: The folder cannot be written, or is full.
    """
    part = _beside(target)
    size_bytes = 0
    try:
        size_bytes = _make_room(source, target)
        if not (shares_inode and _link(source, part)) and not _clone(source, part):
            check_space(target, size_bytes)
            _copy(source, part)
        os.replace(part, target)
    except OSError as exc:
        raise _failure(exc, source, target, size_bytes) from exc
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def move(source: Path, target: Path) -> bool:
    """Give a file another name, in place of what is there.

    Returns:
        False when that takes a copy: another name of the file is in use, or the target lies on
        another file system.

    Raises:
        FileChanged: The source is gone.
        StoreError: The folder cannot be written.
    """
    try:
        _make_room(source, target)
        if source.lstat().st_nlink != 1:
            return False
        os.replace(source, target)
    except OSError as exc:
        if exc.errno == errno.EXDEV:
            return False
        raise _failure(exc, source, target, 0) from exc
    return True


def point(link: Path, target: Path) -> None:
    """Make `link` a relative symlink to `target`, in place of what is there.

    Raises:
        StoreError: The folder cannot be written.
    """
    text = os.path.relpath(target, link.parent)
    part = _beside(link)
    try:
        if link.is_symlink() and os.readlink(link) == text:
            return
        _make_room(None, link)
        part.symlink_to(text)
        os.replace(part, link)
    except OSError as exc:
        raise write_error(exc, link, 0) from exc


def write_text(path: Path, text: str) -> None:
    """Make `path` a small file with this text, in place of what is there.

    Raises:
        StoreError: The folder cannot be written.
    """
    part = _beside(path)
    try:
        _make_room(None, path)
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as exc:
        raise write_error(exc, path, len(text)) from exc


def is_same_file(one: Path, other: Path) -> bool:
    """Tell whether two names are one file already."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _beside(target: Path) -> Path:
    return target.with_name(f".{secrets.token_hex(8)}.part")


def _make_room(source: Path | None, target: Path) -> int:
    """Return the size of what is to come to `target`, where nothing is in the way any more."""
    size_bytes = source.lstat().st_size if source is not None else 0
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        raise PathRefused(target, "write", "a folder is in the way")
    return size_bytes


def _failure(exc: OSError, source: Path, target: Path, size_bytes: int) -> Exception:
    if isinstance(exc, FileNotFoundError) and not source.exists():
        return FileChanged(source, MISSING)
    return write_error(exc, target, size_bytes)


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as exc:
        if exc.errno in _NO_LINKS:
            return False
        raise
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
            os.fsync(new.fileno())
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

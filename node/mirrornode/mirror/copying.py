"""Copies for `add --copy`: into the node's models folder, whole or not at all.

A copy grows under a name of its own and is renamed when it is complete and on disk. What a killed
process left behind is removed by the next copy.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from mirrornode.errors import DiskFull, PathRefused

if TYPE_CHECKING:
    from mirrornode.mirror.scan import Item

_PART_PREFIX = ".part-"


def copy_in(item: Item, target: Path) -> None:
    """Copy a file or folder, as scanned, to `target`, which does not exist yet.

    Raises:
        DiskFull: No room; nothing is left behind.
        PathRefused: The operating system denies reading or writing.
    """
    models = target.parent
    try:
        models.mkdir(parents=True, exist_ok=True)
        _sweep(models)
        free_bytes = shutil.disk_usage(models).free
        if free_bytes < item.size_bytes:
            raise DiskFull(target, item.size_bytes, free_bytes)
        part = models / f"{_PART_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        try:
            _copy(item, part)
            part.rename(target)
            _sync(models)
        except BaseException:
            _remove(part)
            raise
    except OSError as error:
        if error.errno == errno.ENOSPC:
            free_bytes = shutil.disk_usage(models).free
            raise DiskFull(target, item.size_bytes, free_bytes) from error
        at = Path(error.filename) if error.filename else target
        raise PathRefused(at, "copy", os.strerror(error.errno or 0)) from error


def _copy(item: Item, target: Path) -> None:
    if item.kind == "symlink":
        target.symlink_to(item.link_target)
        return
    if item.kind == "file":
        shutil.copyfile(item.path, target)
    else:
        target.mkdir()
        for child in item.children:
            _copy(child, target / child.name)
    _sync(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(models: Path) -> None:
    """Remove parts whose process is gone."""
    for part in models.glob(f"{_PART_PREFIX}*-*"):
        pid = part.name.removeprefix(_PART_PREFIX).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            _remove(part)


def _remove(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.unlink(missing_ok=True)

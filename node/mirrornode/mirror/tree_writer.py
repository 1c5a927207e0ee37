"""Folders and symlinks of a downloaded tree; nothing is ever made outside the target folder.

Names were checked when the tree was walked. What is checked here is the disk: a folder that is in
truth a symlink, and symlinks whose target would lead out of the tree.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mirrornode.errors import PathRefused, TargetError

if TYPE_CHECKING:
    from mirrornode.content.walk import TreeEntry


def make_folders(destination: Path, entries: Sequence[TreeEntry]) -> None:
    """Create every folder of the tree, and refuse to walk through a symlink in its place.

    Raises:
        PathRefused: The operating system denies it, or a symlink lies in the way.
        TargetError: A file lies where a folder must be, or a folder where a file must be.
    """
    folders = sorted(entry.path for entry in entries if entry.kind == "directory")
    for path in folders:
        folder = destination / path if path else destination
        try:
            if path and folder.is_symlink():
                raise PathRefused(folder, "write below", "it is a symbolic link")
            folder.mkdir(parents=not path, exist_ok=True)
        except FileExistsError as exc:
            raise TargetError(f"{folder} is a file, but the target has a folder there") from exc
        except OSError as exc:
            raise PathRefused(folder, "create", exc.strerror or str(exc)) from exc
    for entry in entries:
        if entry.kind == "file" and entry.path and (destination / entry.path).is_dir():
            raise TargetError(
                f"{destination / entry.path} is a folder, but the target has a file there"
            )


def make_symlinks(destination: Path, entries: Sequence[TreeEntry]) -> list[str]:
    """Create the symlinks that stay inside the tree; return the paths of those that do not."""
    refused = []
    for entry in entries:
        if entry.kind != "symlink":
            continue
        link = destination / entry.path if entry.path else destination
        if not entry.path or not stays_inside(entry.path, entry.link_target):
            refused.append(entry.path or str(destination))
            continue
        try:
            if os.path.lexists(link):
                if stat.S_ISLNK(link.lstat().st_mode) and os.readlink(link) == entry.link_target:
                    continue
                refused.append(entry.path)
                continue
            os.symlink(entry.link_target, link)
        except OSError as exc:
            raise PathRefused(link, "create", exc.strerror or str(exc)) from exc
    return refused


def stays_inside(path: str, link_target: str) -> bool:
    """Tell whether a symlink at `path` points to a place inside the tree, by its text alone.

    ".." is accepted only in front: after a name it may leave the tree, by way of another symlink.
    """
    if not link_target or link_target.startswith("/") or "\0" in link_target:
        return False
    parts = [part for part in link_target.split("/") if part not in ("", ".")]
    ups = parts.count("..")
    return ".." not in parts[ups:] and ups <= len(PurePosixPath(path).parts) - 1

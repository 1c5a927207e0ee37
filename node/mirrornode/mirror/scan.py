"""What lies under the paths a user names: files, folders and symlinks, without reading any content.

Links inside a folder are kept as links and never followed, so a scan cannot leave its folder or run
in circles. Hidden names, special files and the node's own home are left out and reported.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mirrornode.content.directory import check_symlink
from mirrornode.content.names import check_name
from mirrornode.errors import ContentError, PathRefused, TargetError
from mirrornode.store.home import MODELS_NAME
from mirrornode.store.stamps import FileStamp

MAX_DEPTH = 128  # folders below the one that was named
MAX_SKIPPED_NAMES = 100  # named one by one in a report; more are only counted

_SPECIAL = {
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "device",
    stat.S_IFCHR: "device",
}


@dataclass(frozen=True, slots=True)
class Item:
    """One file, folder or symlink on disk.

    Attributes:
        path: Absolute; for what the user named, with all links resolved.
        stamp: Of a file, as scanned.
        link_target: Text of a symlink.
        children: Of a folder, in no order.
    """

    name: str
    path: Path
    kind: str
    stamp: FileStamp | None = None
    link_target: str = ""
    children: tuple[Item, ...] = ()

    def files(self) -> Iterator[tuple[Path, FileStamp]]:
        """Yield all files at and below the item."""
        if self.stamp is not None:
            yield self.path, self.stamp
        for child in self.children:
            yield from child.files()

    @property
    def size_bytes(self) -> int:
        """Bytes of all files at and below the item, as scanned."""
        return sum(stamp.size_bytes for _, stamp in self.files())


@dataclass(slots=True)
class Skipped:
    """What a scan left out: the first names, and how many there were."""

    names: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, name: str, reason: str) -> None:
        """Note one entry that was left out."""
        self.count += 1
        if len(self.names) < MAX_SKIPPED_NAMES:
            self.names.append(f"{_shown(name)} ({reason})")

    def report(self) -> tuple[str, ...]:
        """Return the names, and as the last line how many more there were."""
        more = self.count - len(self.names)
        return (*self.names, f"and {more} more") if more else tuple(self.names)


def scan(path: Path, skipped: Skipped, *, hidden: bool, home: Path | None) -> Item:
    """Return what lies at a path that a user named; the path itself may be a link.

    Args:
        skipped: Is told what was left out.
        hidden: Whether names that begin with a dot are taken along.
        home: The node's home, which is never shared but for its models.

    Raises:
        TargetError: Nothing is there, or what is there cannot be added.
        PathRefused: The operating system denies access.
    """
    given = path.expanduser().absolute()
    try:
        real = Path(os.path.realpath(given, strict=True))
        found = os.stat(real, follow_symlinks=False)
    except FileNotFoundError as error:
        reason = "is a link to nothing" if given.is_symlink() else "does not exist"
        raise TargetError(f"{_shown(path)} {reason}") from error
    except NotADirectoryError as error:
        raise TargetError(f"{_shown(path)} does not exist") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise TargetError(f"{_shown(path)} is a link in a circle") from error
        raise PathRefused(given, "read", os.strerror(error.errno or 0)) from error
    home = home.resolve() if home is not None else None
    if home is not None and real.is_relative_to(home):
        if not real.is_relative_to(home / MODELS_NAME):
            raise TargetError(f"{_shown(path)} belongs to this node and is not shared")
        home = None  # what lies below is ours to share
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFREG:
        return Item(given.name, real, "file", FileStamp.of(found))
    if kind != stat.S_IFDIR:
        name = _SPECIAL.get(kind, "special file")
        raise TargetError(f"{_shown(path)} is a {name}; only files and folders can be added")
    children = _scan_folder(real, "", 1, skipped, hidden=hidden, home=home)
    return Item(given.name, real, "directory", children=children)


def _scan_folder(
    folder: Path, prefix: str, depth: int, skipped: Skipped, *, hidden: bool, home: Path | None
) -> tuple[Item, ...]:
    if depth > MAX_DEPTH:
        raise TargetError(f"{_shown(folder)} is more than {MAX_DEPTH} folders deep")
    children: list[Item] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                shown = prefix + entry.name
                if entry.name.startswith(".") and not hidden:
                    skipped.add(shown, "hidden")
                    continue
                found = entry.stat(follow_symlinks=False)
                kind = stat.S_IFMT(found.st_mode)
                path = Path(entry.path)
                if kind in _SPECIAL:
                    skipped.add(shown, _SPECIAL[kind])
                elif kind == stat.S_IFDIR and path == home:
                    skipped.add(shown, "home of this node")
                else:
                    name = _checked_name(path)
                    if kind == stat.S_IFREG:
                        children.append(Item(name, path, "file", FileStamp.of(found)))
                    elif kind == stat.S_IFLNK:
                        children.append(_symlink(name, path))
                    else:
                        below = _scan_folder(
                            path, shown + "/", depth + 1, skipped, hidden=hidden, home=home
                        )
                        children.append(Item(name, path, "directory", children=below))
    except OSError as error:
        at = Path(error.filename) if error.filename else folder
        raise PathRefused(at, "read", os.strerror(error.errno or 0)) from error
    return tuple(children)


def _checked_name(path: Path) -> str:
    try:
        return check_name(path.name)
    except ContentError as error:
        raise TargetError(f"{_shown(path)} cannot be added: {error}; rename it") from error


def _symlink(name: str, path: Path) -> Item:
    target = os.readlink(path)
    try:
        check_symlink(os.fsencode(target))
    except ContentError as error:
        raise TargetError(f"{_shown(path)} cannot be added: {error}") from error
    return Item(name, path, "symlink", link_target=target)


def _shown(path: Path | str) -> str:
    """Return a path as text that can be printed, whatever bytes its name has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")

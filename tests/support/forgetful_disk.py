"""A disk that forgets what was not synced: what is left of a download after the power was cut.

It works on real files. `cut_power` rewrites them in place to one of the states that a crash may
leave: of each file what was synced is there; each sector written since is there or is not, by
chance; names are those of the last folder sync, or of now. The inode stays, and so may the time:
the worst case for everybody who believes a stamp.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

from mirrornode.transfer.disk import RealDisk

SECTOR_BYTES = 512


class ForgetfulDisk(RealDisk):
    """Remembers what is durable; for small files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._synced: dict[int, tuple[bytes, int]] = {}  # by inode: bytes and mtime
        self._names: dict[Path, dict[str, int]] = {}  # by folder: name to inode
        self._renames: list[tuple[Path, Path]] = []  # not on disk yet
        for path in [folder, *folder.rglob("*")]:  # what is there at the start is on disk
            if path.is_dir():
                self._names[path] = {entry.name: entry.inode() for entry in os.scandir(path)}
            else:
                status = path.stat()
                self._synced[status.st_ino] = (path.read_bytes(), status.st_mtime_ns)

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        status = os.fstat(descriptor)
        synced = os.pread(descriptor, status.st_size, 0)
        self._synced[status.st_ino] = (synced, status.st_mtime_ns)

    def rename(self, part: str, path: str) -> None:
        super().rename(part, path)
        self._renames.append((Path(part), Path(path)))

    def sync_folder(self, folder: Path) -> None:
        super().sync_folder(folder)
        self._names[folder] = {entry.name: entry.inode() for entry in os.scandir(folder)}
        self._renames = [pair for pair in self._renames if pair[0].parent != folder]

    def cut_power(self, chance: random.Random) -> None:
        """Leave what the disk would hold after a power cut now."""
        for part, path in reversed(self._renames):
            if chance.random() < 0.5:
                os.rename(path, part)
        for path in list(self._folder.rglob("*")):
            if not path.is_file():
                continue
            status = path.stat()
            # A renamed file is there under one of its names.
            was_named = status.st_ino in self._names.get(path.parent, {}).values()
            if not was_named and chance.random() < 0.5:
                path.unlink()
                continue
            self._forget(path, status, chance)
        self._renames.clear()

    def _forget(self, path: Path, status: os.stat_result, chance: random.Random) -> None:
        now = path.read_bytes()
        synced, mtime_ns = self._synced.get(status.st_ino, (b"", status.st_mtime_ns))
        synced = synced.ljust(len(now), b"\0")
        left = bytearray(synced)
        for at in range(0, len(now), SECTOR_BYTES):
            if chance.random() < 0.5:
                left[at : at + SECTOR_BYTES] = now[at : at + SECTOR_BYTES]
        with path.open("r+b") as file:
            file.write(left)
        os.utime(path, ns=(0, chance.choice([mtime_ns, status.st_mtime_ns])))


class FailingDisk(RealDisk):
    """Fails as a broken disk does: each call named in `faults` takes one errno from its list."""

    def __init__(self, **faults: list[int]) -> None:
        self.faults = faults

    def write(self, descriptor: int, view: memoryview, offset: int) -> None:
        self._fail("write")
        super().write(descriptor, view, offset)

    def sync(self, descriptor: int) -> None:
        self._fail("sync")
        super().sync(descriptor)

    def rename(self, part: str, path: str) -> None:
        self._fail("rename")
        super().rename(part, path)

    def _fail(self, call: str) -> None:
        if (planned := self.faults.get(call)) and (number := planned.pop(0)):
            raise OSError(number, os.strerror(number))

"""What is moved: one file, or a folder of small ones, of random bytes; and the check of a copy."""

from __future__ import annotations

import filecmp
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from bench.measure import MIB, CommandFailed


@dataclass(frozen=True, slots=True)
class Content:
    """A file or a folder to share, and what is needed to check a copy."""

    path: Path
    size_bytes: int
    names: tuple[str, ...] = ()
    """The files of a folder; empty for a file."""
    sha256: bytes = b""
    """Of a file."""

    def check(self, copy: Path) -> None:
        """Compare a copy byte for byte; never in the timed part.

        Raises:
            CommandFailed: It differs: the run is worth nothing.
        """
        if not copy.exists():
            raise CommandFailed("ended well and left no output")
        if self.names:
            same, _, _ = filecmp.cmpfiles(self.path, copy, self.names, shallow=False)
            if wrong := len(self.names) - len(same):
                raise CommandFailed(f"{wrong} of {len(self.names)} files are missing or differ")
        elif _sha256(copy) != self.sha256:
            raise CommandFailed("its output has wrong bytes, and it did not say so")


def make_file(path: Path, size_bytes: int) -> Content:
    """Write a file of random bytes."""
    _write_random(path, size_bytes)
    return Content(path, size_bytes, sha256=_sha256(path))


def make_folder(path: Path, files: int, file_bytes: int) -> Content:
    """Write a folder of files of random bytes."""
    path.mkdir()
    names = tuple(f"{number:05}.bin" for number in range(files))
    for name in names:
        _write_random(path / name, file_bytes)
    return Content(path, files * file_bytes, names=names)


def _sha256(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _write_random(path: Path, size_bytes: int) -> None:
    with path.open("wb") as stream:
        for start in range(0, size_bytes, MIB):
            stream.write(os.urandom(min(MIB, size_bytes - start)))

"""Whole-file hashes that are added later: to every file, whatever is wrong with others."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from mirrornode.errors import PathRefused
from mirrornode.mirror.active import ActiveTransfers
from mirrornode.mirror.fingerprint import FILES_A_LOOK, fingerprint_files
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.store.stamps import FileStamp
from support.models import model_of
from support.shared_files import content, write
from support.waiting import until

SIZE = 100
MAP = model_of(SIZE).file.map


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(tmp_path / "home") as opened:
        yield opened


def record_without_sha256(catalog: Catalog, path: Path) -> None:
    catalog.record_file(
        path, FileStamp.of(path), MAP.root, SIZE, MAP.leaf_form, MAP.multihashes, [SIZE]
    )


class Stubborn:
    """A catalog on a disk that fails for some files, each time."""

    def __init__(self, catalog: Catalog, failing: set[Path]) -> None:
        self._catalog = catalog
        self._failing = failing
        self.failures = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    def set_file_digests(self, path: Path, sha256: bytes, git_sha1: bytes | None) -> None:
        if path in self._failing:
            self.failures += 1
            raise PathRefused(path, "read", "the disk failed")
        self._catalog.set_file_digests(path, sha256, git_sha1)


async def test_file_when_many_before_it_cannot_be_read_then_hashed_all_the_same(
    catalog: Catalog, tmp_path: Path
) -> None:
    bad = [write(tmp_path / f"bad-{n}", content(SIZE)) for n in range(FILES_A_LOOK + 3)]
    good = write(tmp_path / "good", content(SIZE))
    for path in (*bad, good):
        record_without_sha256(catalog, path)
    stubborn = Stubborn(catalog, set(bad))
    work = fingerprint_files(
        cast("Catalog", stubborn), ActiveTransfers(), lambda: None, look_every_s=0.001
    )
    task = asyncio.create_task(work)
    try:
        await until(lambda: len(catalog.files_without_sha256(1000)) == len(bad))
        await until(lambda: stubborn.failures > 2 * len(bad))  # those are tried again
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    (found,) = [file for file in catalog.all_files() if file.path == good]
    assert found.sha256 == hashlib.sha256(content(SIZE)).digest()

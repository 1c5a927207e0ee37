"""The power goes at any moment: no claim is more than the disk holds, no name on a wrong file."""

from __future__ import annotations

import errno
import random
import shutil
from pathlib import Path

import pytest

from mirrornode.errors import DiskFull, PathRefused
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.transfer.journal import Journal
from mirrornode.transfer.outputs import OutputFile
from support.forgetful_disk import FailingDisk, ForgetfulDisk
from support.models import LEAF, model_of

MODEL = model_of(400 * LEAF)  # large enough to be reserved beforehand
FILE = MODEL.file
LEAVES = FILE.map.leaves
STEPS = 60


def bring(output: OutputFile, leaf: int) -> None:
    start = FILE.map.starts[leaf]
    output.write(memoryview(MODEL.data)[start : start + FILE.map.lengths[leaf]], start)


def assert_proven(output: OutputFile, done: bytes | bytearray) -> None:
    """Assert that the part holds every leaf that is called done."""
    held = output.part.read_bytes() if any(done) else b""
    for leaf, is_done in enumerate(done):
        start, length = FILE.map.starts[leaf], FILE.map.lengths[leaf]
        if is_done:
            assert held[start : start + length] == MODEL.data[start : start + length], leaf


@pytest.mark.parametrize("seed", range(12))
def test_part_when_the_power_goes_then_every_leaf_called_done_is_there(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    folder, home, safe = tmp_path / "out", tmp_path / "home", tmp_path / "safe"
    folder.mkdir()
    claimed = 0
    for _ in range(3):  # three power cuts over one download
        disk = ForgetfulDisk(folder)
        with open_catalog(home) as catalog:
            output = OutputFile(FILE, folder / "out.bin", disk)
            found = Journal(catalog).resume(output)
            assert_proven(output, found.done)
            assert sum(found.done) >= claimed  # what was claimed is never lost
            done = found.done
            for _ in range(chance.randrange(STEPS)):
                step(chance, catalog, output, done)
                if (count := saved_leaves(catalog)) > claimed:
                    # What the catalog says now is on disk, so the cut cannot take it back.
                    claimed = count
                    shutil.rmtree(safe, ignore_errors=True)
                    shutil.copytree(home, safe)
            output.close()
        disk.cut_power(chance)
        if safe.exists() and chance.random() < 0.5:
            shutil.rmtree(home)
            shutil.copytree(safe, home)
    with open_catalog(home) as catalog:
        output = OutputFile(FILE, folder / "out.bin")
        found = Journal(catalog).resume(output)
        assert_proven(output, found.done)
        for leaf in range(LEAVES):
            if not found.done[leaf]:
                bring(output, leaf)
        output.finish()
    assert output.path.read_bytes() == MODEL.data


def step(chance: random.Random, catalog: Catalog, output: OutputFile, done: bytearray) -> None:
    """Do one thing that a transfer does."""
    leaf = chance.randrange(LEAVES)
    kind = chance.random()
    if kind < 0.2:
        Journal(catalog).claim(output, bytes(done))
    elif kind < 0.4 and not done[leaf]:
        start = FILE.map.starts[leaf]
        output.keep(leaf, memoryview(MODEL.data)[start : start + LEAF // 2], start)
    else:
        bring(output, leaf)
        done[leaf] = 1


def saved_leaves(catalog: Catalog) -> int:
    return sum(bits.bit_count() for record in catalog.transfers() for bits in record.leaf_bits)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("is_folder_synced", [False, True])
def test_file_when_the_power_goes_after_the_rename_then_it_is_right_under_either_name(
    catalog: Catalog, tmp_path: Path, seed: int, is_folder_synced: bool
) -> None:
    folder = tmp_path / "new" / "folder"
    (tmp_path / "new").mkdir()
    disk = ForgetfulDisk(tmp_path / "new")
    output = OutputFile(FILE, folder / "out.bin", disk)
    for leaf in range(LEAVES):
        bring(output, leaf)
    output.finish()
    if is_folder_synced:
        disk.sync_folder(folder)
    disk.cut_power(random.Random(seed))
    again = OutputFile(FILE, output.path)
    found = Journal(catalog).resume(again)
    assert all(found.done)  # nothing is fetched twice
    assert found.is_final == again.path.exists()
    if is_folder_synced:
        assert again.path.exists()
    again.is_finished = found.is_final
    if not found.is_final:
        again.finish()
    assert again.path.read_bytes() == MODEL.data


def test_part_is_named_on_disk_before_it_is_claimed(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    disk = ForgetfulDisk(tmp_path / "out")
    output = OutputFile(FILE, tmp_path / "out" / "out.bin", disk)
    bring(output, 0)
    Journal(catalog).claim(output, b"\x01" + bytes(LEAVES - 1))
    output.close()
    disk.cut_power(random.Random(1))
    assert Journal(catalog).resume(OutputFile(FILE, output.path)).done[0]


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EIO, PathRefused)],
)
@pytest.mark.parametrize("call", ["write", "sync", "rename"])
def test_disk_when_it_fails_then_said_and_the_next_run_finishes(
    catalog: Catalog, tmp_path: Path, call: str, number: int, kind: type[Exception]
) -> None:
    disk = FailingDisk()
    output = OutputFile(FILE, tmp_path / "out.bin", disk)
    for leaf in range(LEAVES - 1):
        bring(output, leaf)
    disk.faults[call] = [number]

    def finish() -> None:
        bring(output, LEAVES - 1)
        output.finish()

    with pytest.raises(kind):
        finish()
    output.close()
    assert not output.path.exists()
    again = OutputFile(FILE, output.path)
    found = Journal(catalog).resume(again)
    assert sum(found.done) >= LEAVES - 1
    bring(again, LEAVES - 1)
    again.finish()
    assert again.path.read_bytes() == MODEL.data


def test_sync_when_it_failed_once_then_nothing_is_claimed_or_finished_any_more(
    catalog: Catalog, tmp_path: Path
) -> None:
    # The next sync of such a file succeeds on Linux, with the bytes lost.
    output = OutputFile(FILE, tmp_path / "out.bin", FailingDisk(sync=[errno.EIO]))
    for leaf in range(LEAVES):
        bring(output, leaf)
    for _ in range(2):
        with pytest.raises(PathRefused):
            Journal(catalog).claim(output, b"\x01" * LEAVES)
    with pytest.raises(PathRefused):
        output.finish()
    assert catalog.transfers() == []
    assert not output.path.exists()

"""Part files: written from many threads, finished once, never anything but what they should be."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from mirrornode.errors import DiskFull, PathRefused
from mirrornode.transfer.outputs import (
    OutputFile,
    check_space,
    free_bytes,
    lay_out,
    sync_folder,
    write_error,
)
from support.models import LEAF, Model, folder_of, inline_model, model_of
from support.shared_files import content
from support.small_disk import small_disk

MODEL = model_of()


def output_of(path: Path, model: Model = MODEL) -> OutputFile:
    return OutputFile(model.file, path)


def write_all(output: OutputFile, model: Model = MODEL) -> None:
    file_map = model.file.map
    for start, length in zip(file_map.starts, file_map.lengths, strict=True):
        output.write(memoryview(model.data)[start : start + length], start)


def test_file_when_all_is_written_then_it_gets_its_name(tmp_path: Path) -> None:
    output = output_of(tmp_path / "new" / "folder" / "out.bin")
    write_all(output)
    assert output.part.stat().st_size <= len(MODEL.data)
    assert not output.path.exists()
    output.finish()
    assert output.path.read_bytes() == MODEL.data
    assert not output.part.exists()
    assert output.is_finished


def test_file_when_a_duplicate_comes_late_then_dropped(tmp_path: Path) -> None:
    output = output_of(tmp_path / "out.bin")
    write_all(output)
    output.finish()
    stamp = output.path.stat().st_mtime_ns
    output.write(memoryview(b"x" * LEAF), 0)
    assert output.path.read_bytes() == MODEL.data
    assert output.path.stat().st_mtime_ns == stamp
    assert not output.part.exists()


def test_file_when_closed_then_late_writes_do_not_open_it_again(tmp_path: Path) -> None:
    output = output_of(tmp_path / "out.bin")
    output.write(memoryview(MODEL.data)[:LEAF], 0)
    output.close()
    output.part.unlink()
    output.write(memoryview(MODEL.data)[:LEAF], 0)
    assert not output.part.exists()


def test_file_when_finished_while_duplicates_are_written_then_right(tmp_path: Path) -> None:
    output = output_of(tmp_path / "out.bin")
    write_all(output)
    finished = threading.Event()

    def hammer() -> None:
        while not finished.is_set():
            write_all(output)

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    output.finish()
    finished.set()
    for thread in threads:
        thread.join()
    assert output.path.read_bytes() == MODEL.data
    stamp = output.path.stat().st_mtime_ns
    write_all(output)
    assert output.path.stat().st_mtime_ns == stamp


def test_file_when_it_is_all_inline_then_its_bytes_are_there(tmp_path: Path) -> None:
    model = inline_model(b"inside the CID")
    output = output_of(tmp_path / "out.bin", model)
    output.finish()
    assert output.path.read_bytes() == b"inside the CID"


def test_part_when_larger_than_the_file_then_cut(tmp_path: Path) -> None:
    output = output_of(tmp_path / "out.bin")
    output.part.write_bytes(b"x" * 50_000)
    write_all(output)
    output.finish()
    assert output.path.read_bytes() == MODEL.data


def test_part_when_a_symlink_has_its_name_then_refused_and_nothing_written(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    output = output_of(tmp_path / "out.bin")
    output.part.symlink_to(victim)
    with pytest.raises(PathRefused):
        write_all(output)
    assert victim.read_bytes() == b"precious"


def test_final_name_when_a_symlink_has_it_then_the_link_is_replaced(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    output = output_of(tmp_path / "out.bin")
    output.path.symlink_to(victim)
    write_all(output)
    output.finish()
    assert victim.read_bytes() == b"precious"
    assert not output.path.is_symlink()
    assert output.path.read_bytes() == MODEL.data


@pytest.mark.parametrize("kind", ["folder", "fifo", "parent is a file"])
def test_part_when_it_cannot_be_opened_then_path_refused(tmp_path: Path, kind: str) -> None:
    output = output_of(tmp_path / "below" / "out.bin", model_of(300 * LEAF))
    if kind == "parent is a file":
        (tmp_path / "below").write_bytes(b"")
    else:
        (tmp_path / "below").mkdir()
        (os.mkfifo if kind == "fifo" else os.mkdir)(output.part)
    with pytest.raises(PathRefused):
        output.open()


def test_part_when_another_transfer_writes_it_then_refused(tmp_path: Path) -> None:
    first, second = output_of(tmp_path / "out.bin"), output_of(tmp_path / "out.bin")
    write_all(first)
    with pytest.raises(PathRefused, match="another transfer"):
        write_all(second)
    first.finish()
    assert first.path.read_bytes() == MODEL.data
    write_all(second)  # the part is free again
    second.finish()
    assert second.path.read_bytes() == MODEL.data


@pytest.mark.parametrize(("disk_bytes", "leaves"), [(64 * 1024, 200), (512 * 1024, 600)])
def test_disk_when_it_has_no_room_then_disk_full(
    tmp_path: Path, disk_bytes: int, leaves: int
) -> None:
    model = model_of(leaves * LEAF)
    with small_disk(tmp_path / "disk", disk_bytes) as disk:
        with pytest.raises(DiskFull):
            check_space(disk / "out.bin", 1)
        output = output_of(disk / "out.bin", model)
        with pytest.raises(DiskFull) as caught:
            write_all(output, model)
        assert caught.value.path == disk / "out.bin"
        output.close()


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EIO, PathRefused)],
)
def test_write_error_names_its_kind(tmp_path: Path, number: int, kind: type[Exception]) -> None:
    failure = OSError(number, os.strerror(number))
    assert type(write_error(failure, tmp_path / "x", 5)) is kind


def test_missing_bytes_is_what_the_disk_still_has_to_give(tmp_path: Path) -> None:
    model = model_of(400 * LEAF)
    output = output_of(tmp_path / "out.bin", model)
    assert output.missing_bytes() == 400 * LEAF
    output.open()
    assert output.missing_bytes() < 400 * LEAF
    output.finish()
    assert output.missing_bytes() == 0


def test_layout_puts_each_file_below_the_destination(tmp_path: Path) -> None:
    folder = folder_of({"a": content(5), "b": content(6)})
    assert [output.path for output in lay_out(folder.manifest, tmp_path)] == [
        tmp_path / "a",
        tmp_path / "b",
    ]
    assert [output.path for output in lay_out(MODEL.manifest, tmp_path / "x")] == [tmp_path / "x"]


def test_folder_that_does_not_exist_yet_has_the_room_of_its_parent(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "a" / "b") > 0
    check_space(tmp_path / "a" / "b" / "c", 0)
    sync_folder(tmp_path)

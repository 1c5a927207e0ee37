"""Part files: written from many threads, finished once, never anything but what they should be."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mirrornode.errors import DiskFull, PathRefused
from mirrornode.transfer.outputs import OutputFile, lay_out, part_text, sync_folder, write_error
from mirrornode.transfer.space import check_space, free_bytes
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


BIG = model_of(300 * LEAF)  # its space is reserved, as that of every file worth it


def removed(part: Path) -> None:
    part.unlink()


def emptied(part: Path) -> None:
    os.truncate(part, 0)


def cut_and_grown(part: Path) -> None:
    os.truncate(part, 100 * LEAF)
    os.truncate(part, len(BIG.data))


def replaced_by_file(part: Path) -> None:
    part.rename(part.with_suffix(".away"))
    part.write_bytes(b"x" * len(BIG.data))


def replaced_by_symlink(part: Path) -> None:
    part.rename(part.with_suffix(".away"))
    part.symlink_to(part.with_suffix(".away"))


def replaced_by_fifo(part: Path) -> None:
    part.unlink()
    os.mkfifo(part)


def folder_removed(part: Path) -> None:
    part.unlink()
    part.parent.rmdir()


SPOILERS = [
    removed,
    emptied,
    cut_and_grown,
    replaced_by_file,
    replaced_by_symlink,
    replaced_by_fifo,
    folder_removed,
]


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__)
def test_part_when_somebody_spoils_it_then_never_finished_and_the_next_run_is_right(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    output = output_of(tmp_path / "below" / "out.bin", BIG)
    write_all(output, BIG)
    spoil(output.part)
    with pytest.raises(PathRefused) as caught:
        output.finish()
    assert caught.value.path == output.part
    assert not output.is_finished
    assert not os.path.lexists(output.path)
    again = output_of(output.path, BIG)
    if spoil in (replaced_by_symlink, replaced_by_fifo):
        again.part.unlink()
    write_all(again, BIG)
    again.finish()
    assert again.path.read_bytes() == BIG.data


@pytest.mark.parametrize("spoil", SPOILERS[:1] + SPOILERS[3:], ids=lambda spoil: spoil.__name__)
def test_part_when_somebody_takes_it_then_told_at_the_next_sync(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    output = output_of(tmp_path / "below" / "out.bin", BIG)
    output.write(memoryview(BIG.data)[:LEAF], 0)
    spoil(output.part)
    with pytest.raises(PathRefused, match="removed or replaced"):
        output.sync()


def test_part_when_it_was_cut_then_no_claim_covers_what_is_gone(tmp_path: Path) -> None:
    output = output_of(tmp_path / "out.bin", BIG)
    write_all(output, BIG)
    os.truncate(output.part, 100 * LEAF)
    output.write(memoryview(BIG.data)[299 * LEAF :], 299 * LEAF)
    kept = output.without_holes(b"\x01" * 300)
    assert kept[:100] == b"\x01" * 100
    assert not any(kept[110:290])  # holes come in blocks of the file system
    assert kept[299]


def test_part_when_zeros_lie_in_holes_then_they_are_right(tmp_path: Path) -> None:
    data = content(100 * LEAF) + bytes(100 * LEAF) + content(100 * LEAF)
    model = folder_of({"a": data})
    output = output_of(tmp_path / "out.bin", model)
    file_map = model.file.map
    output.open()
    for start, length in zip(file_map.starts, file_map.lengths, strict=True):
        if not 120 * LEAF < start < 180 * LEAF:
            output.write(memoryview(data)[start : start + length], start)
    output.finish()
    assert output.path.read_bytes() == data


def test_final_name_when_a_folder_appears_under_it_then_refused_and_the_part_kept(
    tmp_path: Path,
) -> None:
    output = output_of(tmp_path / "out.bin")
    write_all(output)
    output.path.mkdir()
    with pytest.raises(PathRefused):
        output.finish()
    assert output.part.read_bytes() == MODEL.data


def test_final_name_when_a_file_appears_under_it_then_replaced_whole(tmp_path: Path) -> None:
    output = output_of(tmp_path / "out.bin")
    write_all(output)
    output.path.write_bytes(b"what somebody else wrote meanwhile")
    output.finish()
    assert output.path.read_bytes() == MODEL.data


@pytest.mark.parametrize(
    "name", ["n" * 255, "n" * 251, "\N{SNOWMAN}" * 85], ids=["255", "251", "not ascii"]
)
def test_name_when_it_leaves_no_room_for_a_suffix_then_the_part_has_a_shorter_one(
    tmp_path: Path, name: str
) -> None:
    output = output_of(tmp_path / name)
    write_all(output)
    output.finish()
    assert output.path.read_bytes() == MODEL.data
    assert part_text(f"{tmp_path}/{name}") != part_text(f"{tmp_path}/{name[:-1]}m")


def test_folder_when_it_is_read_only_then_path_refused(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(PathRefused, match="Read-only"):
            write_all(output_of(disk / "out.bin"))
        with pytest.raises(PathRefused, match="Read-only"):
            write_all(output_of(disk / "new" / "out.bin"))


def test_leaf_that_is_arriving_is_kept_until_it_came_verified(tmp_path: Path) -> None:
    output = output_of(tmp_path / "out.bin")
    assert output.keep(1, memoryview(MODEL.data)[LEAF : LEAF + 500], LEAF)
    assert output.part.read_bytes()[LEAF : LEAF + 500] == MODEL.data[LEAF : LEAF + 500]
    write_all(output)
    assert not output.keep(1, memoryview(b"x" * 500), LEAF)  # a copy that lost the race
    output.finish()
    assert not output.keep(2, memoryview(b"x" * 500), 2 * LEAF)
    assert not output.part.exists()
    assert output.path.read_bytes() == MODEL.data


def test_leaf_when_lanes_race_for_it_then_what_came_verified_stays(tmp_path: Path) -> None:
    output = output_of(tmp_path / "out.bin")
    output.open()
    is_over = threading.Event()

    def hammer() -> None:
        while not is_over.is_set():
            for leaf in range(MODEL.file.map.leaves - 1):
                output.keep(leaf, memoryview(b"x" * LEAF), leaf * LEAF)

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()
    write_all(output)
    is_over.set()
    for thread in threads:
        thread.join()
    output.finish()
    assert output.path.read_bytes() == MODEL.data


def test_output_is_read_before_and_after_it_got_its_name(tmp_path: Path) -> None:
    output = output_of(tmp_path / "out.bin")
    view = memoryview(bytearray(LEAF))
    assert output.read_into(view, 0) == 0
    write_all(output)
    assert output.read_into(view, LEAF) == LEAF
    assert view == MODEL.data[LEAF : 2 * LEAF]
    output.finish()
    assert output.read_into(view, 0) == LEAF
    assert view == MODEL.data[:LEAF]


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
    write_all(output, model)
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

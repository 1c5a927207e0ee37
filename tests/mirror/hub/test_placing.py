"""Files under another name: whole or not at all, with bytes of their own or shared ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mirrornode.errors import DiskFull, FileChanged, PathRefused
from mirrornode.mirror.hub.placing import is_same_file, move, place, point, write_text
from support.small_disk import small_disk


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"content")
    return path


@pytest.mark.parametrize("shares_inode", [True, False])
def test_place_when_something_is_there_then_replaced(
    tmp_path: Path, source: Path, shares_inode: bool
) -> None:
    target = tmp_path / "new" / "target"
    place(source, target, shares_inode=shares_inode)
    target.unlink()
    target.write_bytes(b"older")
    place(source, target, shares_inode=shares_inode)
    assert target.read_bytes() == b"content"
    assert is_same_file(source, target) == shares_inode
    assert os.listdir(target.parent) == ["target"]


def test_place_when_it_is_the_same_file_already_then_nothing_is_left_over(
    tmp_path: Path, source: Path
) -> None:
    target = tmp_path / "target"
    place(source, target, shares_inode=True)
    place(source, target, shares_inode=True)
    assert sorted(os.listdir(tmp_path)) == ["source", "target"]


def test_place_when_not_shared_then_writing_to_one_leaves_the_other(
    tmp_path: Path, source: Path
) -> None:
    target = tmp_path / "target"
    place(source, target, shares_inode=False)
    with target.open("r+b") as file:
        file.write(b"X")
    assert source.read_bytes() == b"content"


def test_place_when_the_source_is_gone_then_told_so(tmp_path: Path) -> None:
    with pytest.raises(FileChanged):
        place(tmp_path / "none", tmp_path / "target", shares_inode=True)
    assert not (tmp_path / "target").exists()


def test_place_when_a_folder_is_in_the_way_then_refused(tmp_path: Path, source: Path) -> None:
    (tmp_path / "target").mkdir()
    with pytest.raises(PathRefused, match="folder"):
        place(source, tmp_path / "target", shares_inode=True)


def test_move_when_it_is_the_only_name_then_moved(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "sub" / "target"
    assert move(source, target)
    assert target.read_bytes() == b"content"
    assert not source.exists()


def test_move_when_another_name_is_in_use_then_left(tmp_path: Path, source: Path) -> None:
    os.link(source, tmp_path / "other")
    assert not move(source, tmp_path / "target")
    assert source.exists()
    assert not (tmp_path / "target").exists()


def test_point_when_called_again_then_the_link_is_relative_and_current(tmp_path: Path) -> None:
    link = tmp_path / "snapshots" / "c" / "a.bin"
    for name in ("one", "two", "two"):
        point(link, tmp_path / "blobs" / name)
        assert os.readlink(link) == f"../../blobs/{name}"
    assert os.listdir(link.parent) == ["a.bin"]


def test_write_text_when_a_file_is_there_then_replaced(tmp_path: Path) -> None:
    for text in ("one", "two"):
        write_text(tmp_path / "refs" / "pr" / "1", text)
        assert (tmp_path / "refs" / "pr" / "1").read_text() == text


def test_other_file_system_when_linking_then_copied_and_moving_declined(
    tmp_path: Path, source: Path
) -> None:
    with small_disk(tmp_path / "disk", 64 << 20) as disk:
        place(source, disk / "target", shares_inode=True)
        assert (disk / "target").read_bytes() == b"content"
        assert not move(source, disk / "moved")
        assert source.exists()


def test_place_when_it_does_not_fit_then_refused_before_a_byte_is_written(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(8 << 20)
    with small_disk(tmp_path / "disk", 4 << 20) as disk:
        with pytest.raises(DiskFull):
            place(large, disk / "target", shares_inode=True)
        assert os.listdir(disk) == []

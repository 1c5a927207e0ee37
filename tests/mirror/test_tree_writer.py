"""Folders and symlinks of a tree: nothing is made outside of it, whatever lies there already."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.content.cid import Cid
from mirrornode.content.walk import TreeEntry
from mirrornode.errors import PathRefused, TargetError
from mirrornode.mirror.tree_writer import make_folders, make_symlinks, stays_inside

CID = Cid.raw_sha256(b"c" * 32)


def folder(path: str) -> TreeEntry:
    return TreeEntry(path, "directory", CID, None, "")


def file(path: str) -> TreeEntry:
    return TreeEntry(path, "file", CID, None, "")


def link(path: str, target: str) -> TreeEntry:
    return TreeEntry(path, "symlink", CID, None, target)


@pytest.mark.parametrize(
    ("path", "target", "is_inside"),
    [
        ("a", "b", True),
        ("a", "./b", True),
        ("d/a", "../b", True),
        ("d/e/a", "../../b/c", True),
        ("a", ".", True),
        ("a", "..", False),
        ("a", "../b", False),
        ("d/a", "../../b", False),
        ("a", "/etc/passwd", False),
        ("a", "", False),
        ("a", "b\0c", False),
        # By its text this stays inside; by way of a link `d` it would not.
        ("a", "d/../..", False),
        ("a", "d/../b", False),
        ("d/a", "../x/../../y", False),
    ],
)
def test_symlink_targets(path: str, target: str, is_inside: bool) -> None:
    assert stays_inside(path, target) is is_inside


parts = st.sampled_from(["..", ".", "a", "b", ""])
texts = st.lists(parts, min_size=1, max_size=5).map("/".join)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "d/a", "d/b"]), texts), max_size=4))
def test_no_set_of_symlinks_leads_out_of_the_tree(links: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place).resolve() / "out"
        entries = [folder(""), folder("d"), *(link(*pair) for pair in dict(links).items())]
        make_folders(root, entries)
        make_symlinks(root, entries)
        for path, _ in links:
            try:
                place_of = (root / path).resolve(strict=True)
            except (OSError, RuntimeError):
                continue  # leads nowhere, or round in a circle
            assert place_of.is_relative_to(root)


def test_tree_is_made(tmp_path: Path) -> None:
    entries = [folder(""), folder("a-b"), folder("a"), folder("a/b"), link("a/l", "../a-b")]
    for _ in range(2):  # also over itself
        make_folders(tmp_path / "x" / "out", entries)
        assert make_symlinks(tmp_path / "x" / "out", entries) == []
    assert (tmp_path / "x" / "out" / "a" / "l").resolve() == tmp_path / "x" / "out" / "a-b"


def test_symlinks_that_lead_out_or_would_replace_something_are_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    entries = [folder(""), link("bad", "../x"), link("taken", "y"), link("good", "y")]
    make_folders(out, entries)
    (out / "taken").write_bytes(b"mine")
    assert make_symlinks(out, entries) == ["bad", "taken"]
    assert (out / "taken").read_bytes() == b"mine"
    assert os.readlink(out / "good") == "y"
    assert not (out / "bad").is_symlink()


def test_root_that_is_a_symlink_is_not_made(tmp_path: Path) -> None:
    assert make_symlinks(tmp_path / "out", [link("", "x")]) == [str(tmp_path / "out")]
    assert not (tmp_path / "out").is_symlink()


def test_folder_when_a_symlink_has_its_place_then_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PathRefused):
        make_folders(tmp_path / "out", [folder(""), folder("a"), folder("a/b")])
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_folder_when_a_file_has_its_place_then_target_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(TargetError):
        make_folders(tmp_path, [folder(""), folder("a")])


def test_file_when_a_folder_has_its_place_then_target_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(TargetError):
        make_folders(tmp_path, [folder(""), file("a")])


def test_folder_when_the_parent_is_a_file_then_path_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises((PathRefused, TargetError)):
        make_folders(tmp_path / "x" / "y", [folder("")])

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mirrornode.content.block import Block
from mirrornode.content.cid import DAG_PB, Cid
from mirrornode.content.file_dag import import_bytes
from mirrornode.content.recipe import UNIXFS_V0_2015
from mirrornode.errors import CidMismatch, FileChanged, PathRefused
from mirrornode.store.catalog import Catalog
from mirrornode.store.records import FileSlice
from mirrornode.store.slices import open_slice, read_leaf
from support.shared_files import content, denied, digests_of, overwrite, record, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file of two dag-pb leaves."""
    return write(tmp_path / "f", content(300_000))


@pytest.fixture
def second_leaf(catalog: Catalog, path: Path) -> FileSlice:
    """Return where the second leaf lies."""
    record(catalog, path, UNIXFS_V0_2015)
    found = catalog.find_leaf(digests_of(path, UNIXFS_V0_2015).multihashes[1])
    assert found is not None
    return found


def _refused(leaf: FileSlice) -> str:
    with pytest.raises(FileChanged) as caught:
        read_leaf(leaf)
    assert caught.value.path == leaf.path
    return caught.value.reason


def test_read_leaf_when_dag_pb_then_the_block_verifies(path: Path, second_leaf: FileSlice) -> None:
    _, leaves = import_bytes([path.read_bytes()], UNIXFS_V0_2015)
    block = Block.verify(leaves[1].cid, read_leaf(second_leaf))
    assert block == leaves[1]


def test_open_slice_when_a_whole_file_then_its_descriptor(
    catalog: Catalog, path: Path, second_leaf: FileSlice
) -> None:
    [stored] = catalog.all_files()
    descriptor = open_slice(stored)
    assert os.pread(descriptor, 5, 0) == path.read_bytes()[:5]
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_read_leaf_when_file_was_rewritten_then_changed(path: Path, second_leaf: FileSlice) -> None:
    overwrite(path, content(300_000))
    assert _refused(second_leaf) == "changed"


def test_read_leaf_when_file_shrank_with_its_time_restored_then_changed(
    path: Path, second_leaf: FileSlice
) -> None:
    overwrite(path, content(299_999), keep_time=True)
    assert _refused(second_leaf) == "changed"


def test_read_leaf_when_another_file_took_the_path_then_changed(
    path: Path, second_leaf: FileSlice
) -> None:
    before = path.stat()
    other = write(path.with_name("other"), path.read_bytes())
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)
    assert _refused(second_leaf) == "changed"


def test_read_leaf_when_rewritten_in_place_with_its_time_restored_then_the_block_is_refused(
    path: Path, second_leaf: FileSlice
) -> None:
    right = Cid(0, DAG_PB, digests_of(path, UNIXFS_V0_2015).multihashes[1])
    overwrite(path, bytes(300_000), keep_time=True)
    with pytest.raises(CidMismatch):  # a stamp cannot see this; every reader checks the hash
        Block.verify(right, read_leaf(second_leaf))


def test_read_leaf_when_file_is_gone_then_missing(path: Path, second_leaf: FileSlice) -> None:
    path.unlink()
    assert _refused(second_leaf) == "missing"


def test_read_leaf_when_folder_became_a_file_then_missing(
    path: Path, second_leaf: FileSlice
) -> None:
    folder = path.parent
    folder.rename(folder.with_name("moved"))
    folder.write_text("")
    assert _refused(second_leaf) == "missing"


@pytest.mark.parametrize("kind", ["symlink", "fifo", "folder", "socket"])
def test_read_leaf_when_path_is_something_else_then_changed_and_never_blocks(
    path: Path, second_leaf: FileSlice, kind: str
) -> None:
    moved = path.with_name("moved")
    path.rename(moved)
    if kind == "symlink":
        path.symlink_to(moved)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    assert _refused(second_leaf) == "changed"


def test_read_leaf_when_access_is_denied_then_refused(path: Path, second_leaf: FileSlice) -> None:
    with denied(path), pytest.raises(PathRefused):
        read_leaf(second_leaf)

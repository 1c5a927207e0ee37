from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrornode.content.cid import Cid
from mirrornode.content.recipe import UNIXFS_V0_2015, UNIXFS_V1_2025, Recipe, recipe_from
from mirrornode.errors import TargetError
from mirrornode.events import AddProgress, Event
from mirrornode.mirror import verify
from mirrornode.mirror.add import AddRequest, add_paths
from mirrornode.mirror.verify import VerifyReport, verify_roots
from mirrornode.store.catalog import CATALOG_NAME, Catalog, open_catalog
from support.shared_files import content, overwrite, write


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """Open an empty catalog."""
    with open_catalog(tmp_path / "home") as opened:
        yield opened


def _share(catalog: Catalog, path: Path, recipe: Recipe = UNIXFS_V1_2025) -> Cid:
    [added] = add_paths(catalog, AddRequest([path], recipe))
    return Cid.parse(added.cid)


def _problems(report: VerifyReport) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(Path(p.path).name, p.reason, p.bad_leaves) for p in report.problems]


def _flip(path: Path, offset: int, *, keep_time: bool) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    overwrite(path, bytes(data), keep_time=keep_time)


@pytest.mark.parametrize(
    "recipe", [UNIXFS_V1_2025, UNIXFS_V0_2015, recipe_from(chunker="size-1000", max_links=3)]
)
def test_verify_when_nothing_changed_then_ok(
    catalog: Catalog, tmp_path: Path, recipe: Recipe
) -> None:
    folder = tmp_path / "model"
    for name, size in (("a", 0), ("b", 5), ("sub/c", 700_000), ("sub/same", 700_000)):
        write(folder / name, content(size))
    (folder / "link").symlink_to("a")
    _share(catalog, folder, recipe)
    report = verify_roots(catalog)
    assert (report.ok, report.checked_files, report.checked_bytes) == (True, 4, 1_400_005)
    assert report.problems == []


def test_verify_when_bytes_changed_behind_the_stamp_then_corrupt_and_not_served(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", content(10_000))
    root = _share(catalog, path, recipe_from(chunker="size-1000"))
    _flip(path, 3500, keep_time=True)
    report = verify_roots(catalog)
    assert _problems(report) == [("f", "corrupt", (3,))]
    assert not report.ok
    assert catalog.find_file(root.multihash) is None
    assert catalog.announce_counts()[0] == 0


def test_verify_when_changed_with_a_new_time_then_changed_and_the_leaf_is_named(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", content(10_000))
    _share(catalog, path, recipe_from(chunker="size-1000"))
    _flip(path, 9999, keep_time=False)
    assert _problems(verify_roots(catalog)) == [("f", "changed", (9,))]


def test_verify_when_shrunk_or_gone_then_told(catalog: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for name in ("fine", "gone", "short"):
        write(folder / name, content(100) + name.encode())
    root = _share(catalog, folder)
    (folder / "gone").unlink()
    overwrite(folder / "short", b"")
    report = verify_roots(catalog, root.multihash)
    assert sorted(_problems(report)) == [("gone", "missing", ()), ("short", "changed", ())]
    found = catalog.find_root(root.multihash)
    assert found is not None
    assert found.state == "partial"


def test_verify_when_only_the_time_changed_then_served_again(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", content(10_000))
    root = _share(catalog, path)
    overwrite(path, content(10_000))
    catalog.mark_changed(path, "changed")
    report = verify_roots(catalog)
    assert (report.ok, report.restored_files) == (True, 1)
    assert catalog.find_file(root.multihash) is not None
    assert catalog.announce_counts()[0] == 1
    assert verify_roots(catalog).restored_files == 0


def test_verify_when_file_was_added_anew_then_the_old_folder_is_told(
    catalog: Catalog, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    write(folder / "a", content(10))
    write(folder / "b", content(20))
    root = _share(catalog, folder)
    overwrite(folder / "a", content(11))
    _share(catalog, folder / "a")
    assert _problems(verify_roots(catalog, root.multihash)) == [("a", "changed", ())]


def test_verify_when_an_inner_block_is_lost_then_incomplete(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", content(10_000))
    _share(catalog, path, recipe_from(chunker="size-1000", max_links=3))
    with sqlite3.connect(catalog.home / CATALOG_NAME) as connection:
        connection.execute("DELETE FROM blocks WHERE rowid = 1")
    connection.close()
    assert _problems(verify_roots(catalog)) == [("f", "incomplete", ())]


def test_verify_when_an_inner_block_is_damaged_then_incomplete(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", content(10_000))
    _share(catalog, path, recipe_from(chunker="size-1000", max_links=3))
    with sqlite3.connect(catalog.home / CATALOG_NAME) as connection:
        connection.execute("UPDATE blocks SET bytes = x'0a' WHERE rowid = 1")
    connection.close()
    assert _problems(verify_roots(catalog)) == [("f", "incomplete", ())]


def test_verify_when_large_then_segments_agree(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "SEGMENT_BYTES", 3000)
    path = write(tmp_path / "f", content(50_500))
    _share(catalog, path, recipe_from(chunker="size-1000"))
    assert verify_roots(catalog).checked_bytes == 50_500
    for offset in (0, 25_000, 50_499):
        _flip(path, offset, keep_time=True)
    assert _problems(verify_roots(catalog)) == [("f", "corrupt", (0, 25, 50))]


def test_verify_when_target_is_a_file_inside_then_only_that_is_read(
    catalog: Catalog, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    write(folder / "a", content(10))
    write(folder / "b", content(20))
    _share(catalog, folder)
    [inside] = [file for file in catalog.all_files() if file.path.name == "b"]
    report = verify_roots(catalog, inside.cid.multihash)
    assert (report.checked_files, report.checked_bytes) == (1, 20)


def test_verify_when_target_is_unknown_then_target_error(catalog: Catalog) -> None:
    with pytest.raises(TargetError, match="mirrornode ls"):
        verify_roots(catalog, Cid.raw_sha256(b"\1" * 32).multihash)


def test_verify_when_told_then_json_and_progress_are_complete(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", content(10))
    root = _share(catalog, path)
    path.unlink()
    events: list[Event] = []
    report = verify_roots(catalog, None, events.append)
    assert json.loads(json.dumps(report.to_record())) == {
        "checked_files": 1,
        "checked_bytes": 0,
        "restored_files": 0,
        "more_problems": 0,
        "ok": False,
        "problems": [{"path": str(path), "cid": str(root), "reason": "missing", "bad_leaves": []}],
    }
    assert isinstance(events[-1], AddProgress)
    assert events[-1].done_bytes == events[-1].total_bytes == 10


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_verify_when_unreadable_then_told_and_not_marked(catalog: Catalog, tmp_path: Path) -> None:
    path = write(tmp_path / "f", content(10))
    _share(catalog, path)
    path.chmod(0)
    assert _problems(verify_roots(catalog)) == [("f", "unreadable", ())]
    assert [root.state for root in catalog.roots()] == ["ok"]

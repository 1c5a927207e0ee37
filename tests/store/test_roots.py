from __future__ import annotations

from pathlib import Path

from mirrornode.content.file_dag import FileDag
from mirrornode.store.catalog import Catalog, refresh_states
from support.shared_files import content, overwrite, record, record_root, write


def _folder(catalog: Catalog, folder: Path, sizes: list[int]) -> dict[Path, FileDag]:
    dags = {}
    for size in sizes:
        path = write(folder / f"{size}.bin", content(size))
        dags[path] = record(catalog, path)
    record_root(catalog, folder, dags)
    return dags


def _state(catalog: Catalog) -> str:
    refresh_states(catalog)
    [root] = catalog.roots()
    return root.state


def test_roots_when_recorded_then_all_fields_come_back(catalog: Catalog, tmp_path: Path) -> None:
    dags = _folder(catalog, tmp_path / "model", [10, 20])
    [root] = catalog.roots()
    assert (root.kind, root.name, root.path) == ("directory", "model", tmp_path / "model")
    assert (root.size_bytes, root.files, root.added_at, root.state) == (30, 2, 1.0, "ok")
    assert catalog.find_root(root.cid.multihash) == root
    assert [file.path for file in catalog.root_files(root.cid)] == sorted(dags)
    assert catalog.find_root(b"unknown") is None


def test_refresh_states_when_nothing_changed_then_ok(catalog: Catalog, tmp_path: Path) -> None:
    _folder(catalog, tmp_path / "model", [10, 20])
    assert _state(catalog) == "ok"


def test_refresh_states_when_one_file_changed_then_partial(
    catalog: Catalog, tmp_path: Path
) -> None:
    first, second = _folder(catalog, tmp_path / "model", [10, 20])
    overwrite(first, content(11))
    assert _state(catalog) == "partial"
    second.unlink()
    assert _state(catalog) == "changed"


def test_refresh_states_when_all_files_are_gone_then_missing(
    catalog: Catalog, tmp_path: Path
) -> None:
    for path in _folder(catalog, tmp_path / "model", [10, 20]):
        path.unlink()
    assert _state(catalog) == "missing"


def test_refresh_states_when_a_disk_comes_back_then_served_and_announced_again(
    catalog: Catalog, tmp_path: Path
) -> None:
    dags = _folder(catalog, tmp_path / "disk" / "model", [10, 20])
    root = next(iter(dags.values())).root
    (tmp_path / "disk").rename(tmp_path / "away")
    assert _state(catalog) == "missing"
    assert catalog.announce_counts(now=1.0)[0] == 0
    (tmp_path / "away").rename(tmp_path / "disk")
    assert _state(catalog) == "ok"
    queued = {item.multihash for item in catalog.due_announcements(1.0, 10)}
    assert root.multihash in queued
    assert catalog.find_file(root.multihash) is not None


def test_refresh_states_when_one_of_two_files_comes_back_then_folder_is_not_announced(
    catalog: Catalog, tmp_path: Path
) -> None:
    dags = _folder(catalog, tmp_path / "model", [10, 20])
    catalog.record_root(
        cid=record(catalog, write(tmp_path / "other", content(30))).root,
        kind="directory",
        name="both",
        path=tmp_path,
        size_bytes=30,
        profile="",
        files=[(path, dag.root) for path, dag in dags.items()],
    )
    for path in dags:
        path.rename(path.with_suffix(".away"))
    refresh_states(catalog)
    first, second = dags
    first.with_suffix(".away").rename(first)
    refresh_states(catalog)
    queued = {item.multihash for item in catalog.due_announcements(1.0, 10)}
    assert dags[first].root.multihash in queued
    assert dags[second].root.multihash not in queued


def test_refresh_states_when_changed_by_verdict_then_stays_changed(
    catalog: Catalog, tmp_path: Path
) -> None:
    [path] = _folder(catalog, tmp_path / "model", [10])
    catalog.mark_changed(path, "changed")
    assert _state(catalog) == "changed"


def test_mark_changed_when_a_folder_holds_the_file_then_folder_is_not_announced(
    catalog: Catalog, tmp_path: Path
) -> None:
    first, second = (dags := _folder(catalog, tmp_path / "model", [10, 20]))
    catalog.enqueue_announcements([dags[second].root.multihash])
    catalog.mark_changed(first, "changed")
    queued = {item.multihash for item in catalog.due_announcements(1.0, 10)}
    assert queued == {dags[second].root.multihash}


def test_record_root_when_path_has_new_content_then_broken_root_is_forgotten(
    catalog: Catalog, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    old = _folder(catalog, folder, [10, 20])
    first = next(iter(old))
    old_root = old[first].root
    overwrite(first, content(15))
    new = {first: record(catalog, first)}
    record_root(catalog, folder, new)
    [root] = catalog.roots()
    assert root.cid == new[first].root
    assert catalog.find_root(old_root.multihash) is None


def test_record_root_when_same_content_lies_twice_then_two_roots_and_the_whole_one_is_found(
    catalog: Catalog, tmp_path: Path
) -> None:
    roots = [_folder(catalog, tmp_path / name, [10]) for name in "ab"]
    cid = next(iter(roots[0].values())).root
    assert len(catalog.roots()) == 2
    next(iter(roots[0])).unlink()
    refresh_states(catalog)
    found = catalog.find_root(cid.multihash)
    assert found is not None
    assert (found.path, found.state) == (tmp_path / "b", "ok")


def test_roots_when_file_comes_back_by_recording_then_root_is_ok(
    catalog: Catalog, tmp_path: Path
) -> None:
    [path] = _folder(catalog, tmp_path / "model", [10])
    overwrite(path, content(10))  # the same bytes at another time
    assert _state(catalog) == "changed"
    record(catalog, path)
    assert _state(catalog) == "ok"

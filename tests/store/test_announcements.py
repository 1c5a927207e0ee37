from __future__ import annotations

from pathlib import Path

from mirrornode.content.cid import Cid
from mirrornode.content.leaf_form import LeafForm
from mirrornode.store.announcements import (
    LARGE_FILE_BYTES,
    LARGE_FILE_PRIORITY,
    ROOT_PRIORITY,
    sha256_digest,
    sha256_multihash,
)
from mirrornode.store.catalog import Catalog
from mirrornode.store.records import FileRecord
from mirrornode.store.stamps import FileStamp


def _due(catalog: Catalog, now: float) -> list[bytes]:
    return [item.multihash for item in catalog.due_announcements(now, 100)]


def test_due_announcements_when_enqueued_then_at_once_and_in_order(catalog: Catalog) -> None:
    catalog.enqueue_announcements([b"b", b"a", b"b"])
    assert _due(catalog, 0.0) == [b"b", b"a"]
    assert [item.multihash for item in catalog.due_announcements(0.0, 1)] == [b"b"]


def test_mark_announced_when_done_then_due_again_at_its_time(catalog: Catalog) -> None:
    catalog.enqueue_announcements([b"a", b"b"])
    catalog.mark_announced({b"a": 100.0}, 50.0)
    assert _due(catalog, 99.0) == [b"b"]
    assert catalog.announce_counts(now=99.0) == (2, 1, 1)
    [again] = [item for item in catalog.due_announcements(100.0, 10) if item.multihash == b"a"]
    assert (again.attempts, again.last_ok_at) == (0, 50.0)


def test_mark_announce_failed_when_repeated_then_attempts_are_counted(catalog: Catalog) -> None:
    catalog.enqueue_announcements([b"a"])
    catalog.mark_announced({b"a": 10.0}, 1.0)
    catalog.mark_announce_failed({b"a": 20.0})
    catalog.mark_announce_failed({b"a": 30.0})
    assert catalog.due_announcements(29.0, 10) == []
    [item] = catalog.due_announcements(30.0, 10)
    assert (item.attempts, item.last_ok_at) == (2, 1.0)
    assert catalog.announce_counts(now=30.0) == (1, 1, 0)


def test_enqueue_announcements_when_queued_already_then_its_time_stays(catalog: Catalog) -> None:
    catalog.enqueue_announcements([b"a"])
    catalog.mark_announced({b"a": 100.0}, 50.0)
    catalog.enqueue_announcements([b"a"])
    assert _due(catalog, 99.0) == []


def test_requeue_all_when_called_then_everything_is_due(catalog: Catalog) -> None:
    catalog.enqueue_announcements([b"a", b"b"])
    catalog.mark_announced({b"a": 100.0}, 50.0)
    catalog.requeue_all(60.0)
    assert _due(catalog, 60.0) == [b"b", b"a"]


def _record_file(catalog: Catalog, name: str, size_bytes: int) -> tuple[Path, Cid, bytes]:
    path, cid, sha256 = Path("/models", name), Cid.raw_sha256(name[:1].encode() * 32), b"-" * 31
    digest = name[:1].encode() + sha256
    record = FileRecord(
        path=path,
        stamp=FileStamp(size_bytes=size_bytes, mtime_ns=1, inode=1),
        cid=cid,
        leaf_form=LeafForm.RAW,
        multihashes=[cid.multihash],
        lengths=[size_bytes],
        profile="",
        sha256=digest,
    )
    catalog.record_files([record])
    return path, cid, sha256_multihash(digest)


def _record_root(
    catalog: Catalog, cid: Cid, path: Path, files: list[tuple[Path, Cid]], announce: list[bytes]
) -> None:
    catalog.record_root(
        cid=cid,
        kind="directory",
        name=path.name,
        path=path,
        size_bytes=1,
        profile="",
        files=files,
        announce=announce,
    )


def test_record_root_when_announced_then_folder_first_large_files_next(catalog: Catalog) -> None:
    small = _record_file(catalog, "a small one", LARGE_FILE_BYTES - 1)
    large = _record_file(catalog, "b large one", LARGE_FILE_BYTES)
    folder = Cid.raw_sha256(b"f" * 32)
    names = [small[1].multihash, small[2], large[1].multihash, large[2]]
    files = [small[:2], large[:2]]
    _record_root(catalog, folder, Path("/models"), files, [*names, folder.multihash])

    due = catalog.due_announcements(0.0, 10)
    assert [item.multihash for item in due] == [folder.multihash, *names[2:], *names[:2]]
    assert [item.priority for item in due] == [
        ROOT_PRIORITY,
        *[LARGE_FILE_PRIORITY] * 2,
        *[0] * 2,
    ]
    assert len(catalog.due_announcements(0.0, 2)) == 2
    assert len(catalog.due_announcements(0.0, 10, LARGE_FILE_PRIORITY)) == 3
    assert len(catalog.due_announcements(0.0, 10, ROOT_PRIORITY)) == 1


def test_enqueue_announcements_when_a_queued_file_became_a_root_then_its_priority_rises(
    catalog: Catalog,
) -> None:
    path, cid, alias = _record_file(catalog, "small", 1)
    catalog.enqueue_announcements([cid.multihash, alias])
    catalog.mark_announced({cid.multihash: 100.0}, 50.0)
    _record_root(catalog, cid, path, [(path, cid)], [cid.multihash, alias])
    assert [item.priority for item in catalog.due_announcements(200.0, 10)] == [ROOT_PRIORITY] * 2
    assert _due(catalog, 99.0) == [alias]  # it keeps its time


def test_drop_announcements_when_dropped_then_gone(catalog: Catalog) -> None:
    catalog.enqueue_announcements([b"a", b"b"])
    catalog.drop_announcements([b"a", b"unknown"])
    assert _due(catalog, 1.0) == [b"b"]


def test_sha256_multihash_when_taken_apart_then_the_digest() -> None:
    assert sha256_digest(sha256_multihash(b"x" * 32)) == b"x" * 32
    assert sha256_digest(b"\x13\x40" + b"x" * 64) is None

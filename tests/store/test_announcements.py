from __future__ import annotations

from mirrornode.store.announcements import sha256_digest, sha256_multihash
from mirrornode.store.catalog import Catalog


def _due(catalog: Catalog, now: float) -> list[bytes]:
    return [item.multihash for item in catalog.due_announcements(now, 100)]


def test_due_announcements_when_enqueued_then_at_once_and_in_order(catalog: Catalog) -> None:
    catalog.enqueue_announcements([b"b", b"a", b"b"])
    assert _due(catalog, 0.0) == [b"b", b"a"]
    assert [item.multihash for item in catalog.due_announcements(0.0, 1)] == [b"b"]


def test_mark_announced_when_done_then_due_again_at_its_time(catalog: Catalog) -> None:
    catalog.enqueue_announcements([b"a", b"b"])
    catalog.mark_announced(b"a", next_at=100.0, ok_at=50.0)
    assert _due(catalog, 99.0) == [b"b"]
    assert catalog.announce_counts(now=99.0) == (2, 1, 1)
    [again] = [item for item in catalog.due_announcements(100.0, 10) if item.multihash == b"a"]
    assert (again.attempts, again.last_ok_at) == (0, 50.0)


def test_mark_announce_failed_when_repeated_then_attempts_are_counted(catalog: Catalog) -> None:
    catalog.enqueue_announcements([b"a"])
    catalog.mark_announced(b"a", next_at=10.0, ok_at=1.0)
    catalog.mark_announce_failed(b"a", next_at=20.0)
    catalog.mark_announce_failed(b"a", next_at=30.0)
    assert catalog.due_announcements(29.0, 10) == []
    [item] = catalog.due_announcements(30.0, 10)
    assert (item.attempts, item.last_ok_at) == (2, 1.0)
    assert catalog.announce_counts(now=30.0) == (1, 1, 0)


def test_enqueue_announcements_when_queued_already_then_its_time_stays(catalog: Catalog) -> None:
    catalog.enqueue_announcements([b"a"])
    catalog.mark_announced(b"a", next_at=100.0, ok_at=50.0)
    catalog.enqueue_announcements([b"a"])
    assert _due(catalog, 99.0) == []


def test_requeue_all_when_called_then_everything_is_due(catalog: Catalog) -> None:
    catalog.enqueue_announcements([b"a", b"b"])
    catalog.mark_announced(b"a", next_at=100.0, ok_at=50.0)
    catalog.requeue_all(60.0)
    assert _due(catalog, 60.0) == [b"b", b"a"]


def test_drop_announcements_when_dropped_then_gone(catalog: Catalog) -> None:
    catalog.enqueue_announcements([b"a", b"b"])
    catalog.drop_announcements([b"a", b"unknown"])
    assert _due(catalog, 1.0) == [b"b"]


def test_sha256_multihash_when_taken_apart_then_the_digest() -> None:
    assert sha256_digest(sha256_multihash(b"x" * 32)) == b"x" * 32
    assert sha256_digest(b"\x13\x40" + b"x" * 64) is None

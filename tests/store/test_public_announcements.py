"""The public DHT's times: the contract of a queue, and what is in step with the other one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from contracts.announce_queue import AnnounceQueueContract
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.store.public_announcements import PublicAnnouncements, SweepState, place_of

KEYS = [b"\x12\x20" + bytes((number,)) * 32 for number in range(40)]


class _WritableQueue(PublicAnnouncements):
    """The public queue, filled and emptied where the catalog does that."""

    def __init__(self, catalog: Catalog) -> None:
        super().__init__(catalog._database)
        self._catalog = catalog

    def enqueue_announcements(self, multihashes: Iterable[bytes]) -> None:
        self._catalog.enqueue_announcements(multihashes)

    def drop_announcements(self, multihashes: Iterable[bytes]) -> None:
        self._catalog.drop_announcements(multihashes)


class TestPublicQueue(AnnounceQueueContract):
    @pytest.fixture
    def queue(self, catalog: Catalog) -> _WritableQueue:
        return _WritableQueue(catalog)


def test_due_at_one_time_are_neighbours_in_the_key_space(catalog: Catalog) -> None:
    catalog.enqueue_announcements(KEYS)
    queue = catalog.public_announcements()
    due = [row.multihash for row in queue.due_announcements(1.0, 100)]
    assert due == sorted(KEYS, key=place_of)


def test_times_of_the_two_networks_are_their_own(catalog: Catalog) -> None:
    catalog.enqueue_announcements(KEYS[:2])
    queue = catalog.public_announcements()
    catalog.mark_announced({KEYS[0]: 100.0}, 50.0)
    queue.mark_announce_failed({KEYS[1]: 100.0})
    assert [row.multihash for row in catalog.due_announcements(60.0, 9)] == [KEYS[1]]
    queue.due_announcements(60.0, 9)
    queue.mark_announced({KEYS[1]: 100.0}, 50.0)
    assert [row.multihash for row in queue.due_announcements(60.0, 9)] == [KEYS[0]]


def test_what_rises_in_the_catalog_rises_here(catalog: Catalog) -> None:
    catalog.enqueue_announcements(KEYS[:2])
    queue = catalog.public_announcements()
    queue.due_announcements(1.0, 9)
    with catalog._database.write() as connection:
        connection.execute("UPDATE announcements SET priority = 2 WHERE multihash = ?", KEYS[1:2])
    assert [row.multihash for row in queue.due_announcements(1.0, 9, 2)] == [KEYS[1]]


def test_times_and_sweep_are_kept_over_a_restart(tmp_path: Path) -> None:
    with open_catalog(tmp_path) as catalog:
        catalog.enqueue_announcements(KEYS[:3])
        queue = catalog.public_announcements()
        assert len(queue.due_announcements(1.0, 9)) == 3
        queue.mark_announced({KEYS[0]: 100.0}, 50.0)
        catalog.note_sweep("public", SweepState(9000, 7))
        catalog.note_sweep("public", SweepState(10_000, 77))
    with open_catalog(tmp_path) as catalog:
        queue = catalog.public_announcements()
        assert {row.multihash for row in queue.due_announcements(60.0, 9)} == set(KEYS[1:3])
        assert catalog.sweep_state("public") == SweepState(10_000, 77)
        assert catalog.sweep_state("lan") == SweepState()


@pytest.mark.parametrize(("now", "behind_s"), [(50.0, 0.0), (100.0, 0.0), (130.0, 30.0)])
def test_longest_due_counts_repetitions_only(catalog: Catalog, now: float, behind_s: float) -> None:
    catalog.enqueue_announcements(KEYS[:3])
    queue = catalog.public_announcements()
    queue.due_announcements(1.0, 9)
    for one in (catalog, queue):
        one.mark_announced({KEYS[0]: 100.0, KEYS[1]: 120.0}, 50.0)
        assert one.longest_due_s(now) == behind_s

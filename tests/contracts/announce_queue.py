"""What every announce queue does; subclass with a `queue` fixture to check an implementation.

class TestCatalogQueue(AnnounceQueueContract):
    @pytest.fixture
    def queue(self, ...) -> WritableQueue: ...
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from mirrornode.routing.announce import AnnounceQueue

A, B, C = (b"\x12\x20" + bytes((letter,)) * 32 for letter in b"abc")
SOON = 1e9  # unix seconds; "now" of these tests
FAR = 1e12  # beyond the clock of any machine that runs them


class WritableQueue(AnnounceQueue, Protocol):
    """A queue with the other end: what the store fills and empties."""

    def enqueue_announcements(self, multihashes: Iterable[bytes]) -> None: ...

    def drop_announcements(self, multihashes: Iterable[bytes]) -> None: ...


def _due(queue: WritableQueue, now: float = SOON, limit: int = 100) -> list[bytes]:
    return [bytes(row.multihash) for row in queue.due_announcements(now, limit)]


class AnnounceQueueContract:
    """The tests; `queue` is empty when a test begins."""

    def test_enqueued_is_due_at_once(self, queue: WritableQueue) -> None:
        assert _due(queue) == []
        queue.enqueue_announcements([A, B])
        assert sorted(_due(queue)) == [A, B]
        assert [row.attempts for row in queue.due_announcements(SOON, 100)] == [0, 0]

    def test_enqueued_by_multihash_alone_is_of_the_lowest_priority(
        self, queue: WritableQueue
    ) -> None:
        queue.enqueue_announcements([A])
        assert [row.priority for row in queue.due_announcements(SOON, 100, 0)] == [0]
        assert list(queue.due_announcements(SOON, 100, 1)) == []

    def test_due_is_bounded_by_limit(self, queue: WritableQueue) -> None:
        queue.enqueue_announcements([A, B, C])
        assert len(_due(queue, limit=2)) == 2

    def test_announced_is_due_again_at_its_time(self, queue: WritableQueue) -> None:
        queue.enqueue_announcements([A])
        queue.mark_announced({A: SOON + 10}, SOON)
        assert _due(queue, SOON + 9) == []
        assert _due(queue, SOON + 10) == [A]

    def test_failures_are_counted_until_a_success(self, queue: WritableQueue) -> None:
        queue.enqueue_announcements([A])
        queue.mark_announce_failed({A: SOON + 1})
        queue.mark_announce_failed({A: SOON + 2})
        assert _due(queue, SOON + 1) == []
        assert [row.attempts for row in queue.due_announcements(SOON + 2, 1)] == [2]
        queue.mark_announced({A: SOON + 3}, SOON)
        assert [row.attempts for row in queue.due_announcements(SOON + 3, 1)] == [0]

    def test_longest_due_comes_first(self, queue: WritableQueue) -> None:
        queue.enqueue_announcements([A, B])
        queue.mark_announce_failed({A: SOON + 5})
        queue.mark_announce_failed({B: SOON + 4})
        assert _due(queue, SOON + 5) == [B, A]

    def test_enqueued_again_keeps_its_time(self, queue: WritableQueue) -> None:
        queue.enqueue_announcements([A])
        queue.mark_announced({A: SOON + 10}, SOON)
        queue.enqueue_announcements([A])
        assert _due(queue) == []

    def test_everything_is_due_at_infinity(self, queue: WritableQueue) -> None:
        queue.enqueue_announcements([A, B])
        queue.mark_announced({A: FAR}, SOON)
        assert set(_due(queue, math.inf, 1_000_000)) == {A, B}

    def test_announced_before_the_clock_was_set_back_is_due(self, queue: WritableQueue) -> None:
        year_s = 365 * 24 * 3600.0
        queue.enqueue_announcements([A, B])
        queue.mark_announced({A: SOON + year_s, B: SOON + year_s + 1}, SOON + year_s)
        assert _due(queue) == [A, B]
        queue.enqueue_announcements([C])
        assert _due(queue) == [C, A, B]
        queue.mark_announced({A: SOON + 60, B: SOON + 60}, SOON)
        assert _due(queue) == [C]

    def test_announced_before_the_clock_was_set_forward_is_due(self, queue: WritableQueue) -> None:
        queue.enqueue_announcements([A])
        queue.mark_announced({A: SOON + 3600}, SOON)
        assert _due(queue, SOON + 365 * 24 * 3600.0) == [A]

    def test_dropped_is_gone_and_marks_of_it_are_ignored(self, queue: WritableQueue) -> None:
        queue.enqueue_announcements([A, B])
        queue.drop_announcements([A, C])
        queue.mark_announced({A: SOON}, SOON)
        queue.mark_announce_failed({C: SOON})
        assert _due(queue, math.inf) == [B]

    def test_counts(self, queue: WritableQueue) -> None:
        assert queue.announce_counts() == (0, 0, 0)
        queue.enqueue_announcements([A, B, C])
        queue.mark_announced({A: FAR}, SOON)
        queue.mark_announce_failed({B: FAR})
        total, _, ok = queue.announce_counts()
        assert (total, ok) == (3, 1)

    def test_calls_from_many_threads_lose_nothing(self, queue: WritableQueue) -> None:
        keys = [b"\x12\x20" + number.to_bytes(32, "big") for number in range(40)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda key: queue.enqueue_announcements([key]), keys))
            list(pool.map(lambda key: queue.mark_announced({key: FAR}, SOON), keys))
        assert queue.announce_counts() == (40, 0, 40)

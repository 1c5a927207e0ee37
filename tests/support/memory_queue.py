"""The announce queue in memory; passes the same contract as the catalog's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueuedAnnouncement:
    """One row."""

    multihash: bytes
    attempts: int = 0
    last_ok_at: float | None = None


class MemoryQueue:
    """Rows by multihash, in order of enqueueing."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rows: dict[bytes, tuple[float, QueuedAnnouncement]] = {}

    def enqueue_announcements(self, multihashes: Iterable[bytes]) -> None:
        with self._lock:
            for multihash in multihashes:
                self._rows.setdefault(multihash, (0.0, QueuedAnnouncement(multihash)))

    def drop_announcements(self, multihashes: Iterable[bytes]) -> None:
        with self._lock:
            for multihash in multihashes:
                self._rows.pop(multihash, None)

    def due_announcements(self, now: float, limit: int) -> list[QueuedAnnouncement]:
        with self._lock:
            due = sorted(
                ((next_at, row) for next_at, row in self._rows.values() if next_at <= now),
                key=lambda pair: pair[0],
            )
            return [row for _, row in due[:limit]]

    def mark_announced(self, multihash: bytes, next_at: float, ok_at: float) -> None:
        with self._lock:
            if multihash in self._rows:
                self._rows[multihash] = (next_at, QueuedAnnouncement(multihash, 0, ok_at))

    def mark_announce_failed(self, multihash: bytes, next_at: float) -> None:
        with self._lock:
            if multihash in self._rows:
                _, row = self._rows[multihash]
                self._rows[multihash] = (
                    next_at,
                    QueuedAnnouncement(multihash, row.attempts + 1, row.last_ok_at),
                )

    def announce_counts(self) -> tuple[int, int, int]:
        with self._lock:
            rows = list(self._rows.values())
        due = sum(next_at <= self._clock() for next_at, _ in rows)
        ok = sum(row.last_ok_at is not None and not row.attempts for _, row in rows)
        return len(rows), due, ok

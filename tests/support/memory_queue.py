"""The announce queue in memory; passes the same contract as the catalog's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from mirrornode.store.announcements import FARTHEST_S
from mirrornode.store.public_announcements import SweepState


@dataclass(frozen=True, slots=True)
class QueuedAnnouncement:
    """One row."""

    multihash: bytes
    priority: int = 0
    attempts: int = 0
    last_ok_at: float | None = None


class MemoryQueue:
    """Rows by multihash, in order of enqueueing; `priorities` are those that are not 0.

    Remembers how far announcing is, too.
    """

    def __init__(
        self,
        clock: Callable[[], float] = lambda: 0.0,
        *,
        priorities: Mapping[bytes, int] | None = None,
    ) -> None:
        self._clock = clock
        self._priorities = priorities or {}
        self._lock = threading.Lock()
        self._rows: dict[bytes, tuple[float, QueuedAnnouncement]] = {}
        self.sweeps: dict[str, SweepState] = {}

    def sweep_state(self, network: str) -> SweepState:
        return self.sweeps.get(network, SweepState())

    def note_sweep(self, network: str, state: SweepState) -> None:
        self.sweeps[network] = state

    def enqueue_announcements(self, multihashes: Iterable[bytes]) -> None:
        with self._lock:
            for multihash in multihashes:
                row = QueuedAnnouncement(multihash, self._priorities.get(multihash, 0))
                self._rows.setdefault(multihash, (0.0, row))

    def drop_announcements(self, multihashes: Iterable[bytes]) -> None:
        with self._lock:
            for multihash in multihashes:
                self._rows.pop(multihash, None)

    def due_announcements(
        self, now: float, limit: int, min_priority: int = 0
    ) -> list[QueuedAnnouncement]:
        with self._lock:
            due = sorted(
                (
                    (next_at > now, -row.priority, next_at, row)
                    for next_at, row in self._rows.values()
                    if not now < next_at <= now + FARTHEST_S and row.priority >= min_priority
                ),
                key=lambda each: each[:3],
            )
            return [row for *_, row in due[:limit]]

    def mark_announced(self, next_at: Mapping[bytes, float], ok_at: float) -> None:
        with self._lock:
            for multihash, at in next_at.items():
                if multihash in self._rows:
                    _, row = self._rows[multihash]
                    self._rows[multihash] = (at, replace(row, attempts=0, last_ok_at=ok_at))

    def mark_announce_failed(self, next_at: Mapping[bytes, float]) -> None:
        with self._lock:
            for multihash, at in next_at.items():
                if multihash in self._rows:
                    _, row = self._rows[multihash]
                    self._rows[multihash] = (at, replace(row, attempts=row.attempts + 1))

    def announce_counts(self) -> tuple[int, int, int]:
        with self._lock:
            rows = list(self._rows.values())
        due = sum(next_at <= self._clock() for next_at, _ in rows)
        ok = sum(row.last_ok_at is not None and not row.attempts for _, row in rows)
        return len(rows), due, ok

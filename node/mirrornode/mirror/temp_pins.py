"""Temp pins: what running work needs, held for as long as it runs, in memory.

A key is the path of a file or folder, or the multihash of a root. A crash forgets all of them, and
with them the work that they were for.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator

Key = str | bytes


class TempPins:
    """Counts holders; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards both
        self._held: Counter[Key] = Counter()
        self._begun = 0

    @contextlib.contextmanager
    def hold(self, *keys: Key) -> Iterator[None]:
        """Keep what the keys name from being freed, for the length of the block."""
        with self._lock:
            self._begun += 1
            self._held.update(keys)
        try:
            yield
        finally:
            with self._lock:
                self._held -= Counter(keys)

    def held(self) -> tuple[frozenset[Key], int]:
        """Return what is held, and a number that differs once something more has been."""
        with self._lock:
            return frozenset(self._held), self._begun

    @contextlib.contextmanager
    def guarding(self) -> Iterator[Callable[[Key], bool]]:
        """Let nobody take hold for the length of the block, which must be short.

        Yields what tells whether a key is held.
        """
        with self._lock:
            yield lambda key: key in self._held

    @contextlib.contextmanager
    def while_nothing_begins(self, seen: int) -> Iterator[bool]:
        """Let nobody take hold for the length of the block, which must be short.

        Yields whether nothing has taken hold since `held` returned `seen`.
        """
        with self._lock:
            yield self._begun == seen

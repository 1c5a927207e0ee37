"""Open connections that wait for their next use: on a long line a new one costs round trips."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

MAX_IDLE = 16
IDLE_LIFE_S = 30.0  # a middlebox may have forgotten an older connection without telling us

_C = TypeVar("_C")


class Idle(Generic[_C]):
    """Connections that wait for their next use, the last one in first; any thread."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, _C]] = []

    def take(self, fits: Callable[[_C], bool] = lambda _: True) -> _C | None:
        """Return one that fits and is not too old, None when there is none."""
        with self._lock:
            oldest = self._clock() - IDLE_LIFE_S
            self._waiting = [(since, item) for since, item in self._waiting if since >= oldest]
            for number in reversed(range(len(self._waiting))):
                if fits(self._waiting[number][1]):
                    return self._waiting.pop(number)[1]
        return None

    def take_all(self) -> list[_C]:
        """Return all of them, to be closed."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return [item for _, item in waiting]

    def give(self, connection: _C) -> None:
        """Keep a connection that is ready for a request; the oldest makes room."""
        with self._lock:
            self._waiting.append((self._clock(), connection))
            del self._waiting[:-MAX_IDLE]

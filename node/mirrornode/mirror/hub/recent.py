"""The last used values of something, bounded by what they weigh together."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Keeps what was used last; thread-safe."""

    def __init__(self, max_weight: int) -> None:
        self._max_weight = max_weight
        self._weight = 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        """Return what is kept under a key."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: Hashable, value: T, weight: int = 1) -> None:
        """Keep a value in place of an older one; what is too heavy alone is not kept."""
        with self._lock:
            self._drop(key)
            if weight > self._max_weight:
                return
            self._kept[key] = value, weight
            self._weight += weight
            while self._weight > self._max_weight:
                self._drop(next(iter(self._kept)))

    def drop(self, key: Hashable) -> None:
        """Forget a value."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        if key in self._kept:
            self._weight -= self._kept.pop(key)[1]

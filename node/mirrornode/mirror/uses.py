"""When files were used last: noted in memory by whoever reads them, written down now and then.

A use costs one entry in a dictionary. What a crash loses makes a file look a few minutes older.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

MAX_NOTED = 65_536  # between two flushes; beyond, uses of further files are not noted


class Uses:
    """Notes uses from any thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Prepare.

        Args:
            clock: Unix time in seconds.
        """
        self._clock = clock
        self._noted: dict[str, float] = {}
        self._written: dict[str, float] = {}

    def note(self, path: Path | str) -> None:
        """Note that a file is being used now."""
        key = os.fspath(path)
        noted = self._noted
        if len(noted) < MAX_NOTED or key in noted:
            noted[key] = self._clock()

    def last(self, path: str) -> float:
        """Return when a file was used last, as far as that is not written down; else 0."""
        return max(self._noted.get(path, 0.0), self._written.get(path, 0.0))

    def take(self) -> Mapping[str, float]:
        """Return what was noted since the last call, for writing down."""
        self._written, self._noted = self._noted, {}
        return self._written

"""Giving complete files their final names: one thread, or several where the disk lets them wait.

Each file is synced before it is renamed. On a disk that takes milliseconds for it, small files wait
together and not one after the other. Where a sync costs next to nothing, threads would only take
the interpreter's lock from each other and from the lanes: 10,000 files took a fifth longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirrornode.transfer.outputs import OutputFile

FINISHERS = 8
FEW = 4  # files between two looks at the time
QUICK_S = 0.00025  # a file: memory needs 0.1 ms, an SSD 0.5 ms, a hard disk 10 ms
PATIENCE_S = 0.03  # by which one thread may fall behind that, before there are more


class Finishers:
    """Finishes files of one transfer; `finish` is called by one thread at a time."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._pool: ThreadPoolExecutor | None = None
        self._behind_s = 0.0

    def finish(self, outputs: Sequence[OutputFile]) -> None:
        """Sync and rename all of them; blocking.

        Raises:
            StoreError: As `OutputFile.finish`; the others may or may not be finished.
        """
        at = 0
        while self._pool is None and at < len(outputs):
            began = self._clock()
            few = outputs[at : at + FEW]
            _finish_all(few)
            at += len(few)
            took_s = self._clock() - began
            self._behind_s = max(0.0, self._behind_s + took_s - QUICK_S * len(few))
            if self._behind_s > PATIENCE_S:
                self._pool = ThreadPoolExecutor(FINISHERS, "finish")
        rest = outputs[at:]
        if self._pool is not None and rest:
            shares = (rest[at::FINISHERS] for at in range(min(FINISHERS, len(rest))))
            list(self._pool.map(_finish_all, shares))

    def close(self) -> None:
        """End the threads, after what they have begun."""
        if self._pool is not None:
            self._pool.shutdown()


def _finish_all(outputs: Iterable[OutputFile]) -> None:
    for output in outputs:
        output.finish()

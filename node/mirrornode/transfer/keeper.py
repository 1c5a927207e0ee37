"""Saves the beginnings of leaves that take long to arrive, so that kill -9 loses little of them.

A leaf of 1 MiB is verified and written when all of it is there; until then it lies in memory, on
every lane. On a fast line that is a moment. On a slow one this thread writes what has come so far
to the leaf's place in the part, unverified, where the next run finds it; see `Journal`.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mirrornode.transfer.worker import Arriving

KEEP_EVERY_S = 0.01  # a leaf that comes within this is never touched
KEEP_BYTES = 4 * 1024  # fewer fresh ones wait for more
READER_BYTES = io.DEFAULT_BUFFER_SIZE  # counted as received, maybe not in the leaf's buffer yet


class SlowReceiver(Protocol):
    """What is looked at of a lane's worker."""

    @property
    def arriving(self) -> Arriving | None: ...
    @property
    def received_bytes(self) -> int: ...


class Keeper(threading.Thread):
    """Looks at the lanes of one transfer until it is stopped."""

    def __init__(self, workers: Callable[[], Sequence[SlowReceiver]]) -> None:
        """Prepare; `workers` returns those of now, from any thread."""
        super().__init__(name="keeper", daemon=True)
        self._workers = workers
        self._stopped = threading.Event()

    def run(self) -> None:
        """Save what two looks in a row find on its way."""
        before: list[Arriving] = []
        while not self._stopped.wait(KEEP_EVERY_S):
            now = []
            for worker in self._workers():
                arriving = worker.arriving
                if arriving is not None:
                    now.append(arriving)
                    if any(arriving is other for other in before):
                        keep(arriving, worker.received_bytes)
            before = now

    def stop(self) -> None:
        """End soon; what is looked at until then is dropped by closed outputs."""
        self._stopped.set()


def keep(arriving: Arriving, received_bytes: int) -> None:
    """Save what came since the last time.

    The lane goes on meanwhile. It may even have finished: then `OutputFile.keep` does nothing, or
    the lane waits for it before it writes; its buffer is not used for another leaf until then.
    """
    arrived = received_bytes - arriving.began_at_bytes - READER_BYTES
    there = min(arrived, len(arriving.view) - READER_BYTES)
    if there - arriving.kept >= KEEP_BYTES:
        fresh = arriving.view[arriving.kept : there]
        if arriving.output.keep(arriving.leaf, fresh, arriving.offset + arriving.kept):
            arriving.kept = there

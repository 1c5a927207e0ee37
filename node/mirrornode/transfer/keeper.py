"""Saves the beginnings of leaves that take long to arrive, so that kill -9 loses little of them.

A leaf of 1 MiB is verified and written when all of it is there; until then it lies in memory, on
every lane. On a fast line that is a moment. On a slow one this thread writes what has come so far
to the leaf's place in the part, unverified, where the next run finds it; see `Journal`.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mirrornode.transfer.worker import Arriving

LOOK_S = 0.01  # a leaf that comes within this is never touched, on a fast line
KEEP_S = 0.003  # between two looks on a slow one, with few lanes: a kill loses what came since
FEW_LANES = 4
SLOW_S = 0.1  # a line is taken for slow so long after a slow leaf
KEEP_BYTES = 16 * 1024  # fewer fresh ones wait for more: every write costs a turn of the lock
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
        """Save what is on its way on a slow line: where a leaf is still coming after `LOOK_S`."""
        seen: dict[int, tuple[Arriving, float]] = {}
        slow_until, wait_s = 0.0, LOOK_S
        while not self._stopped.wait(wait_s):
            now_s = time.monotonic()
            before, seen = seen, {}
            for worker in self._workers():
                arriving = worker.arriving
                if arriving is None:
                    continue
                _, since_s = seen[id(arriving)] = before.get(id(arriving), (arriving, now_s))
                if now_s - since_s >= LOOK_S:
                    slow_until = now_s + SLOW_S
                if now_s < slow_until:
                    keep(arriving, worker.received_bytes)
            # As much comes in on many lanes as on few, and a look takes longer.
            slow_wait_s = KEEP_S * max(1.0, len(seen) / FEW_LANES)
            wait_s = min(LOOK_S, slow_wait_s) if now_s < slow_until else LOOK_S

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

"""Hashing many files: how many at once, in which order, and how it is stopped.

Small files go side by side in bundles, because a file of a few KiB costs more to hand over than to
hash. Large files follow, each with two threads (`hashing`). What is done with the digests is the
caller's business, in the caller's thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mirrornode.store.hashing import MIB, PIPELINE_FROM_BYTES, FileDigests, hash_file

if TYPE_CHECKING:
    from mirrornode.content.recipe import Recipe

BUNDLE_FILES = 32
BUNDLE_BYTES = 8 * MIB
MAX_WORKERS = 4  # a disk gains nothing from more readers
TICK_S = 0.1

_T = TypeVar("_T")
Task = Callable[["ByteMeter"], _T]


class Stopped(BaseException):
    """Ends a task whose result nobody waits for; never leaves this module."""


class ByteMeter:
    """Counts bytes over all threads, and tells them when to stop."""

    def __init__(self) -> None:
        self.done_bytes = 0
        self._lock = threading.Lock()  # guards done_bytes
        self._stop = threading.Event()

    def advance(self, count: int) -> None:
        """Count bytes that were read, or end the task that read them."""
        if self._stop.is_set():
            raise Stopped
        with self._lock:
            self.done_bytes += count

    def stop(self) -> None:
        """End all tasks at the next bytes they read."""
        self._stop.set()


def run_tasks(
    tasks: Iterable[Task[_T]], workers: int, meter: ByteMeter, on_tick: Callable[[], None]
) -> Generator[_T, None, None]:
    """Run tasks in threads and yield their results as they come, in no order.

    What a task or `on_tick` raises, and closing the generator, ends the others first.

    Args:
        tasks: Taken from the iterable when a thread is nearly free, never all at once.
        on_tick: Called in the caller's thread about every `TICK_S` seconds while it waits.
    """
    remaining = iter(tasks)
    pending: set[Future[_T]] = set()
    with ThreadPoolExecutor(workers, thread_name_prefix="hash") as executor:
        try:
            while True:
                while len(pending) < 2 * workers and (task := next(remaining, None)):
                    pending.add(executor.submit(task, meter))
                if not pending:
                    return
                done, pending = wait(pending, timeout=TICK_S, return_when=FIRST_COMPLETED)
                on_tick()
                for future in done:
                    yield future.result()
        except BaseException:
            meter.stop()
            for future in pending:
                future.cancel()
            raise


def hash_files(
    files: Sequence[tuple[Path, int]],
    recipe: Recipe,
    meter: ByteMeter,
    on_tick: Callable[[], None],
) -> Generator[tuple[Path, FileDigests], None, None]:
    """Read files once each and yield their digests, small files first, otherwise in no order.

    Args:
        files: Paths with the sizes they are expected to have, to plan by.

    Raises:
        FileChanged, PathRefused: As `hash_file`, for the first file that fails.
    """
    cores = os.cpu_count() or 1
    large = [path for path, size_bytes in files if size_bytes >= PIPELINE_FROM_BYTES]
    bundles = _bundles((path, size) for path, size in files if size < PIPELINE_FROM_BYTES)
    for digests in run_tasks(
        (_hash_bundle(bundle, recipe) for bundle in bundles),
        min(MAX_WORKERS, cores),
        meter,
        on_tick,
    ):
        yield from digests
    for digests in run_tasks(
        (_hash_bundle([path], recipe) for path in large),
        max(1, min(MAX_WORKERS, cores) // 2),
        meter,
        on_tick,
    ):
        yield from digests


def _hash_bundle(paths: Sequence[Path], recipe: Recipe) -> Task[list[tuple[Path, FileDigests]]]:
    def task(meter: ByteMeter) -> list[tuple[Path, FileDigests]]:
        return [(path, hash_file(path, recipe, meter.advance)) for path in paths]

    return task


def _bundles(files: Iterable[tuple[Path, int]]) -> Iterator[list[Path]]:
    bundle: list[Path] = []
    bundle_bytes = 0
    for path, size_bytes in files:
        bundle.append(path)
        bundle_bytes += size_bytes
        if len(bundle) == BUNDLE_FILES or bundle_bytes >= BUNDLE_BYTES:
            yield bundle
            bundle, bundle_bytes = [], 0
    if bundle:
        yield bundle

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrornode.content.recipe import UNIXFS_V1_2025
from mirrornode.errors import FileChanged
from mirrornode.store.hash_pool import ByteMeter, Task, hash_files, run_tasks
from mirrornode.store.hashing import PIPELINE_FROM_BYTES
from support.shared_files import content, write


def test_hash_files_when_small_and_large_then_each_once(tmp_path: Path) -> None:
    sizes = {tmp_path / f"f{n}": n * 7 for n in range(100)}
    sizes[tmp_path / "large"] = PIPELINE_FROM_BYTES
    for path, size in sizes.items():
        write(path, bytes(size))
    meter = ByteMeter()
    found = list(hash_files(list(sizes.items()), UNIXFS_V1_2025, meter, lambda: None))
    assert {path: digests.stamp.size_bytes for path, digests in found} == sizes
    assert len(found) == len(sizes)
    assert meter.done_bytes == sum(sizes.values())


def test_hash_files_when_one_is_missing_then_its_name_is_told(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"f{n}", content(n)) for n in range(100)]
    paths[50].unlink()
    with pytest.raises(FileChanged) as caught:
        list(hash_files([(p, 1) for p in paths], UNIXFS_V1_2025, ByteMeter(), lambda: None))
    assert caught.value.path == paths[50]


def test_run_tasks_when_closed_early_then_running_tasks_end() -> None:
    release = threading.Event()
    ended: list[str] = []

    def quick(meter: ByteMeter) -> str:
        return "quick"

    def endless(meter: ByteMeter) -> str:
        try:
            while True:
                meter.advance(1)
                release.wait(0.001)
        finally:
            ended.append("endless")

    results = run_tasks([quick, endless], 2, ByteMeter(), lambda: None)
    assert next(results) == "quick"
    results.close()
    assert ended in (["endless"], [])  # [] when it was cancelled before it began


def test_run_tasks_when_tick_raises_then_tasks_end_and_it_is_raised() -> None:
    def endless(meter: ByteMeter) -> None:
        while True:
            meter.advance(1)
            threading.Event().wait(0.001)

    def tick() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_tasks([endless], 1, ByteMeter(), tick))


def test_run_tasks_when_many_tasks_then_they_are_taken_as_threads_are_free() -> None:
    taken = finished = most_ahead = 0

    def tasks() -> Iterator[Task[int]]:
        nonlocal taken, most_ahead
        for number in range(100):
            taken += 1
            most_ahead = max(most_ahead, taken - finished)
            yield lambda meter, number=number: number  # type: ignore[misc]  # binds the number

    results = []
    for result in run_tasks(tasks(), 2, ByteMeter(), lambda: None):
        finished += 1
        results.append(result)
    assert sorted(results) == list(range(100))
    assert most_ahead <= 8

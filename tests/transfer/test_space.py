"""How a file gets its room, on file systems that can reserve it and on those that cannot."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mirrornode.transfer import space
from mirrornode.transfer.space import SMALL_BYTES, WINDOW_BYTES, allocate, reserve

SIZE = 2 * WINDOW_BYTES + 5


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


def answering(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> list[tuple[int, int]]:
    """Have the system call fail with each of these, 0 for success; return what it is asked."""
    asked: list[tuple[int, int]] = []
    answers = iter(numbers)

    def call(descriptor: int, mode: int, start: int, size_bytes: int) -> int:
        asked.append((start, size_bytes))
        number = next(answers)
        ctypes.set_errno(number)
        return -1 if number else 0

    monkeypatch.setattr(space, "_system_call", lambda: call)
    monkeypatch.setattr(space, "_is_in_memory", lambda descriptor: False)
    return asked


def test_allocate_when_the_system_can_then_the_file_has_its_size(descriptor: int) -> None:
    reserved = allocate(descriptor, SIZE)
    assert os.fstat(descriptor).st_size == SIZE
    if reserved is not None:  # in memory: as it is written
        reserve(reserved, descriptor, WINDOW_BYTES - 1, WINDOW_BYTES + 1, SIZE)
        assert reserved == {0, 1}
        assert os.fstat(descriptor).st_blocks * 512 == 2 * WINDOW_BYTES
    reserve(set(), descriptor, 0, SIZE, SIZE)
    assert os.fstat(descriptor).st_size == SIZE


def test_allocate_when_the_file_is_small_then_left_to_the_write(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not answering(monkeypatch)
    assert allocate(descriptor, SMALL_BYTES) is None


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS])
def test_allocate_when_the_file_system_cannot_then_no_block_is_written(
    descriptor: int, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    asked = answering(monkeypatch, number)
    assert allocate(descriptor, SIZE) is None
    assert asked == [(0, SIZE)]
    status = os.fstat(descriptor)
    assert (status.st_size, status.st_blocks) == (SIZE, 0)


def test_allocate_when_the_system_knows_no_such_call_then_no_block_is_written(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch)
    no_call: Callable[[], None] = lambda: None  # noqa: E731
    monkeypatch.setattr(space, "_system_call", no_call)
    assert allocate(descriptor, SIZE) is None
    assert os.fstat(descriptor).st_size == SIZE


def test_allocate_when_interrupted_then_asked_again(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch, errno.EINTR, 0)
    assert allocate(descriptor, SIZE) is None
    assert asked == [(0, SIZE)] * 2


def test_allocate_when_the_disk_is_full_then_told(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left") as failure:
        allocate(descriptor, SIZE)
    assert failure.value.errno == errno.ENOSPC

"""Standard input into a file, and a FIFO to standard output."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mirrornode.mirror.spool import SPOOL_NAME, outlet, spooled


def feed(descriptor: int, content: bytes) -> threading.Thread:
    """Write into a descriptor from a thread, then close it."""

    def write() -> None:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def write_for_ever(descriptor: int) -> None:
    while True:
        os.write(descriptor, bytes(100_000))


@pytest.mark.parametrize("size_bytes", [0, 1, 3_000_000])
def test_spool_when_pipe_then_a_file_with_all_of_it_until_the_end(
    tmp_path: Path, size_bytes: int
) -> None:
    content = os.urandom(size_bytes)
    source, target = os.pipe()
    writer = feed(target, content)
    with spooled(tmp_path / "home", source) as path:
        assert path.read_bytes() == content
        assert path.parent == tmp_path / "home" / SPOOL_NAME
    writer.join()
    os.close(source)
    assert list(path.parent.iterdir()) == []


def test_spool_when_file_then_the_same(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"content")
    with (tmp_path / "x").open("rb") as stream, spooled(tmp_path, stream.fileno()) as path:
        assert path.read_bytes() == b"content"


def test_spool_when_others_are_there_then_only_those_nobody_holds_are_removed(
    tmp_path: Path,
) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    with spooled(tmp_path, null) as held:
        left = held.with_name("left-by-a-kill.car")
        left.write_bytes(b"old")
        with spooled(tmp_path, null) as second:
            assert sorted(held.parent.iterdir()) == sorted([held, second])
    os.close(null)


def test_outlet_when_written_then_all_arrives_in_order(tmp_path: Path) -> None:
    content = os.urandom(5_000_000)
    with (tmp_path / "out").open("wb") as stream:
        with outlet(stream.fileno()) as opened:
            feed(os.open(opened.path, os.O_WRONLY), content).join()
        assert (opened.sent_bytes, opened.failure) == (len(content), None)
    assert (tmp_path / "out").read_bytes() == content
    assert not opened.path.exists()


def test_outlet_when_nobody_writes_then_it_ends(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as stream, outlet(stream.fileno()) as opened:
        pass
    assert opened.sent_bytes == 0


def test_outlet_when_its_reader_leaves_then_the_writer_is_told(tmp_path: Path) -> None:
    source, target = os.pipe()
    os.close(source)
    with outlet(target) as opened:
        fifo = os.open(opened.path, os.O_WRONLY)
        with pytest.raises(BrokenPipeError):
            write_for_ever(fifo)
        os.close(fifo)
    os.close(target)
    assert isinstance(opened.failure, BrokenPipeError)

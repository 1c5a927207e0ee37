"""Fixtures that several folders of tests use."""

from __future__ import annotations

import gc
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.nodes import Nodes, nodes_in

MANY_TESTS = 1000

# A shell that runs us in the background lets us ignore it, and whatever we start inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave many test modules out of garbage collection: each full one would go through them."""
    if len(session.items) >= MANY_TESTS:
        gc.collect()
        gc.freeze()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """A starter of real nodes; all are ended after the test."""
    with nodes_in(tmp_path) as running:
        yield running


@pytest.fixture
def make_file(tmp_path: Path) -> Callable[[str, int], Path]:
    """Writes a file of pseudo-random bytes, the same for the same name and size."""

    def write(name: str, size_bytes: int) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(f"{name}-{size_bytes}").randbytes(size_bytes))
        return path

    return write

"""A CAR from standard input or to standard output, while the work is done by another process.

What comes in is put into a file of the home first, because an import reads it twice. What goes out
comes through a FIFO. Both are gone at the end; a spool file that a killed process left is removed
by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from mirrornode.errors import PathRefused
from mirrornode.store.home import make_home
from mirrornode.transfer.outputs import write_error

SPOOL_NAME = "spool"
PIECE_BYTES = 1 << 20
LOOK_S = 0.1


@contextlib.contextmanager
def spooled(home: Path, descriptor: int) -> Iterator[Path]:
    """Yield a file with all that can be read from `descriptor`; it is removed afterwards.

    Raises:
        DiskFull: No room for it.
        PathRefused: It cannot be read or written.
    """
    make_home(home)
    folder = home / SPOOL_NAME
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        _remove_leftovers(folder)
        spool, path = _make_spool(folder)
    except OSError as exc:
        raise PathRefused(folder, "write", exc.strerror or str(exc)) from exc
    size = 0
    try:
        try:
            while count := move_bytes(descriptor, spool):
                size += count
        except OSError as exc:
            raise write_error(exc, path, size) from exc
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(spool)


class Outlet:
    """A FIFO whose bytes are passed on to a descriptor by a thread.

    Attributes:
        path: Where the writer finds it.
        sent_bytes: How many were passed on.
        failure: Why passing on ended early.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.sent_bytes = 0
        self.failure: OSError | None = None
        self._target = descriptor
        self._is_ended = threading.Event()
        self._fifo = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="outlet", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Pass on what is left; the writer has closed, or there is none."""
        self._is_ended.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not select.select([self._fifo], [], [], LOOK_S)[0]:
                if self._is_ended.is_set():
                    return
            # From here on there is or was a writer; also to a full pipe this thread waits.
            os.set_blocking(self._fifo, True)
            while True:
                count = move_bytes(self._fifo, self._target)
                self.sent_bytes += count
                # Nothing to read is the end, but on some systems so it looks before the writer is.
                if not count and (self.sent_bytes or self._is_ended.wait(LOOK_S)):
                    return
        except OSError as exc:
            self.failure = exc
        finally:
            os.close(self._fifo)  # tells a writer that nobody reads any more


@contextlib.contextmanager
def outlet(descriptor: int) -> Iterator[Outlet]:
    """Yield a FIFO that leads to `descriptor`."""
    with tempfile.TemporaryDirectory(prefix="mirrornode-") as folder:
        path = Path(folder) / "export.car"
        os.mkfifo(path, 0o600)
        opened = Outlet(path, descriptor)
        try:
            yield opened
        finally:
            opened.end()


def move_bytes(source: int, target: int) -> int:
    """Move some bytes from one descriptor to another and return how many; 0 at the end.

    Within the kernel where one is a pipe and the system can.
    """
    if hasattr(os, "splice"):  # not on macOS
        try:
            return os.splice(source, target, PIECE_BYTES)
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise
    view = memoryview(os.read(source, PIECE_BYTES))
    size = len(view)
    while view:
        view = view[os.write(target, view) :]
    return size


def _make_spool(folder: Path) -> tuple[int, Path]:
    """Return a new file, locked, and its path."""
    while True:
        spool, name = tempfile.mkstemp(dir=folder, suffix=".car")
        fcntl.flock(spool, fcntl.LOCK_EX)
        if os.path.exists(name):
            return spool, Path(name)
        os.close(spool)  # another process took it for a leftover before it was locked


def _remove_leftovers(folder: Path) -> None:
    """Remove the spool files that nobody holds any more."""
    for path in folder.glob("*.car"):
        with contextlib.suppress(OSError), path.open("rb") as left:
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()

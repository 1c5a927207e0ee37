"""Blocks that already lie on this disk in some other file: used before the network is asked.

They are read like those of any source and verified the same way, so a file that was altered
behind our back costs time, never a wrong byte.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mirrornode.errors import SourceGone, SourceRefused, StoreError
from mirrornode.store.slices import open_slice

if TYPE_CHECKING:
    from mirrornode.sources.ports import FileOfTransfer
    from mirrornode.store.records import FileSlice

SOURCE_ID = "local:disk"
LANES = 2  # one for each core that can hash; more would only seek


class LocalSource:
    """Slices of referenced files, by leaf multihash."""

    def __init__(self, slices: Mapping[bytes, FileSlice]) -> None:
        self.source_id = SOURCE_ID
        self.max_lanes = LANES
        self.max_batch = 0
        self.slices = slices

    def open_lane(self) -> LocalLane:
        """Return a lane with a file descriptor of its own."""
        return LocalLane(self)


class LocalLane:
    """Reads leaves in place; keeps the last file open."""

    def __init__(self, source: LocalSource) -> None:
        self._slices = source.slices
        self._file: FileOfTransfer | None = None
        self._next = 0
        self._skip_bytes = 0
        self._open: tuple[object, int] | None = None
        self._lock = threading.Lock()  # `abort` must not close a file under its reader

    @property
    def received_bytes(self) -> int:
        """See `Lane.received_bytes`; a disk brings whole leaves."""
        return 0

    def begin(self, file: FileOfTransfer, first: int, stop: int, skip_bytes: int = 0) -> None:
        """Note the run; `stop` is only advice here."""
        self._file, self._next, self._skip_bytes = file, first, skip_bytes

    def read_leaf(self, view: memoryview) -> None:
        """Fill `view` from the file that holds the leaf."""
        assert self._file is not None
        stored = self._slices.get(self._file.map.multihashes[self._next])
        self._next += 1
        skip_bytes, self._skip_bytes = self._skip_bytes, 0
        if stored is None or stored.length != skip_bytes + len(view):
            raise _lacking("the block is not here, or has another length")
        with self._lock:
            self._read(stored, view, skip_bytes)

    def end(self) -> None:
        """Keep the file open for the next run."""

    def abort(self) -> None:
        """Close the file; waits for a read that is going on."""
        with self._lock:
            self._close()

    def _read(self, stored: FileSlice, view: memoryview, skip_bytes: int) -> None:
        start = stored.offset + skip_bytes
        descriptor = self._descriptor(stored)
        filled = 0
        while filled < len(view):
            try:
                count = os.preadv(descriptor, [view[filled:]], start + filled)
            except OSError as exc:
                raise SourceGone(str(exc), source_id=SOURCE_ID) from exc
            if not count:
                raise _lacking(f"{stored.path} has shrunk")
            filled += count

    def _close(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            os.close(opened[1])

    def _descriptor(self, stored: FileSlice) -> int:
        if self._open is not None and self._open[0] == stored.path:
            return self._open[1]
        self._close()
        try:
            descriptor = open_slice(stored)
        except StoreError as exc:
            raise _lacking(str(exc)) from exc
        self._open = (stored.path, descriptor)
        return descriptor


def _lacking(reason: str) -> SourceRefused:
    """Return what a server would say of bytes that are gone: only these, not the source, fail."""
    return SourceRefused(reason, source_id=SOURCE_ID, status=410)

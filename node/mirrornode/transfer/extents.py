"""Which bytes of a file were ever written, as the file system knows it: its data and its holes.

Space that was only reserved counts as a hole. A file system without such knowledge calls all of a
file data; nothing here is proof of what the bytes are.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirrornode.content.walk import FileMap


def data_runs(descriptor: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield the byte runs `[start, stop)` of the first `size_bytes` that hold data."""
    position = 0
    while position < size_bytes:
        try:
            data = os.lseek(descriptor, position, os.SEEK_DATA)
            hole = os.lseek(descriptor, data, os.SEEK_HOLE)
        except OSError:
            return  # ENXIO: no data beyond this point
        if data >= size_bytes:
            return
        yield data, min(hole, size_bytes)
        position = hole


def holes(descriptor: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield the byte runs `[start, stop)` of the first `size_bytes` that nobody has written."""
    position = 0
    for start, stop in data_runs(descriptor, size_bytes):
        if position < start:
            yield position, start
        position = stop
    if position < size_bytes:
        yield position, size_bytes


def leaves_between(file_map: FileMap, start: int, stop: int) -> range:
    """Return the leaves of which at least one byte lies in `[start, stop)`."""
    first = bisect_right(file_map.starts, start) - 1
    if first < 0 or file_map.starts[first] + file_map.lengths[first] <= start:
        first += 1  # bytes between two leaves belong to none
    return range(first, max(first, bisect_left(file_map.starts, stop)))

"""Buffers for bulk bytes, on page boundaries.

Where a buffer lies decides how fast the kernel copies into it: on AMD processors with fast short
`rep movsb`, a destination 1 to 31 bytes past a page boundary is four times slower (2.4 against
9.7 GB/s from the page cache), and a large `bytearray` lies exactly 16 bytes past one. See
docs/decisions/0006.
"""

from __future__ import annotations

import mmap
from typing import Final

ALIGN_FROM_BYTES: Final = 64 * 1024  # mapping memory costs more than a small copy gains


def page_aligned(size_bytes: int) -> memoryview:
    """Return a writable buffer of `size_bytes` zero bytes; a large one starts a page."""
    if size_bytes < ALIGN_FROM_BYTES:
        return memoryview(bytearray(size_bytes))
    # Anonymous memory; given back when the last view of it is gone.
    return memoryview(mmap.mmap(-1, size_bytes))

"""Sending runs of open files through aiohttp responses, without a copy where the kernel can.

All goes out by sendfile. What is not in memory is read by a thread first, and thrown away: were
the event loop to wait for a disk, every other connection would wait with it. Never mmap: a file
that is truncated under it would kill the process. What is sent, and whether it still is what it
was, is the caller's business.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from mirrornode.buffers import page_aligned

if TYPE_CHECKING:
    from aiohttp import web

SENDFILE_BYTES = 8 << 20  # between two looks whether the file is unchanged
COLD_BYTES = 2 << 20  # read from disk before it is sent
READ_BYTES = 128 * 1024  # at once: stays in the processor's cache
PROBE_BYTES = 256 * 1024  # between two looks whether it is in memory; the kernel reads ahead so far
STALL_S = 600.0  # a client that takes none of a piece for so long is gone

# Linux 4.14: look what is cached without blocking, so that only cold pages cost a thread hop.
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


async def send_run(
    request: web.Request,
    descriptor: int,
    start: int,
    stop: int,
    check: Callable[[], None],
    note_sent: Callable[[int], None] | None = None,
) -> int:
    """Send `[start, stop)` of an open file as a part of the request's answer; returns its end.

    Args:
        request: Its answer is prepared, with a Content-Length, not compressed.
        descriptor: Read at given offsets only; its position is of no meaning afterwards.
        check: Called before each piece; what it raises ends the sending.
        note_sent: Told the bytes of each piece that has gone.

    Returns:
        `stop`, or the end of the file when that comes first.

    Raises:
        ConnectionResetError: The client left, or takes nothing any more.
    """
    loop = asyncio.get_running_loop()
    with io.FileIO(descriptor, "rb", closefd=False) as file:
        while start < stop:
            check()
            end = _end_in_memory(descriptor, start, min(stop, start + SENDFILE_BYTES))
            if end == start:
                cold_stop = min(stop, start + COLD_BYTES)
                end = await asyncio.to_thread(_read, descriptor, start, cold_stop)
            if end == start:
                break
            if (transport := request.transport) is None:
                raise ConnectionResetError("the client left")
            try:
                async with asyncio.timeout(STALL_S):
                    count = await loop.sendfile(transport, file, start, end - start)
            except TimeoutError as exc:
                raise ConnectionResetError("the client takes nothing any more") from exc
            if not count:
                break
            if note_sent is not None:
                note_sent(count)
            start += count
    return start


def _read(descriptor: int, start: int, stop: int) -> int:
    """Make a part of a file be in memory; returns its end, which may be the file's."""
    buffer = page_aligned(READ_BYTES)
    while start < stop and (count := os.preadv(descriptor, [buffer], start)):
        start += count
    return min(start, stop)


def _end_in_memory(descriptor: int, start: int, stop: int) -> int:
    """Return up to where reading would not wait for a disk; `start` where that is not known."""
    if not _NOWAIT:
        return start
    probe = bytearray(1)
    offset = start
    try:
        while offset < stop and os.preadv(descriptor, [probe], offset, _NOWAIT):
            offset += PROBE_BYTES
    except BlockingIOError:
        pass  # not in memory from here on
    except OSError as exc:
        if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        return start
    return min(offset, stop)

"""The content route of aiohttp applications; what it answers is decided in `answers`.

Files are read in place, in pieces of 1 MiB: mmap would kill the process when a file is truncated
under it.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

from aiohttp import web

from mirrornode.buffers import page_aligned
from mirrornode.gateway.answers import PIECE_BYTES, Answer, ContentAnswers

if TYPE_CHECKING:
    from mirrornode.mirror.shelf import OpenFile, Shelf

# Linux 4.14: read what is cached without blocking, so that only cold pages cost a thread hop.
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


class ContentRoutes:
    """Answers content requests out of one shelf; the caller decides who may ask."""

    def __init__(self, shelf: Shelf) -> None:
        self._answers = ContentAnswers(shelf)

    def add_to(self, app: web.Application) -> None:
        """Register the route on an application."""
        app.router.add_get("/ipfs/{cid}", self.get, allow_head=True)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        answer = await asyncio.to_thread(
            self._answers.get,
            request.match_info["cid"],
            request.query.get("format", ""),
            request.headers,
        )
        if answer.file is None:
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        try:
            return await self._send(request, answer, answer.file)
        finally:
            os.close(answer.file.descriptor)

    async def _send(
        self, request: web.Request, answer: Answer, opened: OpenFile
    ) -> web.StreamResponse:
        headers = {**answer.headers, "Content-Length": str(answer.size_bytes)}
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        start, stop = answer.run if request.method != "HEAD" else (0, 0)
        while start < stop:
            self._answers.check_unchanged(opened)
            piece = await _read_piece(opened.descriptor, start, min(PIECE_BYTES, stop - start))
            if not piece:
                self._answers.withdraw(opened)
                raise ConnectionResetError("the file shrank while it was sent")
            await response.write(piece)
            start += len(piece)
        await response.write_eof()
        return response


async def _read_piece(descriptor: int, offset: int, count: int) -> memoryview:
    """Return up to `count` bytes at `offset`, from a thread only when they are not in memory.

    Each piece has a buffer of its own: the transport may keep it until it is sent.
    """
    buffer = page_aligned(count)
    if _NOWAIT:
        try:
            return buffer[: os.preadv(descriptor, [buffer], offset, _NOWAIT)]
        except BlockingIOError:
            pass  # not in memory
        except OSError as exc:
            if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
    return buffer[: await asyncio.to_thread(os.preadv, descriptor, [buffer], offset)]

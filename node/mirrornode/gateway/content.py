"""The content route of aiohttp applications; what it answers is decided in `answers`.

Files are read in place, in pieces of 1 MiB: mmap would kill the process when a file is truncated
under it.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
from typing import TYPE_CHECKING

from aiohttp import web

from mirrornode.buffers import page_aligned
from mirrornode.gateway.answers import PIECE_BYTES, Answer, ContentAnswers
from mirrornode.transfer.limit import SMALL_BYTES

if TYPE_CHECKING:
    from mirrornode.mirror.shelf import OpenFile, Shelf
    from mirrornode.transfer.pacing import Uploads

# Linux 4.14: read what is cached without blocking, so that only cold pages cost a thread hop.
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


class ContentRoutes:
    """Answers content requests out of one shelf; the caller decides who may ask.

    What goes to other machines counts for the upload limit, fair between their addresses.
    """

    def __init__(self, shelf: Shelf, uploads: Uploads) -> None:
        self._answers = ContentAnswers(shelf)
        self._uploads = uploads

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
        host = _paced_host(request) if self._uploads.piece_bytes else None
        if answer.file is None and host is None:
            if request.method != "HEAD":
                self._uploads.note_sent(answer.size_bytes)
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        try:
            return await self._send(request, answer, host)
        finally:
            if answer.file is not None:
                os.close(answer.file.descriptor)

    async def _send(
        self, request: web.Request, answer: Answer, host: str | None
    ) -> web.StreamResponse:
        """Send piece by piece; `host` is whom the upload limit counts it for, None for nobody."""
        headers = {**answer.headers}
        if answer.status != 304:
            headers["Content-Length"] = str(answer.size_bytes)
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        sent, size = 0, answer.size_bytes if request.method != "HEAD" else 0
        most = PIECE_BYTES if host is None else min(PIECE_BYTES, self._uploads.piece_bytes)
        while sent < size:
            count = min(most, size - sent)
            if host is not None:
                await self._uploads.turn(host, count, is_small=size <= SMALL_BYTES)
            piece = await self._piece(answer, sent, count)
            await response.write(piece)
            self._uploads.note_sent(len(piece))
            sent += len(piece)
        await response.write_eof()
        return response

    async def _piece(self, answer: Answer, offset: int, count: int) -> memoryview:
        """Return up to `count` bytes of an answer's content from `offset` on."""
        opened: OpenFile | None = answer.file
        if opened is None:
            return memoryview(answer.body)[offset : offset + count]
        self._answers.check_unchanged(opened)
        piece = await _read_piece(opened.descriptor, answer.run[0] + offset, count)
        if not piece:
            self._answers.withdraw(opened)
            raise ConnectionResetError("the file shrank while it was sent")
        return piece


def _paced_host(request: web.Request) -> str | None:
    """Return the address of a client on another machine, None on this one."""
    host = request.remote or ""
    try:
        return None if ipaddress.ip_address(host).is_loopback else host
    except ValueError:
        return None  # a Unix socket


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

"""The content route of aiohttp applications; `answers` decides, `sending` sends."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import os
from typing import TYPE_CHECKING

from aiohttp import web

from mirrornode.gateway.answers import Answer, ContentAnswers
from mirrornode.gateway.sending import send_run
from mirrornode.transfer.limit import SMALL_BYTES

if TYPE_CHECKING:
    from mirrornode.mirror.shelf import OpenFile, Shelf
    from mirrornode.transfer.pacing import Uploads


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
        start, stop = answer.run if answer.file is not None else (0, len(answer.body))
        stop = stop if request.method != "HEAD" else start
        is_small = stop - start <= SMALL_BYTES
        step = stop - start if host is None else self._uploads.piece_bytes
        while start < stop:
            piece_stop = min(stop, start + step)
            if host is not None:
                await self._uploads.turn(host, piece_stop - start, is_small=is_small)
            await self._send_piece(request, response, answer, start, piece_stop)
            self._uploads.note_sent(piece_stop - start)
            start = piece_stop
        await response.write_eof()
        return response

    async def _send_piece(
        self,
        request: web.Request,
        response: web.StreamResponse,
        answer: Answer,
        start: int,
        stop: int,
    ) -> None:
        opened: OpenFile | None = answer.file
        if opened is None:
            await response.write(memoryview(answer.body)[start:stop])
            return
        check = functools.partial(self._answers.check_unchanged, opened)
        if await send_run(request, opened.descriptor, start, stop, check) < stop:
            self._answers.withdraw(opened)
            raise ConnectionResetError("the file shrank while it was sent")


def _paced_host(request: web.Request) -> str | None:
    """Return the address of a client on another machine, None on this one."""
    host = request.remote or ""
    try:
        return None if ipaddress.ip_address(host).is_loopback else host
    except ValueError:
        return None  # a Unix socket

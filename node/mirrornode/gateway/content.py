"""`GET|HEAD /ipfs/{cid}`: one block by `?format=raw`, or a run of a file's bytes by `Range`.

The two requests that peers and gateways have in common. Files are read in place, in pieces of
1 MiB: under TLS a whole-file response in small pieces would cost five times the CPU, and mmap
would kill the process when a file is truncated under it.
Spec: trustless gateway, "Raw"; path gateway, "Range"; RFC 9110.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

from aiohttp import web

from mirrornode.content.cid import Cid
from mirrornode.errors import ContentError, FileChanged
from mirrornode.store.stamps import CHANGED
from mirrornode.wire.ranges import RangeNotSatisfiable, contains, content_range, parse_range

if TYPE_CHECKING:
    from mirrornode.mirror.shelf import OpenFile, Shelf

PIECE_BYTES = 1 << 20
MAX_CID_CHARS = 512
CACHE_FOREVER = "public, max-age=31536000, immutable"
RAW_TYPE = "application/vnd.ipld.raw"

# Linux 4.14: read what is cached without blocking, so that only cold pages cost a thread hop.
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


class ContentRoutes:
    """Answers content requests out of one shelf; the caller decides who may ask."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def add_to(self, app: web.Application) -> None:
        """Register the route on an application."""
        app.router.add_get("/ipfs/{cid}", self.get, allow_head=True)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; 404 comes fast, from the catalog's index."""
        text = request.match_info["cid"]
        if len(text) > MAX_CID_CHARS:
            raise web.HTTPBadRequest(text="the CID is too long")
        try:
            cid = Cid.parse(text)
        except ContentError as exc:
            raise web.HTTPBadRequest(text=f"not a CID: {exc}") from exc
        wanted = request.query.get("format") or _accepted(request)
        if wanted == "raw":
            return await self._block(request, cid)
        if wanted:
            raise web.HTTPNotAcceptable(text=f"format {wanted} is not served here, raw is")
        return await self._file(request, cid)

    async def _block(self, request: web.Request, cid: Cid) -> web.Response:
        block = await asyncio.to_thread(self._shelf.read_block, cid)
        if block is None:
            raise web.HTTPNotFound(text=f"block {cid} is not here")
        etag = f'"{cid}.raw"'
        headers = {
            **_common_headers(cid, etag),
            "Content-Type": RAW_TYPE,
            "Content-Disposition": f'attachment; filename="{cid}.bin"',
            "X-Ipfs-Roots": str(cid),
        }
        if _is_known(request, etag):
            return web.Response(status=304, headers=headers)
        return web.Response(body=block, headers=headers)

    async def _file(self, request: web.Request, cid: Cid) -> web.StreamResponse:
        opened = self._shelf.open_file(cid)
        if opened is None:
            block = await asyncio.to_thread(self._shelf.read_block, cid)
            if block is None:
                raise web.HTTPNotFound(text=f"{cid} is not here")
            raise web.HTTPNotAcceptable(
                text=f"{cid} is not a file; ask for its block with ?format=raw"
            )
        try:
            return await self._send(request, cid, opened)
        finally:
            os.close(opened.descriptor)

    async def _send(self, request: web.Request, cid: Cid, opened: OpenFile) -> web.StreamResponse:
        etag = f'"{cid}"'
        headers = {
            **_common_headers(cid, etag),
            "Content-Type": "application/octet-stream",
            "Accept-Ranges": "bytes",
        }
        size = opened.size_bytes
        if _is_known(request, etag):
            return web.Response(status=304, headers=headers)
        try:
            run = parse_range(request.headers.get("Range"), size)
        except RangeNotSatisfiable:
            raise web.HTTPRequestRangeNotSatisfiable(
                headers={"Content-Range": f"bytes */{size}"}
            ) from None
        start, stop = run or (0, size)
        if opened.runs is not None and not contains(opened.runs, start, stop):
            raise web.HTTPNotFound(text="these bytes are not here yet")
        if run is not None:
            headers["Content-Range"] = content_range(start, stop, size)
        headers["Content-Length"] = str(stop - start)
        response = web.StreamResponse(status=200 if run is None else 206, headers=headers)
        await response.prepare(request)
        if request.method != "HEAD":
            await self._stream(response, opened, start, stop)
        await response.write_eof()
        return response

    async def _stream(
        self, response: web.StreamResponse, opened: OpenFile, start: int, stop: int
    ) -> None:
        while start < stop:
            if not opened.is_unchanged():
                self._shelf.withdraw(FileChanged(opened.path, CHANGED))
                # The head has promised more: only cutting the connection tells the client.
                raise ConnectionResetError("the file changed while it was sent")
            piece = await _read_piece(opened.descriptor, start, min(PIECE_BYTES, stop - start))
            if not piece:
                self._shelf.withdraw(FileChanged(opened.path, CHANGED))
                raise ConnectionResetError("the file shrank while it was sent")
            await response.write(piece)
            start += len(piece)


async def _read_piece(descriptor: int, offset: int, count: int) -> memoryview:
    """Return up to `count` bytes at `offset`, from a thread only when they are not in memory.

    Each piece has a buffer of its own: the transport may keep it until it is sent.
    """
    buffer = memoryview(bytearray(count))
    if _NOWAIT:
        try:
            return buffer[: os.preadv(descriptor, [buffer], offset, _NOWAIT)]
        except BlockingIOError:
            pass  # not in memory
        except OSError as exc:
            if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
    return buffer[: await asyncio.to_thread(os.preadv, descriptor, [buffer], offset)]


def _common_headers(cid: Cid, etag: str) -> dict[str, str]:
    return {
        "ETag": etag,
        "Cache-Control": CACHE_FOREVER,
        "X-Ipfs-Path": f"/ipfs/{cid}",
        "X-Content-Type-Options": "nosniff",
    }


def _accepted(request: web.Request) -> str:
    """Return "raw" when the `Accept` header asks for a block and nothing else is named."""
    return "raw" if RAW_TYPE in request.headers.get("Accept", "") else ""


def _is_known(request: web.Request, etag: str) -> bool:
    """Tell whether `If-None-Match` names what we would send."""
    given = request.headers.get("If-None-Match")
    if given is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
    return "*" in tags or etag in tags

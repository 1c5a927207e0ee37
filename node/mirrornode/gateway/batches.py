"""`POST /mirrornode/blocks`: many small blocks in one answer; see `wire.batch`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiohttp import web

from mirrornode.errors import RemoteProtocolError
from mirrornode.wire.batch import PATH, SECTIONS_TYPE, decode_request, section_head

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.mirror.shelf import Shelf

PIECE_BYTES = 1 << 20  # read in one go from a thread, then sent


class BatchRoute:
    """Answers batch requests out of one shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def add_to(self, app: web.Application) -> None:
        """Register the route on an application."""
        app.router.add_post(PATH, self.post)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; ends early at the first block that is not here."""
        try:
            cids = decode_request(await request.read())
        except RemoteProtocolError as exc:
            raise web.HTTPBadRequest(text=str(exc)) from exc
        response = web.StreamResponse(headers={"Content-Type": SECTIONS_TYPE})
        await response.prepare(request)
        done = 0
        while done < len(cids):
            pieces, count = await asyncio.to_thread(self._read, cids[done:])
            if pieces:
                await response.write(b"".join(pieces))
            done += count
            if not count:
                break
        await response.write_eof()
        return response

    def _read(self, cids: Sequence[Cid]) -> tuple[list[bytes], int]:
        """Return sections for the first of `cids`, and for how many of them."""
        pieces: list[bytes] = []
        size = 0
        for count, cid in enumerate(cids):
            block = self._shelf.read_block(cid)
            if block is None:
                return pieces, count
            pieces += (section_head(cid, len(block)), block)
            size += len(block)
            if size >= PIECE_BYTES:
                return pieces, count + 1
        return pieces, len(cids)

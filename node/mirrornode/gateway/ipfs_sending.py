"""Sending answers of the gateway through aiohttp: bodies, files by sendfile, and streams.

A stream's pieces are made in threads, one batch at a time and only when the one before has left:
memory is bounded by a batch, whatever the client's speed. Streams take a slot each; who comes when
none is free is told to come back. All that goes to other machines counts for the upload limit,
fair between their addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web

from mirrornode.errors import MirrorError
from mirrornode.gateway.ipfs_reply import FilePart, Piece, Stream
from mirrornode.gateway.ipfs_request import Refused
from mirrornode.gateway.sending import STALL_S, send_run
from mirrornode.transfer.limit import SMALL_BYTES
from mirrornode.transfer.pacing import GATEWAY

if TYPE_CHECKING:
    from mirrornode.gateway.answers import Answer, ContentAnswers
    from mirrornode.mirror.shelf import OpenFile
    from mirrornode.transfer.pacing import Uploads

MAX_STREAMS = 8  # CARs, tars, folder pages and files out of blocks, at one time
RETRY_AFTER_S = 2
BEGIN_TIMEOUT_S = 60.0  # until the first bytes; the length of a large tar takes a while
BATCH_BYTES = 512 * 1024  # small pieces are joined up to this

T = TypeVar("T")


class Sender:
    """Sends answers out of one shelf; belongs to the event loop."""

    def __init__(
        self, answers: ContentAnswers, uploads: Uploads, *, max_streams: int = MAX_STREAMS
    ) -> None:
        self._answers = answers
        self._uploads = uploads
        self._free_slots = max_streams

    async def send(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        """Send an answer and close its file."""
        host = _paced_host(request) if self._uploads.piece_bytes else None
        if answer.file is None and host is None:
            if request.method != "HEAD":
                self._note_sent(answer.size_bytes)
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        try:
            headers = {**answer.headers}
            if answer.status != 304:
                headers["Content-Length"] = str(answer.size_bytes)
            response = web.StreamResponse(status=answer.status, headers=headers)
            await response.prepare(request)
            if request.method != "HEAD":
                whole: Piece = answer.body
                if answer.file is not None:
                    whole = FilePart(answer.file, *answer.run)
                await self._send_piece(request, response, whole, host)
            await response.write_eof()
            return response
        finally:
            if answer.file is not None:
                os.close(answer.file.descriptor)

    async def stream(self, request: web.Request, stream: Stream) -> web.StreamResponse:
        """Send a stream.

        Raises:
            Refused: 429, no slot is free.
            MirrorError, TimeoutError: It cannot be begun; nothing was sent.
            ConnectionResetError: It broke in the middle; the connection is cut.
        """
        if request.method == "HEAD":
            return await self._head(request, stream)
        if not self._free_slots:
            reason = "this node sends as much as it can; come back in a moment"
            raise Refused(429, reason, {"Retry-After": str(RETRY_AFTER_S)})
        self._free_slots -= 1
        try:
            return await self._stream(request, stream)
        finally:
            self._free_slots += 1

    async def _head(self, request: web.Request, stream: Stream) -> web.StreamResponse:
        response = web.StreamResponse(status=stream.status, headers=stream.headers)
        if stream.size_bytes is not None:
            response.headers["Content-Length"] = str(stream.size_bytes)
        await response.prepare(request)
        await response.write_eof()
        return response

    async def _stream(self, request: web.Request, stream: Stream) -> web.StreamResponse:
        async with asyncio.timeout(BEGIN_TIMEOUT_S):
            size_bytes, pieces = await in_thread_or_drop(stream.open, lambda _: None)
            batches = _batches(pieces)
            # Before the head: what is missing from the start has a status of its own.
            piece = await _next_batch(batches)
        response = web.StreamResponse(status=stream.status, headers=stream.headers)
        if size_bytes is not None:
            response.headers["Content-Length"] = str(size_bytes)
        host = _paced_host(request) if self._uploads.piece_bytes else None
        try:
            await response.prepare(request)
            while piece is not None:
                sent, piece = piece, None
                try:
                    await self._send_piece(request, response, sent, host)
                finally:
                    _drop(sent)
                piece = await _next_batch(batches)
        except MirrorError as exc:
            if request.transport is not None:
                request.transport.abort()  # an end without a last chunk: the client must notice
            raise ConnectionResetError(f"the content broke off: {exc}") from exc
        finally:
            _drop(piece)
        await response.write_eof()
        return response

    async def _send_piece(
        self, request: web.Request, response: web.StreamResponse, piece: Piece, host: str | None
    ) -> None:
        start, stop = (piece.start, piece.stop) if isinstance(piece, FilePart) else (0, len(piece))
        is_small = stop - start <= SMALL_BYTES
        step = stop - start if host is None else self._uploads.piece_bytes
        while start < stop:
            part_stop = min(stop, start + step)
            if host is not None:
                await self._uploads.turn(host, part_stop - start, is_small=is_small)
            if isinstance(piece, FilePart):
                await self._send_file(request, piece.file, start, part_stop)
            else:
                await _write(response, memoryview(piece)[start:part_stop])
                self._note_sent(part_stop - start)
            start = part_stop

    async def _send_file(
        self, request: web.Request, opened: OpenFile, start: int, stop: int
    ) -> None:
        check = functools.partial(self._answers.check_unchanged, opened)
        end = await send_run(request, opened.descriptor, start, stop, check, self._note_sent)
        if end < stop:
            self._answers.withdraw(opened)
            raise ConnectionResetError("the file shrank while it was sent")

    def _note_sent(self, size_bytes: int) -> None:
        self._uploads.note_sent(size_bytes, GATEWAY)


async def _write(response: web.StreamResponse, data: memoryview) -> None:
    try:
        async with asyncio.timeout(STALL_S):
            await response.write(data)
    except TimeoutError as exc:
        raise ConnectionResetError("the client takes nothing any more") from exc


def _batches(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Join small pieces, so that a folder of small blocks does not cost a thread hop for each."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        if isinstance(piece, FilePart) or len(piece) >= BATCH_BYTES:
            if held:
                yield b"".join(held)
                held, size = [], 0
            yield piece
            continue
        held.append(piece)
        size += len(piece)
        if size >= BATCH_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


async def _next_batch(batches: Iterator[Piece]) -> Piece | None:
    return await in_thread_or_drop(lambda: next(batches, None), _drop)


async def in_thread_or_drop(work: Callable[[], T], drop: Callable[[T], None]) -> T:
    """Run blocking work in a thread; when the caller is cancelled, wait for it and drop the result.

    The file that a thread has just opened for a client that left would stay open; and clients that
    ask and leave must not leave behind more work than there are slots.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):  # of work that nobody waits for any more
            drop(await task)
        raise


def _drop(piece: Piece | None) -> None:
    if isinstance(piece, FilePart):
        os.close(piece.file.descriptor)


def _paced_host(request: web.Request) -> str | None:
    """Return the address of a client on another machine, None on this one."""
    host = request.remote or ""
    try:
        return None if ipaddress.ip_address(host).is_loopback else host
    except ValueError:
        return None  # a Unix socket

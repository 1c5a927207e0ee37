"""The file face of the Hub endpoint: `HEAD|GET /{repo}/resolve/{revision}/{path}`, and `/raw/`.

Answers 200, 206, 304 or 416 itself, never a redirect: clients have changed their rules for those
three times. A file that is still arriving is sent as it arrives; when its transfer fails in the
middle, the connection is cut, which clients notice by the Content-Length. They would not notice a
wrong range that ends before the file does: such a one waits until the file is proven (decision
0008; `hub_waiting`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from aiohttp import web

from mirrornode.errors import FileChanged, HubNotFound, MirrorError, OriginAway, SourceError
from mirrornode.gateway.hub_errors import ENTRY_NOT_FOUND, refusal
from mirrornode.gateway.hub_headers import (
    CACHE_NEVER,
    MAX_TOLD_BYTES,
    file_headers,
    is_known,
    may_tell_size,
)
from mirrornode.gateway.hub_waiting import can_be_kept, keep, wait_with
from mirrornode.gateway.sending import send_run
from mirrornode.store.stamps import CHANGED, FileStamp
from mirrornode.wire.hub import HubFile, lfs_pointer
from mirrornode.wire.ranges import RangeNotSatisfiable, Run, content_range, parse_range

if TYPE_CHECKING:
    from collections.abc import Callable

    from multidict import CIMultiDict

    from mirrornode.gateway.hub_asked import Asked
    from mirrornode.gateway.hub_ports import Body, HubPorts
    from mirrornode.mirror.hub.named import Named

log = logging.getLogger(__name__)

RETRY_AFTER_S = "1"  # the next request waits for the file by itself
SHUT_ANSWER_S = 1.5


class HubFileFace:
    """Answers requests for files; all the answers of one file carry the same headers."""

    def __init__(self, ports: HubPorts) -> None:
        self._ports = ports

    async def answer(self, asked: Asked) -> web.StreamResponse:
        """Answer one request of kind "resolve" or "raw".

        Raises:
            MirrorError: No answer was begun.
            TimeoutError: Likewise, until the deadline.
        """
        async with asyncio.timeout_at(asked.deadline):
            named, file = await self._find(asked)
        pointer = b""
        if asked.hub.kind == "raw" and file.sha256:
            pointer = lfs_pointer(file.sha256, file.size_bytes)
            file = HubFile(file.path, len(pointer), file.git_oid)
        headers = file_headers(named, file, is_pinned=asked.is_pinned)
        request = asked.request
        if is_known(request.headers.get("If-None-Match"), file.etag):
            return web.Response(status=304, headers=headers)
        if request.method == "HEAD":
            return _head(request, file, headers)
        try:
            run = _run_of(request, file)
        except RangeNotSatisfiable:
            away = refusal(416, "the range lies outside the file")
            away.headers["Content-Range"] = f"bytes */{file.size_bytes}"
            away.headers["X-Repo-Commit"] = named.commit
            return away
        if pointer or not file.size_bytes:
            start, stop = run or (0, file.size_bytes)
            _tell_run(headers, file, run)
            return web.Response(status=206 if run else 200, body=pointer[start:stop],
                                headers=headers)  # fmt: skip
        return await self._send(asked, named, file, headers, run)

    async def _find(self, asked: Asked) -> tuple[Named, HubFile]:
        ports = self._ports
        named = await ports.names.resolve(asked.repo, asked.revision, asked.token)
        await ports.access.check(named, asked.token)
        ports.check_licence(named)
        file = (await ports.names.tree(named, asked.token)).get(asked.hub.path)
        if file is None:
            # With the commit, so that clients remember it and do not ask again.
            raise HubNotFound(
                f"{asked.hub.path} is not in {named.repo} at {asked.revision}",
                status=404,
                code=ENTRY_NOT_FOUND,
                commit=named.commit,
            )
        return named, file

    async def _send(
        self,
        asked: Asked,
        named: Named,
        file: HubFile,
        headers: CIMultiDict[str],
        run: Run | None,
    ) -> web.StreamResponse:
        async with asyncio.timeout_at(asked.deadline):
            opened = await self._ports.files.open(named, file, asked.token)
        async with opened as body:
            if run is not None and body.restarts_ranges and _is_rest(asked.request):
                # What the client holds of it may be wrong. Given all of it, clients start afresh.
                run = None
            if body.restarts_ranges:
                # A cache would give the rest to who must be given all of it.
                headers["Cache-Control"] = CACHE_NEVER
            start, stop = run or (0, file.size_bytes)
            whole = body.complete
            try:
                if whole is None and stop < file.size_bytes:
                    if not await wait_with(asked.request, body.prove(), asked.deadline):
                        return _not_yet(file)
                    end = file.size_bytes
                else:
                    end = await _first_end(body, start, asked)
            except SourceError:
                await self._raise_if_shut(asked)
                raise

            def check() -> None:
                if whole is not None and FileStamp.of(body.descriptor) != body.stamp:
                    raise FileChanged(whole, CHANGED)

            _tell_run(headers, file, run)
            response = web.StreamResponse(status=206 if run else 200, headers=headers)
            response.content_length = stop - start
            await response.prepare(asked.request)
            try:
                await self._send_body(asked.request, body, start, stop, end, check)
            except MirrorError as exc:
                log.warning("hub file cut repo=%s etag=%s reason=%s", named.repo, file.etag, exc)
                raise ConnectionResetError("the file cannot be sent to its end") from exc
            await response.write_eof()
            return response

    async def _send_body(
        self,
        request: web.Request,
        body: Body,
        start: int,
        stop: int,
        end: int,
        check: Callable[[], None],
    ) -> None:
        """Send `[start, stop)`, of which the bytes before `end` are there."""
        while start < stop:
            if end <= start:
                end = await body.wait(start)
            piece_stop = min(end, stop)
            start = await send_run(
                request, body.descriptor, start, piece_stop, check, self._ports.note_sent
            )
            if start < piece_stop:
                raise ConnectionResetError("the file shrank while it was sent")

    async def _raise_if_shut(self, asked: Asked) -> None:
        """Raise the Hub's no if its reason for not sending a file is that the asker may not have
        it: that was noted by then."""
        soon = asyncio.get_running_loop().time() + SHUT_ANSWER_S  # it may have waited for long
        with contextlib.suppress(TimeoutError, OriginAway):
            async with asyncio.timeout_at(max(asked.deadline, soon)):
                await self._find(asked)


def _not_yet(file: HubFile) -> web.Response:
    """Return the answer to a range that cannot be proven yet; clients ask again after a 504."""
    message = (
        f"a part of {file.path} is sent once all of it is here and its hash is right; "
        "it is on its way: ask again, or ask for the whole file"
    )
    return refusal(504, message, headers={"Retry-After": RETRY_AFTER_S})


async def _first_end(body: Body, start: int, asked: Asked) -> int:
    """Wait for the first bytes: until then an error still has a status.

    For a client that cannot be kept waiting the answer is begun without them at the deadline: it
    waits 10 s for the head, and then 10 s more for the first byte.
    """
    if body.complete is not None:
        return body.size_bytes
    if can_be_kept(asked.request):
        return await keep(asked.request, body.wait(start))
    try:
        async with asyncio.timeout_at(asked.deadline):
            return await body.wait(start)
    except TimeoutError:
        return start


def _head(request: web.Request, file: HubFile, headers: CIMultiDict[str]) -> web.Response:
    if may_tell_size(file.size_bytes, request.headers.get("User-Agent", "")):
        headers["Content-Length"] = str(file.size_bytes)
        if file.sha256:
            headers["X-Linked-Size"] = str(file.size_bytes)
    if file.size_bytes > MAX_TOLD_BYTES:
        headers["Cache-Control"] = CACHE_NEVER  # the answer is not the same for every client
    return web.Response(headers=headers)


def _run_of(request: web.Request, file: HubFile) -> Run | None:
    """Return what is asked for, None for all; a range of another version is one of all."""
    condition = request.headers.get("If-Range")
    if condition is not None and condition.strip() != f'"{file.etag}"':
        return None
    return parse_range(request.headers.get("Range"), file.size_bytes)


def _is_rest(request: web.Request) -> bool:
    """Tell whether a range is `N-` with N above 0: who asks so has the start already."""
    value = request.headers.get("Range", "").strip()
    return value.endswith("-") and value != "bytes=0-"


def _tell_run(headers: CIMultiDict[str], file: HubFile, run: Run | None) -> None:
    if file.sha256:
        headers["X-Linked-Size"] = str(file.size_bytes)
    if run is not None:
        headers["Content-Range"] = content_range(*run, file.size_bytes)

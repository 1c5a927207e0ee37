"""The control socket: the command line asks a running node to work for it.

A Unix socket inside the home, so that its file mode is its access control. Requests are
`POST /v1/<verb>` with a JSON object; answers are lines as in `wire.control`. A client that leaves
cancels its verb; what was fetched so far is kept.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from mirrornode.errors import MirrorError, NodeEnding, PathRefused, TargetError
from mirrornode.events import AddProgress, Event, GetProgress, to_line
from mirrornode.gateway.door import VERB, Door
from mirrornode.wire.control import error_line, result_line, socket_path

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 4 << 20
MAX_WAITING_EVENTS = 256
PROGRESS_EVENTS = (AddProgress, GetProgress)
LOOKS = frozenset({"ls", "peers", "status"})  # verbs that an ending node still answers

Emit = Callable[[Event], None]
Verb = Callable[[Mapping[str, Any], Emit], Awaitable[object]]
"""Runs one verb with the request's JSON object; returns a JSON-able result."""


def bind_control(home: Path) -> socket.socket:
    """Return the bound socket; a leftover of a dead daemon is replaced (the home is locked).

    Raises:
        PathRefused: The socket cannot be made.
    """
    path = socket_path(home)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent.lstat().st_uid != os.getuid():
            raise PermissionError(errno.EPERM, f"{path.parent} belongs to someone else")
        path.unlink(missing_ok=True)
        sock.bind(str(path))
        path.chmod(0o600)
    except OSError as exc:
        sock.close()
        raise PathRefused(path, "create", exc.strerror or str(exc)) from exc
    return sock


def make_control(verbs: Mapping[str, Verb], door: Door | None = None) -> web.Application:
    """Return the application of the control socket.

    Args:
        door: Tells when no new work is begun; None for never.
    """
    entrance = door or Door()

    async def run(request: web.Request) -> web.StreamResponse:
        name = request.match_info["verb"]
        verb = verbs.get(name)
        if verb is None:
            raise web.HTTPNotFound(text="unknown verb")
        if name in LOOKS:
            return await answer(verb, request)
        if entrance.is_closed:
            return await answer(_turn_away, request)
        with entrance.inside(VERB):
            return await answer(verb, request)

    async def answer(verb: Verb, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.json()
        except (ValueError, RecursionError) as exc:
            raise web.HTTPBadRequest(text="the request is not JSON") from exc
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        lines: asyncio.Queue[bytes] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def put(event: Event) -> None:
            # A client that reads nothing must not fill our memory; progress it will get again.
            if lines.qsize() < MAX_WAITING_EVENTS or not isinstance(event, PROGRESS_EVENTS):
                lines.put_nowait(to_line(event))

        def emit(event: Event) -> None:
            # Events come from worker threads too.
            loop.call_soon_threadsafe(put, event)

        work = asyncio.create_task(_outcome(verb, body, emit))
        work.add_done_callback(lambda _: loop.call_soon(lines.put_nowait, b""))
        try:
            while line := await lines.get():
                await response.write(line)
            await response.write(work.result())
            await response.write_eof()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        return response

    app = web.Application(client_max_size=MAX_REQUEST_BYTES)
    app.router.add_post("/v1/{verb}", run)
    return app


async def _turn_away(fields: Mapping[str, Any], emit: Emit) -> object:
    raise NodeEnding("the node is ending; run this again once it has ended or was started again")


async def _outcome(verb: Verb, body: object, emit: Emit) -> bytes:
    """Run a verb and return the line that ends its answer."""
    try:
        if not isinstance(body, dict):
            raise TargetError("the request is not a JSON object")
        return result_line(await verb(body, emit))
    except MirrorError as exc:
        return error_line(exc)
    except Exception as exc:
        # A task boundary: the daemon lives on, the client gets one line, the log the traceback.
        log.exception("verb failed")
        return error_line(MirrorError(f"internal error: {exc!r}; the node's log has the details"))

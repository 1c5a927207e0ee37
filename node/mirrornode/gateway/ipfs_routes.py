"""The routes of the IPFS gateway: `/ipfs/…` and `/ipns/…`, read only.

Reads a request, resolves its name, has it answered in a thread, and sends. What lies below a
first part that is no CID may be a file of the Hub's organisation "ipfs" and is passed on.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web

from mirrornode.content.cid import Cid
from mirrornode.errors import ContentError, MirrorError, NoProviders, TargetError
from mirrornode.gateway.answers import Answer, ContentAnswers
from mirrornode.gateway.ipfs_answers import IpfsAnswers, Target, answer_of, refused_for
from mirrornode.gateway.ipfs_headers import CORS_HEADERS, bounded, content_disposition
from mirrornode.gateway.ipfs_reply import Reply, Stream
from mirrornode.gateway.ipfs_request import (
    MAX_SEGMENTS,
    RECORD,
    TYPES,
    IpfsRequest,
    Refused,
    parse_request,
)
from mirrornode.gateway.ipfs_sending import MAX_STREAMS, Sender, in_thread_or_drop
from mirrornode.transfer.pacing import GATEWAY
from mirrornode.wire.hub import parse_hub_path

if TYPE_CHECKING:
    from mirrornode.gateway.ipfs_names import NameResolver, ResolvedName
    from mirrornode.mirror.recording import Recorder
    from mirrornode.mirror.shelf import Shelf
    from mirrornode.transfer.pacing import Uploads

ANSWER_TIMEOUT_S = 30.0  # to decide, and to resolve a name; what is sent then is bound by stalls
MAX_RECORD_BYTES = 10 * 1024  # IPNS: larger records are invalid
COUNTED = frozenset({200, 206, 304, 404})  # other answers do not say whether content is here
MIN_NAME_LETTERS = 40  # keys have 46 and more, domains a dot

R = TypeVar("R", Answer, Stream)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class IpfsRoutes:
    """Answers requests for content out of one shelf; the caller decides who may ask."""

    def __init__(
        self,
        shelf: Shelf,
        uploads: Uploads,
        names: NameResolver | None = None,
        *,
        otherwise: Handler | None = None,
        max_streams: int = MAX_STREAMS,
        recorder: Recorder | None = None,
    ) -> None:
        """Prepare.

        Args:
            names: Resolves `/ipns/`; without it no such path is answered.
            otherwise: Answers what only looks like ours, a file of an organisation of the Hub
                that is called "ipfs" or "ipns".
            recorder: Counts what was asked for, and whether it was here; None: nobody does.
        """
        self._recorder = recorder
        self._answers = IpfsAnswers(shelf)
        self._sender = Sender(ContentAnswers(shelf), uploads, max_streams=max_streams)
        self._names = names
        self._otherwise = otherwise

    def add_to(self, app: web.Application) -> None:
        """Register the routes on an application; a name in a path may have a line break in it."""
        app.router.add_route("*", r"/ipfs/{path:[\s\S]+}", self.answer)
        if self._names is not None:
            app.router.add_route("*", r"/ipns/{path:[\s\S]+}", self.answer)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        raw_path = request.rel_url.raw_path  # `raw_path` of the request may be a whole URL
        if self._otherwise is not None and _is_of_the_hub(raw_path):
            return await self._otherwise(request)
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=CORS_HEADERS)
        if request.method not in ("GET", "HEAD"):
            headers = {**CORS_HEADERS, "Allow": "GET, HEAD, OPTIONS"}
            return web.Response(status=405, text="this gateway only reads\n", headers=headers)
        try:
            try:
                asked = parse_request(raw_path, request.query, request.headers)
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    reply = await self._reply(asked)
                if isinstance(reply, Stream):
                    sent = await self._sender.stream(request, _with_cors(reply))
                    self._count(request, reply.status)
                    return sent
            except TimeoutError as exc:
                raise Refused(504, f"no answer within {ANSWER_TIMEOUT_S:g} s") from exc
            except MirrorError as exc:
                raise refused_for(exc) from exc
        except Refused as exc:
            reply = answer_of(exc)
        self._count(request, reply.status)
        return await self._sender.send(request, _with_cors(reply))

    def _count(self, request: web.Request, status: int) -> None:
        """Count an answer that tells whether content is here."""
        if self._recorder is not None and request.method == "GET" and status in COUNTED:
            self._recorder.note_asked(GATEWAY, is_hit=status != 404)

    async def _reply(self, asked: IpfsRequest) -> Reply:
        if asked.namespace == "ipns":
            return await self._reply_to_name(asked)
        try:
            root = Cid.parse(asked.root)
        except ContentError as exc:
            raise Refused(400, str(exc)) from exc
        return await self._decided(asked, Target(root, asked.segments))

    async def _reply_to_name(self, asked: IpfsRequest) -> Reply:
        if self._names is None:
            raise Refused(501, "names are not resolved here")
        try:
            resolved = await self._names.resolve(asked.root)
        except TargetError as exc:
            raise Refused(400, str(exc)) from exc
        except NoProviders as exc:
            raise Refused(404, str(exc)) from exc
        except MirrorError as exc:
            raise Refused(502, f"/ipns/{asked.root} cannot be resolved: {exc}") from exc
        cache = f"public, max-age={max(0, int(resolved.ttl_s))}"
        if asked.format == RECORD:
            return _record(asked, resolved, cache)
        root, segments = _path_of(resolved)
        return await self._decided(asked, Target(root, (*segments, *asked.segments), cache))

    async def _decided(self, asked: IpfsRequest, target: Target) -> Reply:
        return await in_thread_or_drop(lambda: self._answers.answer(asked, target), _drop)


def _record(asked: IpfsRequest, resolved: ResolvedName, cache: str) -> Answer:
    record = resolved.record
    if asked.segments:
        raise Refused(400, "a record is that of a name alone, without a path")
    if record is None or len(record) > MAX_RECORD_BYTES:
        raise Refused(406, "this name is not kept by a signed record")
    headers = {
        "Content-Type": TYPES[RECORD],
        "Cache-Control": cache,
        "ETag": f'"{hashlib.sha256(record).hexdigest()[:32]}"',
        "Content-Disposition": content_disposition("attachment", f"{asked.root}.ipns-record"),
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept",
        "X-Ipfs-Path": asked.url_path,
    }
    if asked.is_known(headers["ETag"]):
        return Answer(304, headers)
    return Answer(200, headers, record)


def _path_of(resolved: ResolvedName) -> tuple[Cid, tuple[str, ...]]:
    """Return root and segments of what a name stands for."""
    namespace, _, rest = resolved.path.removeprefix("/").partition("/")
    root, *segments = [part for part in rest.split("/") if part] or [""]
    try:
        if namespace != "ipfs" or len(segments) > MAX_SEGMENTS:
            raise Refused(502, "the name stands for something that is no path to content")
        return Cid.parse(root), tuple(segments)
    except ContentError as exc:
        raise Refused(502, f"the name stands for no content: {exc}") from exc


def _with_cors(reply: R) -> R:
    return replace(reply, headers=bounded({**CORS_HEADERS, **reply.headers}))


def _drop(reply: Reply) -> None:
    if isinstance(reply, Answer) and reply.file is not None:
        os.close(reply.file.descriptor)


def _is_of_the_hub(raw_path: str) -> bool:
    """Tell whether a path is one of a repo `ipfs/NAME` or `ipns/NAME`, or of one called just that.

    A part that could be a CID or a name of IPNS is taken for one.
    """
    hub = parse_hub_path(raw_path)
    if hub is None or hub.kind not in ("resolve", "raw"):
        return False
    _, namespace, first, *_ = raw_path.split("/")
    if namespace == "ipns":
        return "." not in first and len(first) < MIN_NAME_LETTERS
    try:
        Cid.parse(first)
    except ContentError:
        return True
    return False

"""The web page: `/ui/` with its three files, its live feed, and the few things it can change.

Who may read the gateway may read the page. Changing takes the node's token, once, at `/ui/login`;
then a session, which the browser keeps to itself and sends from this page alone. Every such call is
JSON by POST from our own page: no form and no page of another site can make it. What is shown is
put together in `page_view` and sent by `page_feed`; nothing is loaded from elsewhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from multidict import CIMultiDict

from mirrornode.errors import MirrorError, TargetError
from mirrornode.gateway.fields import field
from mirrornode.gateway.page_feed import PageFeed, TooManyTabs
from mirrornode.gateway.page_look import NodeLook

if TYPE_CHECKING:
    from mirrornode.config import Config
    from mirrornode.events import Event
    from mirrornode.gateway.access import GatewayAccess
    from mirrornode.gateway.control import Verb
    from mirrornode.gateway.node_numbers import NodeNumbers
    from mirrornode.gateway.page_feed import Tab

log = logging.getLogger(__name__)

PREFIX: Final = "/ui"
EVENTS_PATH: Final = f"{PREFIX}/events"
MAX_BODY_BYTES: Final = 16 * 1024
MAX_JOBS: Final = 8  # pins that are being made for the page at a time
KEPT_JOBS: Final = 20  # that ended, and are still shown
PATIENCE_S: Final = 1.0  # what ends sooner is told in the answer
STALL_S: Final = 60.0  # a tab that takes nothing for so long is let go
BEAT_S: Final = 15.0  # so that proxies keep a quiet feed open

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SCRIPTS: Final = (
    "page.js",
    "words.js",
    "drawing.js",
    "seen.js",
    "acting.js",
    "figures.js",
    "traffic.js",
    "map.js",
    "shared.js",
    "upkeep.js",
)
FILES: Final = {
    "": ("index.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    **{name: (name, "text/javascript; charset=utf-8") for name in SCRIPTS},
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Page:
    """The routes of the page; belongs to one event loop. Driven by: `run`."""

    def __init__(self, numbers: NodeNumbers, config: Config) -> None:
        """Prepare; nothing is shown before `run`."""
        self._numbers = numbers
        self._config = config
        self._feed: PageFeed | None = None
        self._verbs: Mapping[str, Verb] = {}
        self._jobs: dict[asyncio.Task[dict[str, Any]], dict[str, Any]] = {}
        self._ended_jobs: deque[dict[str, Any]] = deque(maxlen=KEPT_JOBS)
        self._job_count = 0
        self._files = {name: _StaticFile(*file) for name, file in FILES.items()}

    @property
    def tabs(self) -> int:
        """How many are open."""
        return self._feed.tabs if self._feed is not None else 0

    def add_to(
        self, app: web.Application, access: GatewayAccess, otherwise: Handler | None = None
    ) -> None:
        """Register the routes on an application.

        Args:
            otherwise: Answers `/` for what is no browser; None for "there is nothing".
        """
        router = app.router
        for name, file in self._files.items():
            router.add_get(f"{PREFIX}/{name}", file.answer)
        router.add_get(PREFIX, _to_page)

        async def events(request: web.Request) -> web.StreamResponse:
            return await self._events(request, access)

        router.add_get(EVENTS_PATH, events, allow_head=False)
        calls: Mapping[str, Callable[[web.Request, GatewayAccess], Awaitable[web.Response]]] = {
            "login": self._log_in,
            "logout": self._log_out,
            "pin": self._pin,
            "unpin": self._unpin,
            "cancel": self._cancel,
        }
        for name, call in calls.items():
            router.add_post(f"{PREFIX}/{name}", _guarded(call, access))

        async def front(request: web.Request) -> web.StreamResponse:
            if "text/html" in request.headers.get("Accept", ""):
                return await _to_page(request)
            if otherwise is not None:
                return await otherwise(request)
            raise web.HTTPNotFound(text="there is nothing under this path\n")

        router.add_get("/", front)

    async def run(self, verbs: Mapping[str, Verb]) -> None:
        """Show the node, by the verbs of its control socket, until cancelled; once."""
        look = NodeLook(verbs, self._numbers, self._config)
        feed = self._feed = PageFeed(look)
        self._verbs, recorder = verbs, self._numbers.recorder
        recorder.on_start(feed.stir)
        recorder.on_end(look.note_end)
        recorder.on_end(lambda _: feed.stir(is_survey_old=True))
        try:
            await feed.run()
        finally:
            self._feed = None
            for job in list(self._jobs):
                job.cancel()
            await asyncio.gather(*self._jobs, return_exceptions=True)

    # -- the feed --------------------------------------------------------------------------------

    async def _events(self, request: web.Request, access: GatewayAccess) -> web.StreamResponse:
        feed, own = self._feed, _as_own(request)
        is_owner = access.may_change(own)
        if feed is None:
            return _refusal(503, "starting", "the node is starting")
        headers = {**HEADERS, "Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        headers["X-Accel-Buffering"] = "no"  # nginx would hold events back
        response = web.StreamResponse(headers=headers)
        try:
            with feed.tab(is_owner=is_owner) as tab:
                await response.prepare(request)
                hello = json.dumps({"may_change": is_owner, "now": time.time()})
                await response.write(f"event: hello\ndata: {hello}\n\n".encode())
                # A session that has ended meanwhile ends the feed; the page asks anew, as a reader.
                while (event := await _next_event(tab)) and is_owner == access.may_change(own):
                    async with asyncio.timeout(STALL_S):
                        await response.write(event)
                return response
        except TooManyTabs:
            return _refusal(503, "too_many_tabs", "too many pages are open")
        except (TimeoutError, ConnectionResetError):
            return response

    # -- calls -----------------------------------------------------------------------------------

    async def _log_in(self, request: web.Request, access: GatewayAccess) -> web.Response:
        fields = await _fields(request)
        response = web.json_response({"ok": True})
        if not access.log_in(request, field(fields, "token", str) or "", response):
            return _refusal(403, "wrong_token", "this is not the token of this node")
        return response

    async def _log_out(self, request: web.Request, access: GatewayAccess) -> web.Response:
        response = web.json_response({"ok": True})
        access.log_out(request, response)
        return response

    async def _pin(self, request: web.Request, access: GatewayAccess) -> web.Response:
        fields = await _fields(request)
        wanted = {name: fields[name] for name in ("target", "name", "replicas") if name in fields}
        return await self._run_job("pin", wanted)

    async def _unpin(self, request: web.Request, access: GatewayAccess) -> web.Response:
        fields = await _fields(request)
        wanted = {name: fields[name] for name in ("target", "name") if name in fields}
        return await self._run_job("unpin", wanted)

    async def _cancel(self, request: web.Request, access: GatewayAccess) -> web.Response:
        number = field(await _fields(request), "id", int) or 0
        if not self._numbers.recorder.stop(number):
            return _refusal(404, "ended", "this download has ended already")
        return web.json_response({"ok": True})

    async def _run_job(self, verb: str, fields: Mapping[str, Any]) -> web.Response:
        """Run a verb; one that takes longer goes on without the request, and is shown by the feed.

        It belongs to the node then: a tab that is closed does not end it.
        """
        if len(self._jobs) >= MAX_JOBS:
            return _refusal(429, "busy", "too much is on its way for this page already")
        if verb not in self._verbs:
            return _refusal(503, "starting", "the node is starting")
        self._job_count += 1
        record = {
            "id": self._job_count,
            "verb": verb,
            "target": str(fields.get("target", ""))[:300],
            "state": "running",
            "message": "",
        }
        task = asyncio.create_task(_outcome(self._verbs[verb], fields, record))
        self._jobs[task] = record
        task.add_done_callback(self._job_ended)
        self._show_jobs()
        await asyncio.wait([task], timeout=PATIENCE_S)
        if record["state"] == "failed":
            return _refusal(409, "failed", str(record["message"]))
        return web.json_response({"ok": True, "is_done": task.done()})

    def _job_ended(self, task: asyncio.Task[dict[str, Any]]) -> None:
        self._ended_jobs.appendleft(self._jobs.pop(task))
        self._show_jobs()

    def _show_jobs(self) -> None:
        if self._feed is not None:
            self._feed.show_owners("jobs", [*self._jobs.values(), *self._ended_jobs])
            self._feed.stir(is_survey_old=True)


async def _next_event(tab: Tab) -> bytes:
    """Return the next event of a tab, or a comment when there is none for a while."""
    try:
        async with asyncio.timeout(BEAT_S):
            return await tab.next()
    except TimeoutError:
        return b": still here\n\n"


async def _outcome(verb: Verb, fields: Mapping[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """Run a verb and note in its record how it ended."""

    def tell(event: Event) -> None:
        """Take progress: the list of running downloads shows it."""

    try:
        await verb(fields, tell)
        record["state"] = "done"
    except MirrorError as exc:
        record["state"], record["message"] = "failed", str(exc)
    except Exception as exc:
        # A task boundary, as with the control socket's.
        log.exception("verb failed")
        record["state"], record["message"] = "failed", f"internal error: {exc!r}"
    return record


class _StaticFile:
    """One file of the page, read once out of the package."""

    def __init__(self, name: str, content_type: str) -> None:
        self._body = resources.files("mirrornode.gateway").joinpath("static", name).read_bytes()
        self._headers = {
            **HEADERS,
            "Content-Type": content_type,
            "Cache-Control": "no-cache",
            "ETag": f'"{hashlib.sha256(self._body).hexdigest()[:32]}"',
        }

    async def answer(self, request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == self._headers["ETag"]:
            return web.Response(status=304, headers=self._headers)
        return web.Response(body=self._body, headers=self._headers)


async def _to_page(request: web.Request) -> web.Response:
    # By a relative path: a proxy may have put the gateway below one of its own.
    where = f"{PREFIX}/".removeprefix("/") if request.path == "/" else "ui/"
    return web.Response(status=302, headers={"Location": where, "Cache-Control": "no-store"})


def _guarded(
    call: Callable[[web.Request, GatewayAccess], Awaitable[web.Response]], access: GatewayAccess
) -> Handler:
    """Return the handler of a call: refused unless its request is ours and may change things."""

    async def answer(request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            # A page of another site can send other types without asking first.
            return _refusal(415, "not_json", "send application/json")
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return _refusal(403, "other_site", "this call came from another site's page")
        if request.path != f"{PREFIX}/login" and not access.may_change(request):
            return _refusal(403, "no_token", "show the node's token first")
        try:
            response = await call(request, access)
        except TargetError as exc:
            response = _refusal(400, "wrong", str(exc))
        response.headers["Cache-Control"] = "no-store"
        return response

    return answer


async def _fields(request: web.Request) -> Mapping[str, Any]:
    """Return the JSON object of a request.

    Raises:
        TargetError: It is none, or too large.
    """
    body = bytearray()
    async for piece in request.content.iter_chunked(MAX_BODY_BYTES):
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise TargetError(f"a request has at most {MAX_BODY_BYTES} bytes")
    try:
        fields = json.loads(body or b"{}")
    except (ValueError, RecursionError) as exc:
        raise TargetError("the request is not JSON") from exc
    if not isinstance(fields, dict):
        raise TargetError("the request is not a JSON object")
    return fields


def _as_own(request: web.Request) -> web.Request:
    """Return a GET as if our own page named itself in it, which no browser does for a GET.

    Nothing is changed by it, and its answer can be read by our own page alone: no other origin is
    allowed, and the session's cookie is SameSite=Strict.
    """
    if "Origin" in request.headers:
        return request
    headers = CIMultiDict(request.headers)
    headers["Origin"] = f"{request.scheme}://{request.host}"
    return request.clone(headers=headers)


def _refusal(status: int, code: str, message: str) -> web.Response:
    """Return an answer that says no: a word for the page, a sentence for people."""
    body = {"error": code, "message": message}
    return web.json_response(body, status=status, headers=dict(HEADERS))

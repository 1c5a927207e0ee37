"""Who may use the gateway: who may read, who may change, and sessions for the page in a browser.

Reading is open to everybody who reaches the gateway, until networks or tokens are configured; then
to those only, this machine's own programs included. Changing takes the node's own token, shown by a
program or kept in a session that `log_in` began, and never comes from another site's page.

Tokens are compared by their SHA-256 and in constant time, never logged, and never passed on. What
an origin sees of a request is `origin_token`.
Reference: docs/privacy.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

from mirrornode.errors import PathRefused, StoreError
from mirrornode.gateway.credentials import (
    OUR_PREFIX,
    Shown,
    client_behind,
    is_within,
    parse_address,
    parse_networks,
    parse_tokens,
    shown_by,
)
from mirrornode.gateway.health import PATHS as HEALTH_PATHS
from mirrornode.gateway.hub_errors import refusal

if TYPE_CHECKING:
    from mirrornode.config import GatewayConfig

log = logging.getLogger(__name__)

TOKEN_NAME: Final = "gateway.token"  # in the home
TOKEN_HEADER: Final = "X-Mirrornode-Token"
COOKIE: Final = "mirrornode_session"
SESSION_S: Final = 12 * 3600.0
MAX_SESSIONS: Final = 64  # the oldest ends when one more begins
MIN_TOKEN_LETTERS: Final = 20
MAX_TOKEN_FILE_BYTES: Final = 4096
UNKNOWN: Final = "0.0.0.0"  # the client of a proxy that does not name it
PRIVATE: Final = "private, no-store"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class GatewayAccess:
    """Decides who may do what; belongs to one event loop."""

    def __init__(
        self,
        settings: GatewayConfig | None = None,
        *,
        home: Path = Path(),
        host: str = "127.0.0.1",
        own_token: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; without settings everybody may read.

        Args:
            home: What `token_file` is relative to.
            host: The address the gateway listens on.
            own_token: Lets its holder change things; "" for a gateway where nobody may.

        Raises:
            ConfigError: A network, token or file of the settings cannot be used.
        """
        allow = settings.allow if settings is not None else ()
        proxies = settings.trusted_proxies if settings is not None else ()
        names = settings.names if settings is not None else ()
        self._allow = parse_networks(allow, "gateway.allow")
        self._proxies = parse_networks(proxies, "gateway.trusted_proxies")
        self._tokens = (
            parse_tokens(settings.tokens, settings.token_file, home) if settings is not None else {}
        )
        self._names = frozenset(name.lower() for name in (*names, host, "localhost"))
        self._own = _digest(own_token) if own_token else b""
        self._clock = clock
        self._sessions: OrderedDict[bytes, float] = OrderedDict()  # their end by their SHA-256
        self.is_restricted = bool(self._allow or self._tokens or (settings and settings.token_file))

    # -- what a request is -----------------------------------------------------------------------

    def seen(self, request: web.Request) -> web.Request:
        """Return a request as its client sent it: through a trusted proxy, as that one says."""
        peer = parse_address(request.remote)
        if not is_within(peer, self._proxies):
            return request
        client = client_behind(peer, request.headers.getall("X-Forwarded-For", ()), self._proxies)
        scheme = request.headers.get("X-Forwarded-Proto", "").strip().lower()
        host = request.headers.get("X-Forwarded-Host", "").strip()
        return request.clone(
            remote=str(client) if client is not None else UNKNOWN,
            scheme=scheme if scheme in ("http", "https") else request.scheme,
            host=host or request.host,
        )

    def is_own_name(self, request: web.Request) -> bool:
        """Tell whether the Host is one of the gateway's, so that no other site's page asks.

        An address always is: no page can make a browser send that for a name of its own.
        """
        name = host_name(request.host).lower()
        return name in self._names or parse_address(name) is not None

    # -- who may ---------------------------------------------------------------------------------

    def may_read(self, request: web.Request) -> bool:
        """Tell whether a request, as `seen`, may be answered at all."""
        if not self.is_restricted or is_within(parse_address(request.remote), self._allow):
            return True
        return self._is_known(_shown(request).gateway) or self._has_session(request)

    def may_change(self, request: web.Request) -> bool:
        """Tell whether a request, as `seen`, may change what this node does.

        It shows the node's own token as a bearer or in `X-Mirrornode-Token`, or has a session. Its
        Host is ours, and if a page sent it, that page is ours: a browser says so in `Origin`.
        """
        if not self.is_own_name(request):
            return False
        origin = request.headers.get("Origin")
        if origin is not None and not _is_same_site(origin, request):
            return False
        shown = _shown(request)
        if shown.is_script and self._is_own(shown.gateway):
            return True
        # A browser adds a cookie by itself: then the page behind the request must be known.
        return origin is not None and self._has_session(request)

    def origin_token(self, request: web.Request) -> str:
        """Return the token that may go on to an origin, "" for none; one of ours never does."""
        shown = _shown(request)
        token = shown.origin if self._is_known(shown.gateway) else shown.whole
        ours, _, rest = token.partition(":")
        return rest if ours.startswith(OUR_PREFIX) or self._is_known(ours) else token

    def is_personal(self, request: web.Request) -> bool:
        """Tell whether a request shows anything that its answer may depend on."""
        return (
            "Authorization" in request.headers
            or TOKEN_HEADER in request.headers
            or COOKIE in request.cookies
        )

    # -- sessions --------------------------------------------------------------------------------

    def log_in(self, request: web.Request, token: str, response: web.StreamResponse) -> bool:
        """Begin a session for who knows the node's own token, and set its cookie.

        Args:
            request: As `seen`. One that a page of another site sent begins none.
        """
        origin = request.headers.get("Origin")
        if not self.is_own_name(request) or (
            origin is not None and not _is_same_site(origin, request)
        ):
            return False
        if not self._is_own(token.strip()):
            log.warning("login refused: not the token of this node")
            return False
        session = secrets.token_urlsafe(32)
        self._sessions[_digest(session)] = self._clock() + SESSION_S
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        response.set_cookie(
            COOKIE,
            session,
            max_age=int(SESSION_S),
            path="/",
            httponly=True,
            samesite="Strict",
            secure=request.scheme == "https",
        )
        return True

    def log_out(self, request: web.Request, response: web.StreamResponse) -> None:
        """End the session of a request, if it has one."""
        self._sessions.pop(_digest(request.cookies.get(COOKIE, "")), None)
        response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")

    def _has_session(self, request: web.Request) -> bool:
        given = request.cookies.get(COOKIE, "")
        digest = _digest(given)
        # Found by its SHA-256: how long that takes tells nothing of the session.
        end = self._sessions.get(digest) if given else None
        if end is not None and end <= self._clock():
            del self._sessions[digest]
            return False
        return end is not None

    # -- tokens ----------------------------------------------------------------------------------

    def _is_own(self, token: str) -> bool:
        return bool(token and self._own) and hmac.compare_digest(_digest(token), self._own)

    def _is_known(self, token: str) -> bool:
        if not token:
            return False
        digest, found = _digest(token), self._is_own(token)
        for known in self._tokens:  # all of them, whichever it is
            found |= hmac.compare_digest(digest, known)
        return found


ACCESS: Final = web.AppKey("access", GatewayAccess)


def guard(app: web.Application, access: GatewayAccess) -> None:
    """Have an application answer only those who may read; its first middleware from then on.

    Answers to requests that show a token or session are kept by no cache, whatever they say, nor
    are those that do not say how long they are good for.
    """

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        request = access.seen(request)
        if not access.is_own_name(request):
            raise web.HTTPForbidden(text="this name does not belong to the gateway")
        if request.path not in HEALTH_PATHS and not access.may_read(request):
            return _denied()
        return await handler(request)

    async def keep_private(request: web.Request, response: web.StreamResponse) -> None:
        if access.is_personal(request):
            response.headers["Cache-Control"] = PRIVATE
            response.headers.popall("Expires", None)
        elif "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"  # no cache may guess

    app[ACCESS] = access
    app.middlewares.insert(0, guarded)
    app.on_response_prepare.append(keep_private)


def load_or_create_token(home: Path) -> str:
    """Return the node's own token from its file, which is made when it is not there.

    Raises:
        StoreError: The file holds no token. Nothing is overwritten.
        PathRefused: The operating system denies reading or creating it.
    """
    path = home / TOKEN_NAME
    try:
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(f"{OUR_PREFIX}{secrets.token_urlsafe(32)}\n")
                file.flush()
                os.fsync(file.fileno())
        with path.open("rb") as file:
            os.fchmod(file.fileno(), 0o600)
            text = file.read(MAX_TOKEN_FILE_BYTES)
    except OSError as exc:
        raise PathRefused(path, "read or create", exc.strerror or str(exc)) from exc
    token = text.decode("ascii", "replace").strip()
    if len(token) < MIN_TOKEN_LETTERS or not token.isprintable() or ":" in token or " " in token:
        raise StoreError(f"{path} holds no token; remove it, and the node makes a new one")
    return token


def host_name(host: str) -> str:
    """Return the name of a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[")
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _denied() -> web.Response:
    # With X-Error-Message, which clients of the Hub show to people.
    answer = refusal(
        401, "this gateway is closed to you: show a token of it, or ask from an allowed network"
    )
    answer.headers["WWW-Authenticate"] = 'Basic realm="mirrornode", charset="UTF-8"'
    return answer


def _shown(request: web.Request) -> Shown:
    headers = request.headers
    return shown_by(headers.get("Authorization", ""), headers.get(TOKEN_HEADER, "").strip())


def _is_same_site(origin: str, request: web.Request) -> bool:
    """Tell whether an Origin is the scheme, name and port that the request was sent to."""
    try:
        given = urlsplit(origin)
        asked = urlsplit(f"{request.scheme}://{request.host}")
        default = {"http": 80, "https": 443}
        return bool(given.hostname) and (
            (given.scheme, given.hostname, given.port or default.get(given.scheme))
            == (asked.scheme, asked.hostname, asked.port or default.get(asked.scheme))
        )
    except ValueError:
        return False


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()

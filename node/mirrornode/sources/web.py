"""HTTP to the outside: URLs instead of targets, redirects followed and remembered.

A mirror or the Hub may answer with a redirect to a signed URL that expires. `WebConnection` goes
straight to where the last redirect led, and back to the first URL when that place says no.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from mirrornode.errors import SourceGone, SourceRefused, TargetError
from mirrornode.sources.http_client import Endpoint, HttpConnection

if TYPE_CHECKING:
    import http.client

MAX_REDIRECTS: Final = 6
REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})
EXPIRED_STATUSES: Final = frozenset({401, 403, 404, 410})  # what signed URLs answer past their time

NOTHING: Final[Mapping[str, str]] = {}
WEB_HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "mirrornode"}


class Moved:
    """Where the URLs of one source led to; shared by its connections."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[str, str] = {}

    def place(self, url: str) -> str:
        with self._lock:
            return self._places.get(url, url)

    def remember(self, url: str, place: str) -> None:
        with self._lock:
            if place != url and len(self._places) < 10_000:
                self._places[url] = place

    def forget(self, url: str) -> None:
        with self._lock:
            self._places.pop(url, None)


class WebConnection:
    """Requests by URL from one thread; `abort` may come from any."""

    def __init__(self, source_id: str, moved: Moved) -> None:
        self._source_id = source_id
        self._moved = moved
        self._connection: HttpConnection | None = None
        self._aborts = 0

    def request(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        method: str = "GET",
        body: bytes = b"",
        private: Mapping[str, str] = NOTHING,
    ) -> http.client.HTTPResponse:
        """Send a request and follow where it leads.

        Args:
            private: Headers that only the scheme, host and port of `url` may see, such as a token:
                they are left out wherever a redirect leads elsewhere.

        Raises:
            SourceError: As `HttpConnection.request`; or a redirect loop.
        """
        aborts = self._aborts
        first, _, login = split_url(url)
        place = self._moved.place(url)
        is_second_try = place == url
        for _ in range(MAX_REDIRECTS + 1):
            endpoint, target, extra = self._split(place)
            if endpoint == first:
                # A redirect within one server rarely repeats the login.
                extra = {**login, **private}
            connection = self._to(endpoint, aborts)
            response = connection.request(target, {**headers, **extra}, method=method, body=body)
            if response.status in REDIRECT_STATUSES:
                place = self._next_place(place, response.getheader("Location", ""))
                continue
            if response.status in EXPIRED_STATUSES and not is_second_try:
                is_second_try = True
                self._moved.forget(url)
                place = url
                continue
            if response.status < 400:
                self._moved.remember(url, place)
            return response
        raise SourceRefused("too many redirects", source_id=self._source_id)

    def read_into(self, view: memoryview) -> None:
        assert self._connection is not None
        self._connection.read_into(view)

    def read_all(self, limit_bytes: int) -> bytes:
        assert self._connection is not None
        return self._connection.read_all(limit_bytes)

    def finish(self) -> None:
        if self._connection is not None:
            self._connection.finish()

    @property
    def received_bytes(self) -> int:
        """Bytes that the current connection has brought; see `Lane.received_bytes`."""
        connection = self._connection
        return connection.received_bytes if connection is not None else 0

    def abort(self) -> None:
        # The connection stays: only the thread that uses it may close it.
        self._aborts += 1
        if (connection := self._connection) is not None:
            connection.abort()

    def _to(self, endpoint: Endpoint, aborts: int) -> HttpConnection:
        if self._connection is None or self._connection.endpoint != endpoint:
            if self._connection is not None:
                self._connection.abort()
            self._connection = HttpConnection(endpoint, self._source_id)
        if self._aborts != aborts:
            raise SourceGone("broken off", source_id=self._source_id)
        return self._connection

    def _split(self, place: str) -> tuple[Endpoint, str, dict[str, str]]:
        try:
            return split_url(place)
        except TargetError as exc:
            raise SourceRefused(f"redirected to {exc}", source_id=self._source_id) from exc

    def _next_place(self, place: str, location: str) -> str:
        try:
            if location and (place := urljoin(place, location)):
                return place
        except ValueError:
            pass  # not a URL
        raise SourceRefused("redirected to nowhere", source_id=self._source_id)


def split_url(url: str) -> tuple[Endpoint, str, dict[str, str]]:
    """Return the endpoint, the request target and extra headers (basic auth) of a URL.

    Raises:
        TargetError: Not an http or https URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as exc:
        raise TargetError(f"not a URL: {url} ({exc})") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TargetError(f"not an http:// or https:// URL: {url}")
    extra = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        extra["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    # "%" stays as it is: the user's URL is taken as already escaped where it holds escapes.
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?") if parts.query else ""
    return Endpoint(parts.scheme, parts.hostname, port, use_proxy=True), path + query, extra


def public_url(url: str) -> str:
    """Return a URL fit for logs and messages: no user, no password, no query."""
    parts = urlsplit(url)
    netloc = parts.hostname or ""
    if ":" in netloc:
        netloc = f"[{netloc}]"
    if parts.port:
        netloc += f":{parts.port}"
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))

"""HTTP to the outside: URLs instead of targets, redirects followed and remembered.

A mirror or the Hub may answer with a redirect to a signed URL that expires. `WebConnection` goes
straight to where the last redirect led, and back to the first URL when that place says no or is
gone: once a request, so that a URL which always leads to an expired place ends in its answer.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from mirrornode.errors import SourceError, SourceGone, SourceRefused, TargetError
from mirrornode.sources.http_client import Endpoint, HttpConnection

if TYPE_CHECKING:
    import http.client

    from mirrornode.sources.ports import Pace

MAX_REDIRECTS: Final = 6
REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})
EXPIRED_STATUSES: Final = frozenset(
    # What signed URLs answer past their time (400: Google's ExpiredToken), or an edge in trouble.
    {400, 401, 403, 404, 410, 500, 502, 503, 504}
)

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

    def forget(self, url: str, place: str) -> None:
        """Drop `place`; what another connection has put in its stead meanwhile stays."""
        with self._lock:
            if self._places.get(url) == place:
                del self._places[url]


class WebConnection:
    """Requests by URL from one thread; `abort` may come from any.

    Attributes:
        moved: Where redirects led; may be exchanged between two requests.
    """

    def __init__(self, source_id: str, moved: Moved, *, max_redirects: int = MAX_REDIRECTS) -> None:
        self._source_id = source_id
        self._max_redirects = max_redirects
        self.moved = moved
        self._connection: HttpConnection | None = None
        self._url = self._place = ""
        self._aborts = 0
        self._pace: Pace | None = None

    def set_pace(self, pace: Pace) -> None:
        """See `PacedLane.set_pace`."""
        self._pace = pace

    def connect(self, url: str) -> None:
        """Connect to the server of a URL and ask nothing; raises as `HttpConnection.request`."""
        self._to(split_url(url)[0], self._aborts).connect()

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
                they are left out once a redirect has led elsewhere, even back here again.

        Raises:
            SourceError: As `HttpConnection.request`; or redirects in a circle, to nowhere, or to
                anything but http and https.
        """
        aborts = self._aborts
        first, _, login = split_url(url)
        place = self.moved.place(url)
        is_link_new = place == url
        has_left = False
        hops = 0
        while True:
            self._url, self._place = url, place
            endpoint, target, extra = self._split(place)
            has_left = has_left or endpoint != first
            if not has_left:
                # A redirect within one server rarely repeats the login.
                extra = {**login, **private}
            connection = self._to(endpoint, aborts)
            response: http.client.HTTPResponse | None = None
            try:
                response = connection.request(
                    target, {**headers, **extra}, method=method, body=body
                )
            except SourceError:
                self.moved.forget(url, place)
                if is_link_new or self._aborts != aborts:
                    raise
            if response is None or (response.status in EXPIRED_STATUSES and not is_link_new):
                self.moved.forget(url, place)
                is_link_new, has_left, hops, place = True, False, 0, url
                continue
            if response.status in REDIRECT_STATUSES:
                hops += 1
                if hops > self._max_redirects:
                    how_many = "too many redirects" if self._max_redirects else "a redirect"
                    raise SourceRefused(f"sends {how_many}", source_id=self._source_id)
                place = self._next_place(place, response.getheader("Location", ""))
                continue
            if response.status < 400 and not (has_left and endpoint == first):
                # What a stranger sent back here is not remembered: it would get the token then.
                self.moved.remember(url, place)
            return response

    @property
    def led_to(self) -> str | None:
        """The host that answered last, when a redirect led there; None when no redirect did."""
        return None if self._place == self._url else urlsplit(self._place).hostname

    def read_into(self, view: memoryview) -> None:
        """Fill `view` from the body of the last answer; see `HttpConnection.read_into`."""
        assert self._connection is not None
        try:
            self._connection.read_into(view)
        except SourceError:
            # The next request asks the first URL again, which may lead to a better place.
            self.moved.forget(self._url, self._place)
            raise

    def read_all(self, limit_bytes: int) -> bytes:
        assert self._connection is not None
        return self._connection.read_all(limit_bytes)

    def finish(self) -> None:
        if self._connection is not None:
            self._connection.finish()

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the connection goes at present."""
        return self._connection.endpoint if self._connection is not None else None

    @property
    def received_bytes(self) -> int:
        """Bytes that the current connection has brought; see `Lane.received_bytes`."""
        connection = self._connection
        return connection.received_bytes if connection is not None else 0

    @property
    def round_trip_s(self) -> float | None:
        """Of the current connection; see `TimedLane.round_trip_s`."""
        connection = self._connection
        return connection.round_trip_s if connection is not None else None

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
            self._connection.pace = self._pace
        if self._aborts != aborts:
            raise SourceGone("broken off", source_id=self._source_id)
        return self._connection

    def _split(self, place: str) -> tuple[Endpoint, str, dict[str, str]]:
        try:
            return split_url(place)
        except TargetError as exc:
            # Only the scheme is shown: the rest may be a secret link.
            scheme = place.partition(":")[0][:20]
            raise SourceRefused(
                f"redirects to what is no web address ({scheme}:)", source_id=self._source_id
            ) from exc

    def _next_place(self, place: str, location: str) -> str:
        try:
            if location and (place := urljoin(place, location)):
                return place
        except ValueError:
            pass  # not a URL
        raise SourceRefused("redirects to nowhere", source_id=self._source_id)


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

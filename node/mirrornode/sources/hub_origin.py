"""The origin of record of Hub repos: huggingface.co, or a mirror of it such as a company's proxy.

Questions about names and single HEADs are asked here, bytes come through `HubFileSource`. An
answer is taken as it is said, a refusal too: what it means is decided in `mirror.hub`. Names come
from the origin alone, so a question is never followed to another host; and a token is shown to
the origin's own scheme, host and port only, never logged, never part of an error.

Blocking and thread-safe: called from lanes, or through `asyncio.to_thread`. Facts: the Hub's
HTTP answers, as its clients use them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from mirrornode.errors import HubRefusal, SourceRefused, TargetError
from mirrornode.sources.asking_chain import HEADER, LEADS_BACK, LOOP_STATUS, own_chain
from mirrornode.sources.http_client import HttpConnection
from mirrornode.sources.hub_answer import (
    OriginAnswer,
    OriginHead,
    commit_of,
    error_of,
    etag_of,
    size_of,
)
from mirrornode.sources.hub_file import HubFileSource
from mirrornode.sources.idle import Idle
from mirrornode.sources.origins import Origins
from mirrornode.sources.refusal import asked_rest_s
from mirrornode.sources.web import (
    MAX_REDIRECTS,
    REDIRECT_STATUSES,
    WEB_HEADERS,
    WebConnection,
    public_url,
    split_url,
)

if TYPE_CHECKING:
    import http.client

    from mirrornode.config import OriginConfig
    from mirrornode.wire.hub import HubFile, Repo

__all__ = ["HubFileSource", "HubOrigin", "OriginAnswer", "OriginHead", "Origins", "open_origins"]

CONNECT_TIMEOUT_S = 4.0  # clients wait 10 s for a HEAD: a dead origin must be known well before
ANSWER_TIMEOUT_S = 8.0
MAX_JSON_BYTES = 64 << 20  # model info of a repo with half a million files
MAX_PAGES = 1000
MAX_RECORDS = 1_000_000  # of all pages: as many as a tree of the Hub may hold
MAX_PAGES_BYTES = 512 << 20
MAX_TARGET_LETTERS = 16 * 1024
MAX_TOKEN_LETTERS = 4096

_FAILED_STATUSES = frozenset({407, 408, 429})  # 4xx that are no answer of the Hub's

_VISIBLE = re.compile(r"[\x21-\x7e]*", re.ASCII)
_NEXT_LINK = re.compile(r"<([^<>]{1,16384})>\s*;[^,<]*\brel=\"?next\"?", re.ASCII)


class HubOrigin:
    """One origin; keeps a few connections open between questions.

    Attributes:
        url: Without login and without a slash at its end.
        origin_id: "hub:" and the host, port and path prefix; what users see.
    """

    def __init__(
        self,
        url: str,
        *,
        send_token: bool = True,
        timeout_s: float = ANSWER_TIMEOUT_S,
        own_name: str = "",
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            url: May hold a path prefix, and a login for those who have no token.
            send_token: Whether the origin may see the tokens of users.
            timeout_s: For each step of an answer: its head, and each read of its body.
            own_name: What this node names itself by, see `asking_chain`; "" for not at all.

        Raises:
            TargetError: Not such a URL.
        """
        self._endpoint, _, self._login = split_url(url)
        parts = urlsplit(url)
        if parts.query or parts.fragment or "?" in url or "#" in url:
            raise TargetError(f"an origin's URL ends with its path: {public_url(url)}")
        self.url = public_url(url).rstrip("/")
        self.origin_id = "hub:" + self.url.partition("://")[2]
        self._prefix = split_url(self.url)[1].rstrip("/")
        self._send_token = send_token
        self._own_name = own_name
        self._timeout_s = timeout_s
        self._idle: Idle[HttpConnection] = Idle()
        self._idle_lanes: Idle[WebConnection] = Idle()

    def ask(
        self,
        target: str,
        token: str,
        *,
        method: str = "GET",
        body: bytes = b"",
        content_type: str = "",
    ) -> OriginAnswer:
        """Return the answer to a question, whether yes or no.

        Args:
            target: Quoted path and query below the origin's prefix, starting with `/`.
            token: Of the asking user, "" for none.

        Raises:
            SourceError: The way there failed, it answered 429 (`retry_after_s`) or 5xx, sent us
                elsewhere, or answered what is no JSON.
            HubRefusal: Target or token cannot be sent at all; the origin was not asked.
        """
        return self._ask(target, token, method, body, content_type)[0]

    def pages(self, target: str, token: str) -> tuple[OriginAnswer, list[object]]:
        """Return the first answer and the records of all pages that its links lead to.

        A link is followed by its path and query, at this origin: a proxy may have left the name
        of another host in it. A refusal of the first page comes with no records.

        Raises:
            SourceError: As `ask`; or the pages do not end, or one is no list.
            HubRefusal: As `ask`.
        """
        first: OriginAnswer | None = None
        records: list[object] = []
        seen = {target}
        size_bytes = 0
        while True:
            answer, length = self._ask(target, token)
            first = first or answer
            if first.status >= 400:
                return first, []
            size_bytes += length
            if answer.status >= 400 or not isinstance(answer.json, list):
                raise self._refused("a page of the answer is no list")
            records += answer.json
            link = _NEXT_LINK.search(answer.headers.get("link", ""))
            if link is None:
                return first, records
            target = self._below(link.group(1))
            if (
                target in seen
                or len(seen) >= MAX_PAGES
                or len(records) > MAX_RECORDS
                or size_bytes > MAX_PAGES_BYTES
            ):
                raise self._refused("the pages of the answer do not end")
            seen.add(target)

    def head(self, repo: Repo, revision: str, path: str, token: str) -> OriginHead:
        """Return what HEAD of a file says, without going where its bytes are.

        A redirect on the same host is followed as long as something is unknown: that of a renamed
        repo, and that of small files, which do not say their size before it.

        Raises:
            SourceError: As `ask`.
            HubRefusal: As `ask`.
        """
        target = repo.resolve_path(revision, path)
        commit = etag = ""
        for _ in range(MAX_REDIRECTS + 1):
            with self._answered(target, token, "HEAD") as (response, _):
                commit = commit or commit_of(response)
                etag = etag or etag_of(response)
                size = size_of(response)
                status = response.status
                if status in REDIRECT_STATUSES:
                    try:
                        target = self._home_again(target, response)
                    except SourceRefused:
                        if not commit:
                            raise
                    else:
                        if not commit or size is None:
                            continue
                    status = 200
                code, message = error_of(response, token)
                return OriginHead(status, code, message, commit, etag, size, len(etag) == 64)
        raise self._refused("too many redirects")

    def file_source(self, repo: Repo, commit: str, file: HubFile, token: str) -> HubFileSource:
        """Return a source of a file's bytes.

        Raises:
            HubRefusal: The token cannot be sent at all.
        """
        url = self.url + repo.resolve_path(commit, file.path)
        return HubFileSource(self.origin_id, url, self._private(token), self._idle_lanes)

    def _ask(
        self,
        target: str,
        token: str,
        method: str = "GET",
        body: bytes = b"",
        content_type: str = "",
    ) -> tuple[OriginAnswer, int]:
        """Return the answer and the length of its body."""
        for _ in range(MAX_REDIRECTS + 1):
            with self._answered(target, token, method, body, content_type) as answered:
                response, connection = answered
                if response.status in REDIRECT_STATUSES:
                    target = self._home_again(target, response)
                    continue
                raw = connection.read_all(MAX_JSON_BYTES)
                headers = {
                    name.lower(): value
                    for name, value in response.getheaders()
                    if name.lower() not in ("set-cookie", "set-cookie2")
                }
                value = self._json(response, raw)
                code, message = error_of(response, token)
                return OriginAnswer(response.status, headers, value, code, message), len(raw)
        raise self._refused("too many redirects")

    @contextmanager
    def _answered(
        self, target: str, token: str, method: str, body: bytes = b"", content_type: str = ""
    ) -> Iterator[tuple[http.client.HTTPResponse, HttpConnection]]:
        """Send one request; the connection is kept for another when the block ends well."""
        if (
            not target.startswith("/")
            or len(target) > MAX_TARGET_LETTERS
            or not _VISIBLE.fullmatch(target)
            or not _VISIBLE.fullmatch(content_type.replace(" ", ""))
        ):
            # Said here, so that nobody takes the origin for dead because of it.
            raise HubRefusal("the request cannot be passed on to the Hub", status=400)
        headers = {**WEB_HEADERS, **self._private(token)}
        if content_type:
            headers["Content-Type"] = content_type
        connection = self._idle.take() or HttpConnection(
            self._endpoint,
            self.origin_id,
            read_timeout_s=self._timeout_s,
            connect_timeout_s=min(CONNECT_TIMEOUT_S, self._timeout_s),
        )
        try:
            response = connection.request(self._prefix + target, headers, method=method, body=body)
            if response.status == LOOP_STATUS:
                raise self._refused(LEADS_BACK, LOOP_STATUS)
            if response.status >= 500 or response.status in _FAILED_STATUSES:
                said = error_of(response, token)[1]
                text = f"answered {response.status}{': ' if said else ''}{said}"
                raise self._refused(text, response.status, asked_rest_s(response))
            yield response, connection
            connection.finish()
        except BaseException:
            connection.abort()
            raise
        self._idle.give(connection)

    def _private(self, token: str) -> Mapping[str, str]:
        """Return the headers that only the origin itself may see."""
        chain = {HEADER: own_chain(self._own_name)} if self._own_name else {}
        return {**self._credentials(token), **chain}

    def _credentials(self, token: str) -> Mapping[str, str]:
        if not token or not self._send_token:
            return self._login
        if len(token) > MAX_TOKEN_LETTERS or not _VISIBLE.fullmatch(token):
            # A library's complaint about such a header would show it.
            raise HubRefusal("Invalid credentials in Authorization header", status=401)
        return {"Authorization": f"Bearer {token}"}

    def _home_again(self, target: str, response: http.client.HTTPResponse) -> str:
        """Return where a redirect leads, below this origin."""
        location = response.getheader("Location", "")
        base = self.url + target
        try:
            place = urljoin(base, location) if location else ""
            if split_url(place)[0] == self._endpoint:
                return self._below(place)
        except (ValueError, TargetError):
            place = ""  # no URL at all
        where = public_url(place) if place else "nowhere"
        raise self._refused(f"sends us to {where}", response.status)

    def _below(self, url: str) -> str:
        """Return the path and query of a URL, without this origin's prefix.

        A proxy that forgot to add its prefix gets it added with the request.
        """
        try:
            parts = urlsplit(urljoin(self.url + "/", url))
        except ValueError as exc:
            raise self._refused("a link that is no URL") from exc
        path = parts.path or "/"
        if self._prefix and path.startswith(self._prefix + "/"):
            path = path.removeprefix(self._prefix)
        target = path + (f"?{parts.query}" if parts.query else "")
        if len(target) > MAX_TARGET_LETTERS or not _VISIBLE.fullmatch(target):
            raise self._refused("a link that cannot be followed")
        return target

    def _json(self, response: http.client.HTTPResponse, raw: bytes) -> object:
        kind = response.getheader("Content-Type", "").partition(";")[0].strip().lower()
        if not raw or kind == "text/plain":
            return None
        try:
            value: object = json.loads(raw, parse_constant=_no_constant)
        except (ValueError, RecursionError) as exc:
            if response.status >= 400:
                return None  # a page for people
            raise self._refused("answered what is no JSON", response.status) from exc
        return value

    def _refused(
        self, message: str, status: int = 0, retry_after_s: float | None = None
    ) -> SourceRefused:
        return SourceRefused(
            message,
            source_id=self.origin_id,
            status=status,
            retry_after_s=retry_after_s,
        )


def open_origins(settings: Sequence[OriginConfig], own_name: str) -> Origins:
    """Return the origins of the config.

    Args:
        own_name: See `HubOrigin`.

    Raises:
        TargetError: A URL cannot be used.
    """
    return Origins(
        [HubOrigin(item.url, send_token=item.send_token, own_name=own_name) for item in settings]
    )


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")

"""What an origin of the Hub says, as values: the answer to a question, and to a HEAD.

Reads the Hub's own headers out of HTTP answers; anything else in them is left alone. Who is asked,
and how often, is in `hub_origin`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirrornode.sources.web import REDIRECT_STATUSES
from mirrornode.wire.hub import is_commit, is_etag

if TYPE_CHECKING:
    import http.client

MAX_MESSAGE_LETTERS = 500

_ERROR_CODE = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class OriginAnswer:
    """What the origin said to a question.

    Attributes:
        status: 2xx or 4xx.
        headers: By lower-case name; cookies are left out.
        json: None when the body is empty or plain text.
        error_code: `X-Error-Code`, or "".
        error_message: `X-Error-Message`, or ""; one line.
    """

    status: int
    headers: Mapping[str, str]
    json: object
    error_code: str = ""
    error_message: str = ""


@dataclass(frozen=True, slots=True)
class OriginHead:
    """What the origin said to a HEAD of a file's resolve route.

    Attributes:
        status: 200 when the file may be had, or the 4xx.
        commit: `X-Repo-Commit`, or "".
        etag: The name of the content, see `HubFile.etag`; "" when it is not said.
        size_bytes: None when it is not said.
        is_lfs: Whether `etag` is a SHA-256.
    """

    status: int
    error_code: str = ""
    error_message: str = ""
    commit: str = ""
    etag: str = ""
    size_bytes: int | None = None
    is_lfs: bool = False


def commit_of(response: http.client.HTTPResponse) -> str:
    """Return `X-Repo-Commit`, or ""."""
    commit = response.getheader("X-Repo-Commit", "")
    return commit if is_commit(commit) else ""


def etag_of(response: http.client.HTTPResponse) -> str:
    """Return the first of `X-Linked-ETag` and `ETag` that names a content, or "".

    An object store's own ETag names none.
    """
    for name in ("X-Linked-ETag", "ETag"):
        etag = response.getheader(name, "").removeprefix("W/").strip('"')
        if is_etag(etag):
            return etag
    return ""


def size_of(response: http.client.HTTPResponse) -> int | None:
    """Return `X-Linked-Size`, or `Content-Length` unless it is that of a redirect or refusal."""
    text = response.getheader("X-Linked-Size", "")
    if not text and response.status not in REDIRECT_STATUSES and response.status < 400:
        text = response.getheader("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 17 else None


def error_of(response: http.client.HTTPResponse, token: str) -> tuple[str, str]:
    """Return code and message of a refusal, fit to be shown."""
    code = response.getheader("X-Error-Code", "")
    message = response.getheader("X-Error-Message", "")
    if token:
        message = message.replace(token, "…")
    message = "".join(letter if letter.isprintable() else " " for letter in message)
    return code if _ERROR_CODE.fullmatch(code) else "", message[:MAX_MESSAGE_LETTERS]

"""What a source said no with: its status in words, and how long it asks to be left alone.

Spec: RFC 9110, 10.2.3 "Retry-After" (seconds, or a date); the `t` of a `RateLimit` header in its
stead (draft-ietf-httpapi-ratelimit-headers), as the Hub sends it.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from mirrornode.errors import SourceRefused

if TYPE_CHECKING:
    import http.client

MAX_RETRY_AFTER_S: Final = 3600.0  # whatever is asked for; the transfer's own bound is tighter
SHOWN_REASON: Final = 60  # characters of a reason phrase that are shown

_RATE_LIMIT_RESET: Final = re.compile(r";\s*t=(\d{1,9})", re.ASCII)


def refusal(
    response: http.client.HTTPResponse, source_id: str, what: str = "answered"
) -> SourceRefused:
    """Return the error for an answer that is no use, as a predicate: "answered 404 Not Found"."""
    rest_s = asked_rest_s(response)
    reason = "".join(c for c in response.reason[:SHOWN_REASON] if c.isprintable())
    text = f"{what} {response.status} {reason}".rstrip()
    if rest_s:
        text += f" and asks to wait {rest_s:.0f} s"
    return SourceRefused(text, source_id=source_id, status=response.status, retry_after_s=rest_s)


def asked_rest_s(response: http.client.HTTPResponse) -> float | None:
    """Return how many seconds a server wants to be left alone, None when it does not say."""
    header = response.getheader("Retry-After")
    if not header and response.status >= 400:
        limit = _RATE_LIMIT_RESET.search(response.getheader("RateLimit", ""))
        header = limit.group(1) if limit else None
    return retry_after_s(header, response.getheader("Date"))


def retry_after_s(header: str | None, date: str | None = None) -> float | None:
    """Return the seconds of a `Retry-After`, None when it is none.

    Args:
        date: The `Date` of the answer: its clock and that of the other date are the same.
    """
    if not header:
        return None
    if header.isascii() and header.isdigit():
        return min(float(header[:12]), MAX_RETRY_AFTER_S)
    until = _moment(header)
    if until is None:
        return None
    now = _moment(date) or datetime.fromtimestamp(time.time(), UTC)
    return min(max(0.0, (until - now).total_seconds()), MAX_RETRY_AFTER_S)


def _moment(text: str | None) -> datetime | None:
    if not text or len(text) > 64:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)

"""Asks a delegated router for the record of a name, over HTTP.

One question, one small answer, in a thread; proxies and certificates as for all our HTTP. Redirects
are not followed, so that a router cannot choose whom we knock at. What it says is not believed
here: `mirror.ipns` verifies it.

Spec: ipfs/specs routing/http-routing-v1.md, "GET /routing/v1/ipns/{name}".
"""

from __future__ import annotations

import asyncio

from mirrornode.errors import SourceRefused
from mirrornode.sources.http_client import HttpConnection
from mirrornode.sources.refusal import refusal
from mirrornode.sources.web import REDIRECT_STATUSES, WEB_HEADERS, public_url, split_url
from mirrornode.wire.ipns import MAX_RECORD_BYTES, MEDIA_TYPE

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 8.0
HEADERS = {**WEB_HEADERS, "Accept": MEDIA_TYPE}


class NameRouter:
    """One router.

    Args:
        url: Of a server that answers `/routing/v1`, written with or without that path.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/").removesuffix("/routing/v1")
        self._source_id = f"router:{public_url(url)}"

    async def ipns_record(self, name_text: str) -> bytes | None:
        """Return an unverified record, None when the router has none.

        Raises:
            SourceError: It cannot be asked, or answers something else.

        Cancelling breaks the connection off.
        """
        endpoint, base, login = split_url(self._url)
        connection = HttpConnection(
            endpoint,
            self._source_id,
            read_timeout_s=READ_TIMEOUT_S,
            connect_timeout_s=CONNECT_TIMEOUT_S,
        )
        target = f"{base.rstrip('/')}/routing/v1/ipns/{name_text}"
        try:
            return await asyncio.to_thread(self._ask, connection, target, login)
        finally:
            connection.abort()

    def _ask(self, connection: HttpConnection, target: str, login: dict[str, str]) -> bytes | None:
        try:
            response = connection.request(target, {**HEADERS, **login})
            if response.status == 404:
                return None
            if response.status in REDIRECT_STATUSES:
                raise SourceRefused(
                    "redirects elsewhere; put the URL it leads to into routing.delegated",
                    source_id=self._source_id,
                    status=response.status,
                )
            if response.status != 200:
                raise refusal(response, self._source_id)
            kind = response.getheader("Content-Type", "").partition(";")[0].strip().lower()
            if kind != MEDIA_TYPE:
                return None  # spec: how a router says that it has none
            return connection.read_all(MAX_RECORD_BYTES)
        finally:
            connection.abort()

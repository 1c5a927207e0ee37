"""Asks delegated routers over HTTP, with the proxies and certificates of all our HTTP.

One thread a question, out of a few for each router: one that stalls must not hold up anything or
anybody else. Redirects are not followed, so that a router cannot choose whom we knock at. What is
asked and what becomes of an answer is decided in `routing.delegated`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final

from mirrornode.errors import (
    MirrorError,
    RemoteProtocolError,
    SourceGone,
    SourceRefused,
    SourceTooSlow,
)
from mirrornode.sources.http_client import HttpConnection
from mirrornode.sources.refusal import refusal
from mirrornode.sources.web import REDIRECT_STATUSES, WEB_HEADERS, public_url, split_url
from mirrornode.wire.routing_v1 import (
    JSON_TYPE,
    MAX_ANSWER_BYTES,
    NDJSON_TYPE,
    AnswerReader,
    RoutingRecord,
)

log = logging.getLogger(__name__)

ANSWER_S: Final = 15.0  # for an answer as a whole: what Kubo waits, too
THREADS: Final = 4  # for each router: how many questions it is asked at a time
PIECE_BYTES: Final = 16 * 1024
HEADERS: Final = {**WEB_HEADERS, "Accept": f"{NDJSON_TYPE}, {JSON_TYPE};q=0.9"}

Tell = Callable[["RoutingRecord | MirrorError | None"], None]


class RouterHttp:
    """Speaks HTTP with routers; see `open_router_http`."""

    def __init__(self, *, answer_s: float = ANSWER_S) -> None:
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._answer_s = answer_s

    def close(self) -> None:
        """Take no more questions; those under way end with whoever asked them."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    async def ask(self, url: str, path: str, key: str) -> AsyncGenerator[RoutingRecord, None]:
        """Yield the records of an answer as they come; see `routing.delegated.RouterPort`.

        Closing it early breaks the connection off.
        """
        loop = asyncio.get_running_loop()
        # Unbounded, but a reader takes no more than MAX_RECORDS.
        told: asyncio.Queue[RoutingRecord | MirrorError | None] = asyncio.Queue()

        def tell(word: RoutingRecord | MirrorError | None) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(told.put_nowait, word)

        source_id = f"router:{public_url(url)}"
        endpoint, base, login = split_url(url)
        connection = HttpConnection(endpoint, source_id, read_timeout_s=self._answer_s)
        question = _Question(connection, source_id, base.rstrip("/") + path, login, key)
        deadline = time.monotonic() + self._answer_s
        pool = self._pools.get(url)
        if pool is None:
            pool = self._pools[url] = ThreadPoolExecutor(THREADS, "router")
        thread = loop.run_in_executor(pool, question.run, tell, deadline)
        try:
            while True:
                try:
                    async with asyncio.timeout(deadline - time.monotonic()):
                        word = await told.get()
                except TimeoutError:
                    raise SourceTooSlow(
                        f"did not answer within {self._answer_s:.0f} s", source_id=source_id
                    ) from None
                if word is None:
                    return
                if isinstance(word, MirrorError):
                    raise word
                yield word
        finally:
            thread.cancel()
            connection.abort()


class _Question:
    """One question, in a thread."""

    def __init__(
        self,
        connection: HttpConnection,
        source_id: str,
        target: str,
        login: dict[str, str],
        key: str,
    ) -> None:
        self._connection = connection
        self._source_id = source_id
        self._target = target
        self._login = login
        self._key = key

    def run(self, tell: Tell, deadline: float) -> None:
        """Tell each record, then the error or None."""
        try:
            if self._connection.aborts:
                return  # broken off before it began
            for record in self._records(deadline):
                tell(record)
            tell(None)
        except MirrorError as exc:
            tell(exc)
        except Exception:
            log.exception("router's answer not read source=%s", self._source_id)
            tell(SourceGone("sent what cannot be read", source_id=self._source_id))
        finally:
            self._connection.abort()

    def _records(self, deadline: float) -> Iterator[RoutingRecord]:
        connection = self._connection
        response = connection.request(self._target, {**HEADERS, **self._login})
        if response.status == 404:
            return  # what routers answered for "nobody" before IPIP-0513
        if response.status in REDIRECT_STATUSES:
            raise SourceRefused(
                "redirects elsewhere; put the URL it leads to into routing.delegated",
                source_id=self._source_id,
                status=response.status,
            )
        if response.status != 200:
            raise refusal(response, self._source_id)
        reader = AnswerReader(response.getheader("Content-Type", ""), self._key)
        size_bytes = 0
        while not reader.is_done and (piece := connection.read_some(PIECE_BYTES)):
            size_bytes += len(piece)
            if size_bytes > MAX_ANSWER_BYTES:
                raise RemoteProtocolError(f"answers more than {MAX_ANSWER_BYTES} bytes")
            yield from reader.feed(piece)
            if time.monotonic() > deadline:
                return  # nobody waits for it any more
        yield from reader.finish()


@contextmanager
def open_router_http(*, answer_s: float = ANSWER_S) -> Iterator[RouterHttp]:
    """Yield what asks routers, with threads of its own for the length of the block."""
    http = RouterHttp(answer_s=answer_s)
    try:
        yield http
    finally:
        http.close()

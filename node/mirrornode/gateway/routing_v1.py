"""Delegated Routing V1 over HTTP: `/routing/v1/providers`, `/peers`, `/dht/closest/peers`.

A Kubo or Helia that is pointed here asks with plain GETs and gets JSON, or NDJSON record by record
when it accepts that. What is answered is decided in `routing_v1_answers`; names of IPNS are not
answered here. Read only: nobody can put a record.

Spec: ipfs/specs routing/http-routing-v1.md; IPIP-0476 (closest peers), IPIP-0484 (filters),
IPIP-0513 (nothing found is 200).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from aiohttp import web

from mirrornode.content.cid import Cid
from mirrornode.errors import ContentError, TargetError
from mirrornode.gateway.routing_v1_answers import is_local_asker
from mirrornode.gateway.routing_v1_lookups import Busy
from mirrornode.wire.peer_id import peer_id_to_bytes, peer_id_to_text
from mirrornode.wire.routing_v1 import (
    JSON_TYPE,
    MAX_RECORDS,
    NDJSON_TYPE,
    Filters,
    RoutingRecord,
    parse_filter,
    record_to_json,
)

if TYPE_CHECKING:
    from mirrornode.gateway.routing_v1_answers import RoutingAnswers

Records = AsyncGenerator[RoutingRecord, None]

PREFIX: Final = "/routing/v1"
MAX_KEY_CHARS: Final = 512
MAX_CLOSEST: Final = 20  # spec
MAX_OPEN: Final = 128  # questions at a time
MAX_OPEN_PER_HOST: Final = 32  # Kubo asks for a dozen contents at a time
SETTLE_S: Final = 2.0  # how long a JSON answer waits for more once it has something
RETRY_S: Final = 1

CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, OPTIONS",
    "Access-Control-Allow-Headers": "Accept, Content-Type",
}


class RoutingRoutes:
    """The routes of an application; the caller decides who may reach them."""

    def __init__(self, answers: RoutingAnswers, *, settle_s: float = SETTLE_S) -> None:
        self._answers = answers
        self._settle_s = settle_s
        self._open: Counter[str] = Counter()

    def add_to(self, app: web.Application) -> None:
        """Register the routes; look-ups end with the application."""
        router = app.router
        router.add_get(f"{PREFIX}/providers/{{cid}}", self.providers, allow_head=False)
        router.add_get(f"{PREFIX}/peers/{{peer}}", self.peers, allow_head=False)
        router.add_get(f"{PREFIX}/dht/closest/peers/{{key}}", self.closest, allow_head=False)
        # Routes of others below the prefix are more specific, and so come first.
        router.add_route("*", f"{PREFIX}/{{rest:.*}}", _anything_else)
        app.on_cleanup.append(self._close)

    async def providers(self, request: web.Request) -> web.StreamResponse:
        """Answer who has a CID."""
        text = request.match_info["cid"]
        try:
            cid = Cid.parse(_short(text))
        except (ContentError, TargetError) as exc:
            return _refusal(422, f"not a CID: {exc}")
        return await self._answer(
            request, "Providers", lambda local: self._answers.providers(cid, is_local=local)
        )

    async def peers(self, request: web.Request) -> web.StreamResponse:
        """Answer where a peer is."""
        text = request.match_info["peer"]
        try:
            peer_id = peer_id_to_text(peer_id_to_bytes(text))
        except TargetError as exc:
            return _refusal(422, f"{exc}; it looks like 12D3KooW… or k51…")
        return await self._answer(
            request, "Peers", lambda local: self._answers.peers(peer_id, is_local=local)
        )

    async def closest(self, request: web.Request) -> web.StreamResponse:
        """Answer which DHT servers are near a CID or peer id."""
        text = request.match_info["key"]
        try:
            key = _key(text)
        except (ContentError, TargetError) as exc:
            return _refusal(422, f"neither a CID nor a peer id: {exc}")
        return await self._answer(
            request,
            "Peers",
            lambda local: self._answers.closest(key, is_local=local),
            limit=MAX_CLOSEST,
        )

    async def _answer(
        self,
        request: web.Request,
        key: str,
        find: Callable[[bool], Records],
        limit: int = MAX_RECORDS,
    ) -> web.StreamResponse:
        try:
            filters = Filters(
                parse_filter(request.query.get("filter-addrs", ""), "filter-addrs"),
                parse_filter(request.query.get("filter-protocols", ""), "filter-protocols"),
            )
        except TargetError as exc:
            return _refusal(422, str(exc))
        host = request.remote or ""
        if self._open[host] >= MAX_OPEN_PER_HOST or self._open.total() >= MAX_OPEN:
            return _busy()
        is_local = is_local_asker(host)
        self._open[host] += 1
        try:
            async with aclosing(_wanted(find(is_local), filters, limit)) as records:
                if NDJSON_TYPE in request.headers.get("Accept", "").lower():
                    return await _send_stream(request, records, is_local=is_local)
                return await _send_list(key, records, self._settle_s, is_local=is_local)
        except Busy:
            return _busy()
        finally:
            self._open[host] -= 1
            if not self._open[host]:
                del self._open[host]

    async def _close(self, _: web.Application) -> None:
        await self._answers.close()


async def _wanted(found: Records, filters: Filters, limit: int) -> Records:
    """Yield the records that pass the filters, at most `limit`."""
    told = 0
    async with aclosing(found) as records:
        async for record in records:
            wanted = filters.apply(record)
            if wanted is not None:
                yield wanted
                told += 1
                if told == limit:
                    return


async def _send_list(
    key: str, records: Records, settle_s: float, *, is_local: bool
) -> web.Response:
    """Answer when all is known, or a moment after something is."""
    found: list[RoutingRecord] = []
    loop = asyncio.get_running_loop()
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as patience:
            async for record in records:
                found.append(record)
                if len(found) == 1:
                    patience.reschedule(loop.time() + settle_s)
    body = json.dumps({key: [record_to_json(record) for record in found]})
    headers = _headers(JSON_TYPE, has_records=bool(found), is_local=is_local)
    return web.Response(body=body.encode(), headers=headers)


async def _send_stream(
    request: web.Request, records: Records, *, is_local: bool
) -> web.StreamResponse:
    """Send each record as it turns up; the head waits for the first, it says how long all holds."""
    first = await anext(records, None)
    headers = _headers(NDJSON_TYPE, has_records=first is not None, is_local=is_local)
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    if first is not None:
        await response.write(_line(first))
        async for record in records:
            await response.write(_line(record))
    await response.write_eof()
    return response


def _line(record: RoutingRecord) -> bytes:
    return json.dumps(record_to_json(record), separators=(",", ":")).encode() + b"\n"


def _headers(content_type: str, *, has_records: bool, is_local: bool) -> Mapping[str, str]:
    # A shared cache on this machine must not tell our loopback addresses to others.
    who = "private" if is_local else "public"
    age_s = 300 if has_records else 15
    return {
        **CORS,
        "Content-Type": content_type,
        "Vary": "Accept",
        "Last-Modified": formatdate(usegmt=True),
        "Cache-Control": f"{who}, max-age={age_s}, stale-while-revalidate=172800, "
        "stale-if-error=172800",
        "X-Content-Type-Options": "nosniff",
    }


async def _anything_else(request: web.Request) -> web.Response:
    if request.method == "OPTIONS":
        return web.Response(status=204, headers=CORS)
    if request.method != "GET":
        reason = "this API is only read: nobody can put a record"
        return _refusal(405, reason, {"Allow": "GET, OPTIONS"})
    return _refusal(400, f"{request.path[:200]} is no question of this API: see {PREFIX}/providers")


def _refusal(status: int, reason: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status, text=f"{reason}\n", headers={**CORS, "Vary": "Accept", **(headers or {})}
    )


def _busy() -> web.Response:
    return _refusal(429, "too many questions at a time", {"Retry-After": str(RETRY_S)})


def _key(text: str) -> bytes:
    try:
        return peer_id_to_bytes(text)
    except TargetError:
        return Cid.parse(_short(text)).multihash


def _short(text: str) -> str:
    if len(text) > MAX_KEY_CHARS:
        raise TargetError(f"more than {MAX_KEY_CHARS} characters")
    return text

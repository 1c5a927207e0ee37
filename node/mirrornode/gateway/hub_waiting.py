"""Requests that wait for a file: how long, and what keeps their clients waiting.

The clients of the Hub give up after 10 s of silence. An interim answer (`100 Continue`) is no part
of any answer, and ends the silence: sent every few seconds it lets them wait for as long as the
transfer takes. Only clients that were seen to read it so are sent one, and only where no proxy is
seen in between: proxies have taken it for the answer.

Spec: RFC 9110, 15.2 (a client reads any number of interim answers, also those it did not ask for).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

from aiohttp import HttpVersion11

if TYPE_CHECKING:
    from aiohttp import web

T = TypeVar("T")

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
INTERIM_EVERY_S = 4.0
# Others are not known to give up soon; proxies, and aria2, do after 60 s.
OTHERS_WAIT_S = 50.0

# huggingface_hub 0.24 to 2.x over requests, httpx and httpx2; hf_transfer, which sends the same
# name; aria2 1.36; curl 7.88. Not Node's fetch, to which it is an error, nor Go, which reads five.
_READS_INTERIM = re.compile(r"\bhf_hub/\d|\Aaria2/\d|\Acurl/\d", re.ASCII)
_GIVES_UP_SOON = re.compile(r"\bhf_hub/\d", re.ASCII)
_OF_PROXIES = ("Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP")


def can_be_kept(request: web.Request) -> bool:
    """Tell whether the client of this request is one that `keep` is for."""
    if request.version < HttpVersion11 or any(name in request.headers for name in _OF_PROXIES):
        return False
    return _READS_INTERIM.search(request.headers.get("User-Agent", "")) is not None


async def keep(
    request: web.Request, awaited: Awaitable[T], *, interim_every_s: float = INTERIM_EVERY_S
) -> T:
    """Return what is awaited, however long it takes; no answer may have been begun.

    Raises:
        ConnectionResetError: The client has left.
    """
    waiting = asyncio.ensure_future(awaited)
    try:
        while not (await asyncio.wait([waiting], timeout=interim_every_s))[0]:
            transport = request.transport
            if transport is None or transport.is_closing():
                raise ConnectionResetError("the client has left")
            transport.write(INTERIM)
        return await waiting
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def wait_with(
    request: web.Request,
    proof: Awaitable[None],
    deadline: float,
    *,
    interim_every_s: float = INTERIM_EVERY_S,
    others_wait_s: float = OTHERS_WAIT_S,
) -> bool:
    """Wait for `proof` while the client of this request does; return whether it came.

    Args:
        deadline: Loop time at which a client that cannot be kept waiting must have an answer.

    Raises:
        MirrorError: What `proof` raises.
        ConnectionResetError: The client has left.
    """
    if can_be_kept(request):
        await keep(request, proof, interim_every_s=interim_every_s)
        return True
    if not _GIVES_UP_SOON.search(request.headers.get("User-Agent", "")):
        deadline = max(deadline, asyncio.get_running_loop().time() + others_wait_s)
    try:
        async with asyncio.timeout_at(deadline):
            await proof
    except TimeoutError:
        return False
    return True

"""Names over HTTP: `/routing/v1/ipns/{name}`, where records are fetched and handed in.

GET answers the newest record that this node can find, PUT takes one that somebody has signed and
passes it on. Nothing is believed without its signature, so what a stranger may do is cost us
look-ups and room: PUT is for this machine, unless the configuration opens it.

Spec: ipfs/specs routing/http-routing-v1.md, "IPNS API".
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Final, Protocol

from aiohttp import web

from mirrornode.errors import MirrorError, RemoteProtocolError, TargetError
from mirrornode.wire.ipns import MAX_RECORD_BYTES, MEDIA_TYPE, NANOSECONDS, read_record

MAX_NAME_CHARACTERS: Final = 256
MAX_OPEN: Final = 32  # questions at a time
NONE_MAX_AGE_S: Final = 15
MAX_DATE_S: Final = 253_402_300_799.0  # the last second of 9999, where HTTP dates end
STALE: Final = "stale-while-revalidate=172800, stale-if-error=172800"
PATH: Final = "/routing/v1/ipns/{name}"
CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, OPTIONS",  # no page may hand records in
    "Access-Control-Allow-Headers": "Accept, Content-Type",
}


class NameRecords(Protocol):
    """Finds and takes records: `mirror.ipns.NameResolver`."""

    async def get_record(self, name_text: str) -> bytes | None:
        """Return the newest valid record of a name, None when nobody reachable has one.

        Raises:
            TargetError: Not a name that has records.
        """

    async def put_record(self, name_text: str, binary: bytes) -> int:
        """Take a record and pass it on; return how many keep it.

        Raises:
            TargetError: Not a name that has records.
            RemoteProtocolError: Not to be believed, or older than what is known here.
        """


class IpnsRoutes:
    """The routes of an application; the caller decides who may reach them.

    Args:
        allow_puts: Records may come from other machines as well.
        clock: Unix seconds.
    """

    def __init__(
        self,
        records: NameRecords,
        *,
        allow_puts: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._records = records
        self._allow_puts = allow_puts
        self._clock = clock
        self._open = 0

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        app.router.add_get(PATH, self.get, allow_head=False)
        app.router.add_put(PATH, self.put)
        app.router.add_options(PATH, _options)

    async def get(self, request: web.Request) -> web.Response:
        """Answer with the record of a name."""
        if not _accepts_records(request.headers.get("Accept", "")):
            return _refusal(406, f"records are sent as {MEDIA_TYPE}")
        if self._open >= MAX_OPEN:
            return _refusal(429, "too many questions at a time", {"Retry-After": "1"})
        self._open += 1
        try:
            binary = await self._records.get_record(_name_of(request))
        except TargetError as exc:
            return _refusal(400, str(exc))
        except MirrorError as exc:
            return _refusal(502, str(exc))
        finally:
            self._open -= 1
        if binary is None:
            # Spec: clients know that there is none by the type, not by the status.
            headers = {"Cache-Control": f"public, max-age={NONE_MAX_AGE_S}, {STALE}"}
            return _refusal(200, "no record of this name was found", headers)
        record = read_record(binary)
        end = record.expires_ns / NANOSECONDS
        max_age_s = int(max(0, min(record.ttl_ns / NANOSECONDS, end - self._clock())))
        headers = {
            **CORS,
            "Vary": "Accept",
            "Cache-Control": f"public, max-age={max_age_s}, {STALE}",
            "Etag": f'"{record.sequence}-{record.expires_ns}"',
            "Expires": formatdate(min(end, MAX_DATE_S), usegmt=True),
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(body=binary, content_type=MEDIA_TYPE, headers=headers)

    async def put(self, request: web.Request) -> web.Response:
        """Take a record."""
        if not self._allow_puts and not _is_local(request.remote):
            return _refusal(403, "records are taken from this machine only (ipns.allow_puts)")
        if request.content_type != MEDIA_TYPE:
            return _refusal(406, f"records are sent as {MEDIA_TYPE}")
        if self._open >= MAX_OPEN:
            return _refusal(429, "too many questions at a time", {"Retry-After": "1"})
        self._open += 1
        try:
            # One byte more than a record may have: verifying refuses that.
            binary = await _read_at_most(request, MAX_RECORD_BYTES + 1)
            await self._records.put_record(_name_of(request), binary)
        except (TargetError, RemoteProtocolError) as exc:
            return _refusal(400, str(exc))
        except MirrorError as exc:
            return _refusal(502, str(exc))
        finally:
            self._open -= 1
        return web.Response(status=200, headers=CORS)


async def _read_at_most(request: web.Request, limit_bytes: int) -> bytes:
    binary = b""
    while len(binary) < limit_bytes and (piece := await request.content.read(limit_bytes)):
        binary += piece
    return binary[:limit_bytes]


async def _options(request: web.Request) -> web.Response:
    return web.Response(status=204, headers=CORS)


def _name_of(request: web.Request) -> str:
    name = request.match_info["name"]
    if len(name) > MAX_NAME_CHARACTERS:
        raise TargetError(f"a name of more than {MAX_NAME_CHARACTERS} characters")
    return name


def _accepts_records(accept: str) -> bool:
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return not accept or not kinds.isdisjoint({MEDIA_TYPE, "*/*", "application/*"})


def _is_local(remote: str | None) -> bool:
    try:
        address = ipaddress.ip_address(remote or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _refusal(status: int, reason: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status, text=f"{reason}\n", headers={**CORS, "Vary": "Accept", **(headers or {})}
    )

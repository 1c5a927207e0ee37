"""Starting and stopping our HTTP listeners: addresses, ports that are taken, limits.

A default port that is taken is replaced by a free one, so that a second node on a machine just
works; a port the user named is an error instead.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from mirrornode.errors import ConfigError
from mirrornode.sources.round_trip import round_trip_s

if TYPE_CHECKING:
    import ssl

BACKLOG = 256
MAX_HEADER_BYTES = 16 * 1024
KEEPALIVE_S = 75.0
SHUTDOWN_S = 2.0
LAN_ROUND_TRIP_S = 0.005


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; `is_default` allows another port when this one is taken."""

    host: str
    port: int
    is_default: bool


def parse_address(text: str, key: str, default_host: str, default_port: int) -> Address:
    """Return the address of a `host:port` setting, or the default for an empty one.

    Raises:
        ConfigError: Not `host:port`.
    """
    if not text:
        return Address(default_host, default_port, is_default=True)
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not _is_port(port):
        raise ConfigError(f"{key} = {text!r}: give HOST:PORT, for example 127.0.0.1:0", key=key)
    return Address(host, int(port), is_default=False)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535


def bind(address: Address, key: str) -> socket.socket:
    """Return a listening TCP socket.

    Raises:
        ConfigError: The address cannot be used.
    """
    try:
        return _bind(address.host, address.port)
    except (OSError, UnicodeError) as exc:
        if address.is_default and address.port:
            return bind(Address(address.host, 0, is_default=True), key)
        reason = getattr(exc, "strerror", None) or str(exc)
        raise ConfigError(
            f"cannot listen on {address.host}:{address.port} ({key}): {reason}", key=key
        ) from exc


def _bind(host: str, port: int) -> socket.socket:
    family, _, _, _, place = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(place)
        # At once: of two that are bound to one port, only the first to listen gets it.
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def tune_for_lan(sock: socket.socket) -> None:
    """Use a congestion control that suits a LAN for an accepted connection from one.

    BBR, the default of many servers, paces: on loopback it moves 22 % less for 2.7 times the CPU.
    On a long line that loses packets it is the other way round, many times over, so there the
    system's choice stays.
    """
    option = getattr(socket, "TCP_CONGESTION", None)
    round_trip = round_trip_s(sock)
    if option is None or round_trip is None or round_trip > LAN_ROUND_TRIP_S:
        return  # not Linux, or not a LAN
    for name in (b"cubic", b"reno"):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, option, name)
        except OSError:
            continue  # not loaded, or not allowed to this user
        return


@asynccontextmanager
async def listening(
    app: web.Application, sock: socket.socket, context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve `app` on a bound socket for the length of the block; yields the port (0 for Unix)."""
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=KEEPALIVE_S,
        max_field_size=MAX_HEADER_BYTES,
        shutdown_timeout=SHUTDOWN_S,
        handler_cancellation=True,
        auto_decompress=False,
    )
    await runner.setup()
    try:
        site = web.SockSite(runner, sock, ssl_context=context, backlog=BACKLOG)
        await site.start()
        name = sock.getsockname()
        yield name[1] if isinstance(name, tuple) else 0
    finally:
        async with asyncio.timeout(SHUTDOWN_S + 3):
            await runner.cleanup()

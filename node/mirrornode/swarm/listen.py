"""Opens the TCP listeners of the swarm. Accepting on them is the business of `island`."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from mirrornode.errors import ConfigError
from mirrornode.swarm.addresses import TcpAddress


async def open_listeners(
    wanted: Sequence[TcpAddress], fallback: Sequence[TcpAddress]
) -> list[trio.SocketListener]:
    """Listen on all of `wanted`, or, when that fails, on all of `fallback` if there are any.

    Raises:
        ConfigError: An address is taken, not of this machine, or not allowed; names it.
    """
    try:
        return await _open_all(wanted)
    except ConfigError:
        if not fallback:
            raise
        return await _open_all(fallback)


def name_of(listener: trio.SocketListener) -> TcpAddress:
    """Return the address that a listener has got, with its real port."""
    return TcpAddress.of_socket(*listener.socket.getsockname()[:2])


async def _open_all(addresses: Sequence[TcpAddress]) -> list[trio.SocketListener]:
    """Open all listeners or none."""
    opened: list[trio.SocketListener] = []
    for address in addresses:
        try:
            opened += await trio.open_tcp_listeners(address.port, host=address.host)
        except OSError as exc:
            for listener in opened:
                listener.socket.close()
            raise ConfigError(
                f"cannot listen on {address}: {exc.strerror or exc}", key="swarm.listen"
            ) from exc
    return opened

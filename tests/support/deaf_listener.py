"""An address that swallows connection attempts without a word, as a broken route does."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from mirrornode.sources.dialing import Address


@contextlib.contextmanager
def deaf_address(host: str = "127.0.0.1") -> Iterator[Address]:
    """Yield an address whose listener's queue is full: handshakes get no answer."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.bind((host, 0))
        listener.listen(0)
        place = listener.getsockname()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket(family))
            waiting.setblocking(False)
            waiting.connect_ex(place)
        yield (family, socket.SOCK_STREAM, 0, "", place)


def address_of(port: int, host: str = "127.0.0.1") -> Address:
    """Return the address of a TCP port, as the system's resolver would."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return (family, socket.SOCK_STREAM, 0, "", (host, port))

"""Connect to whichever address of a host answers first: RFC 8305, "Happy Eyeballs" version 2.

A host with a broken IPv6 route swallows connection attempts without a word. So the addresses are
tried in turn, families alternating, a new one every `ATTEMPT_DELAY_S` while the earlier ones are
still under way; the first that connects wins. Names are looked up in a thread of their own,
because `getaddrinfo` cannot be broken off. No TLS and no proxies here.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

ATTEMPT_DELAY_S: Final = 0.25  # RFC 8305 section 5, "Connection Attempt Delay"
MAX_ADDRESSES: Final = 16  # a name may list any number; these are tried

Address = tuple[int, int, int, str, Any]
"""As `socket.getaddrinfo` gives it: family, kind, protocol, canonical name, place."""

Resolve = Callable[[str, int], Sequence[Address]]
"""Blocking; raises `OSError` (`socket.gaierror`) for a name that has no address."""


class DialBrokenOff(OSError):
    """`Dial.abort` was called."""


def look_up(host: str, port: int) -> Sequence[Address]:
    """Return the stream addresses of a host, in the order the system prefers."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Dial:
    """One attempt to reach a host; `abort` may come from any thread at any time."""

    def __init__(self, resolve: Resolve = look_up) -> None:
        self._resolve = resolve
        self._lock = threading.Lock()  # guards the three below
        self._sockets: list[socket.socket] = []
        self._answers: queue.SimpleQueue[Sequence[Address] | OSError | UnicodeError | None] = (
            queue.SimpleQueue()
        )
        self._is_broken_off = False

    def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """Return a connected, blocking socket whose timeout is `timeout_s`.

        Raises:
            OSError: No address answers; `TimeoutError` when `timeout_s` is over for all of them,
                `socket.gaierror` when there is none, `DialBrokenOff` after `abort`.
            UnicodeError: The host is no name.
        """
        deadline = time.monotonic() + timeout_s
        addresses = in_turn(self._addresses(host, port, deadline))
        try:
            sock = self._race(addresses, host, deadline)
        finally:
            with self._lock:
                losers, self._sockets = self._sockets, []
            for loser in losers:
                loser.close()
        sock.settimeout(timeout_s)
        return sock

    def abort(self) -> None:
        """Break off at once."""
        with self._lock:
            self._is_broken_off = True
            self._answers.put(None)
            for sock in self._sockets:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _addresses(self, host: str, port: int, deadline: float) -> Sequence[Address]:
        if _is_literal(host):
            return self._resolve(host, port)

        def work() -> None:
            try:
                self._answers.put(self._resolve(host, port))
            except (OSError, UnicodeError) as exc:
                self._answers.put(exc)

        threading.Thread(target=work, name="resolve", daemon=True).start()
        try:
            answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise socket.gaierror(
                socket.EAI_AGAIN, "the name servers do not answer"
            ) from TimeoutError()
        if answer is None:
            raise DialBrokenOff(errno.ECONNABORTED, "broken off")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _race(self, addresses: Sequence[Address], host: str, deadline: float) -> socket.socket:
        failure: OSError = socket.gaierror(socket.EAI_NONAME, f"{host} has no address")
        waiting = list(reversed(addresses))
        next_at = time.monotonic()
        with selectors.DefaultSelector() as selector:
            while waiting or selector.get_map():
                now = time.monotonic()
                if now >= deadline:
                    raise TimeoutError
                if waiting and (now >= next_at or not selector.get_map()):
                    try:
                        selector.register(self._begin(waiting.pop()), selectors.EVENT_WRITE)
                    except DialBrokenOff:
                        raise
                    except OSError as exc:
                        failure = exc  # no route, or a family that this machine lacks
                        continue
                    next_at = now + ATTEMPT_DELAY_S
                until = min(next_at, deadline) if waiting else deadline
                for key, _ in selector.select(max(0.0, until - now)):
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if self._take(sock, is_wanted=not code):
                        return sock
                    failure = OSError(code, os.strerror(code))
                    selector.unregister(sock)
                    sock.close()
                    next_at = 0.0  # its successor need not wait
        raise failure

    def _begin(self, address: Address) -> socket.socket:
        family, kind, protocol, _, place = address
        sock = socket.socket(family, kind, protocol)
        with self._lock:
            if self._is_broken_off:
                sock.close()
                raise DialBrokenOff(errno.ECONNABORTED, "broken off")
            self._sockets.append(sock)
        sock.setblocking(False)
        code = sock.connect_ex(place)
        if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            self._take(sock, is_wanted=False)
            sock.close()
            raise OSError(code, os.strerror(code))
        return sock

    def _take(self, sock: socket.socket, *, is_wanted: bool) -> bool:
        """Take a socket out of the race; return whether it is to be used."""
        with self._lock:
            if self._is_broken_off:
                raise DialBrokenOff(errno.ECONNABORTED, "broken off")
            self._sockets.remove(sock)
            return is_wanted


def in_turn(addresses: Sequence[Address]) -> list[Address]:
    """Return the addresses with families alternating, each family in its order (section 4)."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    longest = max(map(len, families.values()), default=0)
    mixed = [group[at] for at in range(longest) for group in families.values() if at < len(group)]
    return mixed[:MAX_ADDRESSES]


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

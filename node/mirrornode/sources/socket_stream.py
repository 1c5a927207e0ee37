"""A connected socket as `http.client` reads it: counts what arrives, bounds how long it may take.

`http.client` wants a socket's `makefile` and `sendall`. Reading through a stream of ours instead
costs nothing (the standard library's own reader is Python as well) and shows every receive: on a
line of 1 KB/s that is the only sign of life for minutes. It knows nothing of HTTP.
"""

from __future__ import annotations

import contextlib
import io
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket


class SocketStream:
    """A blocking, connected socket (TLS or not) that belongs to this object from now on.

    Attributes:
        received_bytes: What arrived while `is_counting`.
        is_counting: Set while a body is read: heads and error pages are no sign of life.
        deadline: Monotonic seconds after which reading fails; None for the socket's timeout only.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._readers = 0
        self._is_closing = False
        self.received_bytes = 0
        self.is_counting = False
        self.deadline: float | None = None

    def read_into(self, view: memoryview) -> int:
        """Fill `view` with what is there, waiting for the first byte; 0 at the end.

        Raises:
            TimeoutError: Nothing came in the socket's timeout, or not all before `deadline`.
        """
        return self._receive_into(view)

    def sendall(self, payload: bytes) -> None:
        """Send all of `payload`."""
        self._sock.sendall(payload)

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a reader for one response; closing it leaves the connection open."""
        assert mode == "rb"
        self._readers += 1
        return io.BufferedReader(_Reader(self))

    def settimeout(self, timeout_s: float | None) -> None:
        """Set how long one receive may wait."""
        self._sock.settimeout(timeout_s)

    def close(self) -> None:
        """Close the connection, after the response that is still being read from it."""
        self._is_closing = True
        if not self._readers:
            with contextlib.suppress(OSError):
                self._sock.close()

    def reader_closed(self) -> None:
        """Note that a response is at its end."""
        self._readers -= 1
        if self._is_closing:
            self.close()

    def _receive_into(self, view: memoryview) -> int:
        count = self._receive_raw(view)
        if self.is_counting:
            self.received_bytes += count
        return count

    def _receive_raw(self, view: memoryview) -> int:
        if self.deadline is not None and time.monotonic() > self.deadline:
            # Bytes that trickle in would never run into the socket's timeout.
            raise TimeoutError
        return self._sock.recv_into(view)


class _Reader(io.RawIOBase):
    """What a response is read through."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._stream.reader_closed()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # always a buffer
        return self._stream.read_into(memoryview(buffer))

"""A connection of sealed frames, for either side: opened straight into the caller's buffer.

It goes on where two nodes left TLS (`wire.sealed`), on the same socket, and looks to `http.client`
and to the standard library's HTTP server as that did.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from mirrornode.buffers import page_aligned
from mirrornode.errors import RemoteProtocolError
from mirrornode.sources.socket_stream import SocketStream
from mirrornode.wire.sealed import HEAD_BYTES, MAX_FRAME_BYTES, MAX_PLAIN_BYTES, TAG_BYTES

if TYPE_CHECKING:
    import socket

    from mirrornode.wire.sealed import Opener, Sealer


class SealedStream(SocketStream):
    """One side of a sealed connection over a connected, blocking socket."""

    def __init__(self, sock: socket.socket, sealer: Sealer, opener: Opener) -> None:
        super().__init__(sock)
        self._sealer = sealer
        self._opener = opener
        self._to_send = memoryview(b"")  # made when it is known how large frames become
        # A frame's body lies on a page boundary; the head of the next one may lie behind it.
        self._received = page_aligned(MAX_FRAME_BYTES)
        self._head = bytearray()
        self._opened = memoryview(b"")  # what a reader had no room for
        self._spare = memoryview(b"")

    def read_into(self, view: memoryview) -> int:
        """Fill `view` with one frame or the rest of one; 0 at the end.

        Raises:
            ConnectionAbortedError: What came is not what the other side sealed.
        """
        if not self._opened:
            body = self._next_body()
            if body is None:
                return 0
            size = len(body) - TAG_BYTES
            try:
                if size <= len(view):
                    self._opener.open(body, view[:size])
                    return size
                if not self._spare:
                    self._spare = page_aligned(MAX_PLAIN_BYTES)
                self._opener.open(body, self._spare[:size])
            except RemoteProtocolError as exc:
                raise ConnectionAbortedError(str(exc)) from exc
            self._opened = self._spare[:size]
        taken, self._opened = self._opened[: len(view)], self._opened[len(view) :]
        view[: len(taken)] = taken
        return len(taken)

    def sendall(self, payload: bytes | memoryview) -> None:
        """Seal and send all of `payload`."""
        view = memoryview(payload)
        needed = HEAD_BYTES + min(len(view), MAX_PLAIN_BYTES) + TAG_BYTES
        if len(self._to_send) < needed:
            self._to_send = page_aligned(needed)
        for start in range(0, len(view), MAX_PLAIN_BYTES):
            plain = view[start : start + MAX_PLAIN_BYTES]
            self._sock.sendall(self._sealer.seal(plain, self._to_send))

    def writer(self) -> io.BufferedIOBase:
        """Return a file that seals what is written to it; closing it leaves the connection open."""
        return _Writer(self)

    def _next_body(self) -> memoryview | None:
        """Receive the next frame; None when the other side has closed."""
        received, head = self._received, self._head
        while len(head) < HEAD_BYTES:
            count = self._receive_into(received[: HEAD_BYTES - len(head)])
            if not count:
                return None
            head += received[:count]
        try:
            size = self._opener.body_bytes(head)
        except RemoteProtocolError as exc:
            raise ConnectionAbortedError(str(exc)) from exc
        filled = 0
        while filled < size:
            count = self._receive_into(received[filled : size + HEAD_BYTES])
            if not count:
                return None
            filled += count
        self._head = bytearray(received[size:filled])
        return received[:size]


class _Writer(io.BufferedIOBase):
    """What an HTTP server writes its answers to."""

    def __init__(self, stream: SealedStream) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, payload: bytes) -> int:  # type: ignore[override]  # always bytes
        self._stream.sendall(payload)
        return len(payload)

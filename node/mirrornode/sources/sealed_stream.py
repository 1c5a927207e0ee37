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
from mirrornode.wire.sealed import (
    HEAD_BYTES,
    MAX_ANSWER_BYTES,
    MAX_QUESTION_BYTES,
    TAG_BYTES,
    Opener,
    Sealer,
    derive_keys,
)

if TYPE_CHECKING:
    import socket

LIFE_BYTES = 64  # of a frame on its way: counted as one byte, which shows that something comes


class SealedStream(SocketStream):
    """One side of a sealed connection over a connected, blocking socket."""

    def __init__(
        self, sock: socket.socket, asker_secret: bytes, answerer_secret: bytes, *, is_asker: bool
    ) -> None:
        """Derive the keys; `sock` belongs to the stream from now on."""
        super().__init__(sock)
        to_answerer, to_asker = derive_keys(asker_secret, answerer_secret)
        if is_asker:
            self._sealer, self._opener = Sealer(to_answerer), Opener(to_asker, MAX_ANSWER_BYTES)
            self._most_sent = MAX_QUESTION_BYTES
        else:
            self._sealer, self._opener = Sealer(to_asker), Opener(to_answerer, MAX_QUESTION_BYTES)
            self._most_sent = MAX_ANSWER_BYTES
        self._to_send = memoryview(b"")  # made when it is known how large frames become
        # A frame's body lies on a page boundary; the head of the next one may lie behind it.
        self._received = page_aligned(self._opener.max_plain_bytes + TAG_BYTES + HEAD_BYTES)
        self._head = bytearray()
        self._opened = memoryview(b"")  # what a reader had no room for
        self._spare = memoryview(b"")
        self._is_broken = False

    def read_into(self, view: memoryview) -> int:
        """Fill `view` with one frame or the rest of one; 0 at the end.

        What is counted as received are bytes that lie in `view`: of a frame that is not complete
        none does, and whoever looks there must not find less than was counted.

        Raises:
            ConnectionAbortedError: What came is not what the other side sealed, or ends in the
                middle of a frame; or that, or a timeout, has happened before.
        """
        if self._is_broken:
            raise ConnectionAbortedError("a sealed connection that has failed")
        counted = self.received_bytes
        self._is_broken = True  # until all has gone well: nobody reads on behind a lost frame
        try:
            count = self._opened_into(view)
        except RemoteProtocolError as exc:
            raise ConnectionAbortedError(str(exc)) from exc
        self._is_broken = False
        if self.is_counting:
            self.received_bytes = counted + count
        return count

    def sendall(self, payload: bytes | memoryview) -> None:
        """Seal and send all of `payload`."""
        view = memoryview(payload)
        needed = HEAD_BYTES + min(len(view), self._most_sent) + TAG_BYTES
        if len(self._to_send) < needed:
            self._to_send = page_aligned(needed)
        for start in range(0, len(view), self._most_sent):
            plain = view[start : start + self._most_sent]
            self._sock.sendall(self._sealer.seal(plain, self._to_send))

    def writer(self) -> io.BufferedIOBase:
        """Return a file that seals what is written to it; closing it leaves the connection open."""
        return _Writer(self)

    def _opened_into(self, view: memoryview) -> int:
        if not self._opened:
            body = self._next_body()
            if body is None:
                return 0
            size = len(body) - TAG_BYTES
            if size <= len(view):
                self._opener.open(body, view[:size])
                return size
            if not self._spare:
                self._spare = page_aligned(self._opener.max_plain_bytes)
            self._opener.open(body, self._spare[:size])
            self._opened = self._spare[:size]
        taken, self._opened = self._opened[: len(view)], self._opened[len(view) :]
        view[: len(taken)] = taken
        return len(taken)

    def _next_body(self) -> memoryview | None:
        """Receive the next frame; None when the other side has closed after the one before it."""
        received, head = self._received, self._head
        while len(head) < HEAD_BYTES:
            count = self._receive_raw(received[: HEAD_BYTES - len(head)])
            if not count:
                if head:
                    raise RemoteProtocolError("a sealed frame was cut off")
                return None
            head += received[:count]
        size = self._opener.body_bytes(head)
        filled, counted = 0, self.received_bytes
        while filled < size:
            count = self._receive_raw(received[filled : size + HEAD_BYTES])
            if not count:
                raise RemoteProtocolError("a sealed frame was cut off")
            filled += count
            if self.is_counting:
                self.received_bytes = counted + filled // LIFE_BYTES
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

"""TLS to a peer for bulk reading: large receives, decrypted straight into the caller's buffer.

`ssl.SSLSocket` asks the kernel twice for every record of 16 KiB and climbs three Python frames for
each. Here the socket is read in pieces of 256 KiB into OpenSSL's memory BIO and decrypted from
there. It looks enough like a socket for `http.client`.
"""

from __future__ import annotations

import contextlib
import io
import ssl
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket

from mirrornode.buffers import page_aligned

RECEIVE_BYTES: Final = 256 * 1024


class TlsStream:
    """The client side of one TLS connection over a connected, blocking socket."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        """Do the handshake; `sock` belongs to the stream from now on.

        Raises:
            OSError: The handshake failed, `TimeoutError` included.
        """
        self._sock = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        self._received = page_aligned(RECEIVE_BYTES)
        self._readers = 0
        self._is_closing = False
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._receive()
        self._flush()

    def certificate(self) -> bytes:
        """Return the other side's certificate, DER."""
        return self._tls.getpeercert(binary_form=True) or b""

    def read_into(self, view: memoryview) -> int:
        """Fill `view` with what is there, waiting for the first byte; 0 at the end."""
        filled, read = 0, self._tls.read
        while filled < len(view):
            try:
                count = int(read(len(view) - filled, view[filled:]))  # with a buffer: a count
            except ssl.SSLWantReadError:
                if filled:
                    break
                self._receive()
                continue
            except ssl.SSLZeroReturnError:
                break
            if not count:
                break
            filled += count
        return filled

    # What `http.client` needs of a socket.

    def sendall(self, payload: bytes) -> None:
        """Encrypt and send all of `payload`."""
        self._tls.write(payload)
        self._flush()

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a reader for one response; closing it leaves the connection open."""
        assert mode == "rb"
        self._readers += 1
        return io.BufferedReader(_Reader(self))

    def settimeout(self, timeout_s: float | None) -> None:
        self._sock.settimeout(timeout_s)

    def shutdown(self, how: int) -> None:
        """Wake a thread that waits in `read_into`; may be called from any."""
        self._sock.shutdown(how)

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

    def _flush(self) -> None:
        payload = self._outgoing.read()
        if payload:
            self._sock.sendall(payload)

    def _receive(self) -> None:
        count = self._sock.recv_into(self._received)
        if count:
            self._incoming.write(self._received[:count])
        else:
            self._incoming.write_eof()


class _Reader(io.RawIOBase):
    """What a response is read through."""

    def __init__(self, stream: TlsStream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._stream.reader_closed()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # always a buffer
        return self._stream.read_into(memoryview(buffer))

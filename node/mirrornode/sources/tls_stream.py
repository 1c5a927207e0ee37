"""TLS to a peer for bulk reading: large receives, decrypted straight into the caller's buffer.

`ssl.SSLSocket` asks the kernel twice for every record of 16 KiB and climbs three Python frames for
each. Here the socket is read in pieces of 256 KiB into OpenSSL's memory BIO and decrypted from
there. It looks enough like a socket for `http.client`.
"""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket

from mirrornode.buffers import page_aligned
from mirrornode.sources.socket_stream import SocketStream

RECEIVE_BYTES: Final = 256 * 1024


class TlsStream(SocketStream):
    """The client side of one TLS connection over a connected, blocking socket."""

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, handshake_timeout_s: float
    ) -> None:
        """Do the handshake; `sock` belongs to the stream from now on.

        Raises:
            OSError: The handshake failed, `TimeoutError` included.
        """
        super().__init__(sock)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        self._received = page_aligned(RECEIVE_BYTES)
        self.deadline = time.monotonic() + handshake_timeout_s
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._receive()
        self._flush()
        self.deadline = None

    def certificate(self) -> bytes:
        """Return the other side's certificate, DER."""
        return self._tls.getpeercert(binary_form=True) or b""

    def leave(self) -> socket.socket:
        """Return the socket, to go on without TLS; the stream is of no use afterwards."""
        return self._sock

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

    def sendall(self, payload: bytes) -> None:
        """Encrypt and send all of `payload`."""
        self._tls.write(payload)
        self._flush()

    def _flush(self) -> None:
        payload = self._outgoing.read()
        if payload:
            self._sock.sendall(payload)

    def _receive(self) -> None:
        count = self._receive_into(self._received)
        if count:
            self._incoming.write(self._received[:count])
        else:
            self._incoming.write_eof()

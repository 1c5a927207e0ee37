"""A Noise connection after its handshake: the same bytes as py-libp2p's session, in larger steps.

The library reads two bytes, then one message, with a system call or more for each, and sends every
message by itself. Here the socket is read in pieces of 256 KiB and all messages in one are opened
together; what is written leaves in one call. Keys and nonces stay in the library's cipher states.
Measured at a fetch from Kubo: 23,000 reads of the socket became a tenth of that.
Spec: libp2p noise/README.md, "Wire format".
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, cast

import trio
from cryptography.exceptions import InvalidTag
from libp2p.io.exceptions import ConnectionClosedError, IOException

if TYPE_CHECKING:
    from libp2p.security.noise.io import NoiseTransportReadWriter
    from libp2p.security.secure_session import SecureSession

READ_BYTES = 256 * 1024
MAX_PLAIN_BYTES = 65535 - 16  # of one message: its tag counts against the length's two bytes


class NoisePipe:
    """What the multiplexer reads and writes. One reader and one writer at a time."""

    def __init__(self, session: SecureSession, stream: trio.SocketStream) -> None:
        """Take over a session that nothing has been read from or written to."""
        self.is_initiator = session.is_initiator
        self._session = session
        self._stream = stream
        # The handshake makes sessions of this kind only.
        sealed = cast("NoiseTransportReadWriter", session.conn)
        state = sealed.noise_state.noise_protocol
        self._opening = state.cipher_state_decrypt
        self._sealing = state.cipher_state_encrypt
        self._wire = bytearray()
        self._plain: deque[bytes] = deque()
        self._plain_bytes = 0

    async def read(self, n: int | None = None) -> bytes:
        """Return exactly `n` bytes; without `n` what comes next.

        Raises:
            ConnectionClosedError: The peer or we closed the connection.
            IOException: Somebody tampered with the bytes.
        """
        while not self._plain or (n is not None and self._plain_bytes < n):
            await self._receive()
        first = self._plain[0]
        if n is None or len(first) == n:
            self._plain.popleft()
            self._plain_bytes -= len(first)
            return first
        self._plain_bytes -= n
        if len(first) > n:
            self._plain[0] = first[n:]
            return first[:n]
        parts = []
        while n:
            part = self._plain.popleft()
            if len(part) > n:
                self._plain.appendleft(part[n:])
                part = part[:n]
            parts.append(part)
            n -= len(part)
        return b"".join(parts)

    async def read_all(self) -> list[bytes]:
        """Return what has come since the last read, one message at least; raises as `read`."""
        while not self._plain:
            await self._receive()
        plain = list(self._plain)
        self._plain.clear()
        self._plain_bytes = 0
        return plain

    async def write(self, data: bytes) -> None:
        """Send everything; raises as `read`. Cancelling it breaks the connection."""
        view, sealed = memoryview(data), []
        for start in range(0, len(view), MAX_PLAIN_BYTES):
            message = self._sealing.encrypt_with_ad(None, view[start : start + MAX_PLAIN_BYTES])
            sealed += [len(message).to_bytes(2, "big"), message]
        try:
            await self._stream.send_all(b"".join(sealed))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise ConnectionClosedError("the connection is closed", transport="tcp") from exc

    async def close(self) -> None:
        """Close the socket."""
        await self._stream.aclose()

    async def _receive(self) -> None:
        """Read once from the socket and open every message that is complete."""
        try:
            chunk = await self._stream.receive_some(READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise ConnectionClosedError("the connection is closed", transport="tcp") from exc
        if not chunk:
            raise ConnectionClosedError("the connection is closed", transport="tcp")
        self._wire += chunk
        at, end = 0, len(self._wire)
        with memoryview(self._wire) as wire:
            while end - at >= 2:
                stop = at + 2 + int.from_bytes(wire[at : at + 2], "big")
                if stop > end:
                    break
                try:
                    plain = self._opening.decrypt_with_ad(None, wire[at + 2 : stop])
                except (InvalidTag, ValueError) as exc:
                    raise IOException("a Noise message does not open") from exc
                if plain:
                    self._plain.append(plain)
                    self._plain_bytes += len(plain)
                at = stop
        del self._wire[:at]

"""Length-prefixed frames on a byte stream: uvarint length, then that many bytes.

The framing of Kademlia, identify, Bitswap and multistream-select messages, and of our own
protocols. Pure: bytes in, frames out; who reads and writes the stream is not known here.
Spec: libp2p "Protobuf messages are prefixed with their length as an unsigned varint";
multiformats/unsigned-varint for the minimal form.
"""

from __future__ import annotations

from mirrornode.content.varint import encode_uvarint
from mirrornode.errors import RemoteProtocolError
from mirrornode.wire.byte_queue import Buffer, ByteQueue

MAX_PREFIX_BYTES = 5  # 35 bits of length: no frame that we accept comes near it


def encode_frame(payload: bytes) -> bytes:
    """Return `payload` with its length before it."""
    return encode_uvarint(len(payload)) + payload


class FrameDecoder:
    """Cuts the bytes of one stream direction into frames.

    Driven by: whoever reads the stream calls `feed` with what arrived and then `next_frame` until
    it returns None. The limit is given per frame, because one stream may carry a negotiation of
    short lines first and large messages later. It holds what was fed and not yet taken; the
    reader keeps that small by taking frames before it reads on.
    """

    def __init__(self) -> None:
        self._arrived = ByteQueue()
        self._prefix: tuple[int, int] | None = None  # of the next frame: its length, and its own

    @property
    def is_empty(self) -> bool:
        """True between two frames: an end of stream here is a clean one."""
        return not self._arrived.size

    def feed(self, chunk: Buffer) -> None:
        """Add bytes that arrived; a view must stay as it is until they are taken."""
        self._arrived.add(chunk)

    def feed_all(self, chunks: ByteQueue) -> int:
        """Take over all that arrived, without copying it, and return how many bytes that were."""
        return self._arrived.take_all(chunks)

    def next_frame(self, max_bytes: int) -> bytes | None:
        """Return the next whole frame, or None when more bytes are needed.

        Raises:
            RemoteProtocolError: The length is more than `max_bytes` or is not a minimal uvarint.
                It is raised as soon as the prefix is there, before the body is.
        """
        prefix = self._checked_prefix(max_bytes)
        if prefix is None or self._arrived.size < prefix[0] + prefix[1]:
            return None
        self._prefix = None
        self._arrived.take(prefix[1])
        return self._arrived.take(prefix[0])

    def next_length(self, max_bytes: int) -> int | None:
        """Return the length of the next frame as soon as it is known; raises as `next_frame`."""
        prefix = self._checked_prefix(max_bytes)
        return None if prefix is None else prefix[0]

    def take_exactly(self, size_bytes: int) -> bytes | None:
        """Return the next `size_bytes` raw bytes, or None when they have not all arrived."""
        if self._arrived.size < size_bytes:
            return None
        return self._arrived.take(size_bytes)

    def _checked_prefix(self, max_bytes: int) -> tuple[int, int] | None:
        prefix = self._prefix
        if prefix is None:
            prefix = self._prefix = _read_prefix(self._arrived.peek(MAX_PREFIX_BYTES))
        if prefix is not None and prefix[0] > max_bytes:
            raise RemoteProtocolError(
                f"a frame of {prefix[0]} bytes, at most {max_bytes} are allowed"
            )
        return prefix


def _read_prefix(start: bytes) -> tuple[int, int] | None:
    """Return the length that a prefix says and its own, or None while it is not all there."""
    value = 0
    for index, byte in enumerate(start):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if byte == 0 and index:
                raise RemoteProtocolError("a frame length is not written in its shortest form")
            return value, index + 1
    if len(start) == MAX_PREFIX_BYTES:
        raise RemoteProtocolError("a frame length is longer than five bytes")
    return None

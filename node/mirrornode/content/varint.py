"""Unsigned LEB128 integers as multiformats and protobuf write them.

Decoding is strict in the multiformats sense: minimal length, at most nine bytes (63 bits). Protobuf
fields that may be larger (a negative mtime) are read by `unixfs` itself.
Spec: multiformats/unsigned-varint.
"""

from __future__ import annotations

from mirrornode.errors import ContentError, MalformedNode

MAX_UVARINT_BYTES = 9  # multiformats/unsigned-varint: 63 bits are enough for everybody


def encode_uvarint(value: int) -> bytes:
    """Return the minimal encoding of `value`, which is in [0, 2**64)."""
    assert value >= 0, "a uvarint is not negative"
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def uvarint_size(value: int) -> int:
    """Return how many bytes `encode_uvarint(value)` has."""
    return (value.bit_length() + 6) // 7 or 1


def decode_uvarint(
    data: bytes | memoryview, start: int = 0, *, error: type[ContentError] = MalformedNode
) -> tuple[int, int]:
    """Read one integer at `start`; return it and the offset after it.

    Raises:
        ContentError: Of type `error`: truncated, longer than nine bytes, or not minimal.
    """
    value = shift = 0
    for offset in range(start, min(start + MAX_UVARINT_BYTES, len(data))):
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise error("an integer is not written in its shortest form")
            return value, offset + 1
        shift += 7
    if len(data) - start >= MAX_UVARINT_BYTES:
        raise error("an integer is longer than nine bytes")
    raise error("the bytes end inside an integer")

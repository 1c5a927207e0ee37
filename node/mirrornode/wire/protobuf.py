"""The protobuf wire format, as much of it as libp2p's messages use.

Reads and writes tagged fields with bounds on every length and count; messages themselves (kad,
bitswap) are in their own modules. It knows no schemas, no groups and no packed fields.

Spec: protobuf encoding guide. Varints here are protobuf's (up to ten bytes), not multiformats'.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from mirrornode.content.varint import encode_uvarint
from mirrornode.errors import RemoteProtocolError

MAX_FIELDS = 8192  # per message; reading more costs the event loop more than 5 ms
MAX_FIELD_NUMBER = (1 << 29) - 1  # protobuf's own limit

VARINT = 0
FIXED64 = 1
BYTES = 2
FIXED32 = 5

_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}

Bytes = TypeVar("Bytes", bytes, memoryview)


def read_uvarint(
    buffer: bytes | memoryview, offset: int, *, max_bytes: int = 10
) -> tuple[int, int]:
    """Return the varint at `offset` and the offset after it.

    Raises:
        RemoteProtocolError: Truncated, longer than `max_bytes`, or above 64 bits.
    """
    if offset < len(buffer) and buffer[offset] < 0x80:
        return buffer[offset], offset + 1  # most are of one byte
    value = shift = 0
    for position in range(offset, min(offset + max_bytes, len(buffer))):
        byte = buffer[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise RemoteProtocolError("varint above 64 bits")
            return value, position + 1
        shift += 7
    raise RemoteProtocolError("varint is truncated or too long")


def encode_bytes_field(number: int, value: bytes) -> bytes:
    """Return a length-delimited field."""
    return encode_uvarint(number << 3 | BYTES) + encode_uvarint(len(value)) + value


def encode_varint_field(number: int, value: int) -> bytes:
    """Return a varint field; `value` is not negative."""
    return encode_uvarint(number << 3 | VARINT) + encode_uvarint(value)


def read_fields(
    buffer: Bytes, *, max_fields: int = MAX_FIELDS
) -> Iterator[tuple[int, int | Bytes]]:
    """Yield `(field number, value)` of each varint and length-delimited field.

    The values of a `memoryview` are views of it: a message with megabytes in it is not copied.
    Fixed-width fields are checked and skipped: no libp2p message uses them.

    Raises:
        RemoteProtocolError: Truncated, a group or unknown wire type, a field number outside
            protobuf's range, or more than `max_fields` fields.
    """
    offset = count = 0
    size = len(buffer)
    while offset < size:
        count += 1
        if count > max_fields:
            raise RemoteProtocolError(f"message has more than {max_fields} fields")
        tag, offset = read_uvarint(buffer, offset)
        number, wire_type = tag >> 3, tag & 7
        if not 1 <= number <= MAX_FIELD_NUMBER:
            raise RemoteProtocolError("field number out of range")
        if wire_type == VARINT:
            value, offset = read_uvarint(buffer, offset)
            yield number, value
            continue
        if wire_type == BYTES:
            length, offset = read_uvarint(buffer, offset)
        elif wire_type in _FIXED_SIZES:
            length = _FIXED_SIZES[wire_type]
        else:
            raise RemoteProtocolError(f"unsupported wire type {wire_type}")
        if length > size - offset:
            raise RemoteProtocolError("field runs past the end of the message")
        if wire_type == BYTES:
            yield number, buffer[offset : offset + length]
        offset += length

"""UnixFS: what the bytes of a dag-pb node mean, i.e. file, directory, symlink or shard.

The codec of the Data message only; trees are built in `file_dag`, `directory` and `hamt`, and read
in `walk`. Encoding writes fields in ascending order as every implementation does. Decoding takes
them in any order and skips unknown ones, as protobuf readers do, but refuses a field given twice.
Spec: ipfs/specs unixfs.md, "Data" message (proto2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from mirrornode.content.varint import encode_uvarint
from mirrornode.errors import LimitExceeded, MalformedNode

MAX_FILE_SIZE = 1 << 62  # sums of sizes stay below what every 64-bit implementation can hold
MURMUR3_X64_64 = 0x22

_MAX_VARINT_BYTES = 10
_UINT64 = 1 << 64
_INT64_SIGN = 1 << 63

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TYPE, _DATA, _FILESIZE, _BLOCKSIZES, _HASH_TYPE, _FANOUT, _MODE, _MTIME = range(1, 9)
_BLOCKSIZE_TAG = _BLOCKSIZES << 3 | _VARINT
_WIRE_TYPES = {
    _TYPE: _VARINT,
    _DATA: _BYTES,
    _FILESIZE: _VARINT,
    _BLOCKSIZES: _VARINT,
    _HASH_TYPE: _VARINT,
    _FANOUT: _VARINT,
    _MODE: _VARINT,
    _MTIME: _BYTES,
}


class Kind(IntEnum):
    """The Type field."""

    RAW = 0
    DIRECTORY = 1
    FILE = 2
    METADATA = 3
    SYMLINK = 4
    HAMT_SHARD = 5


@dataclass(frozen=True, slots=True)
class Mtime:
    """Modification time: Unix seconds (may be negative) and nanoseconds in [0, 10**9)."""

    seconds: int
    nanoseconds: int = 0


@dataclass(frozen=True, slots=True)
class UnixFs:
    """One Data message; a field that is None is absent.

    Attributes:
        kind: What the node is.
        data: File bytes, symlink target, or a shard's bitfield; None and b"" are different blocks.
        filesize: File bytes in and below the node.
        blocksizes: File bytes below each link.
        hash_type: Of a shard, a multicodec.
        fanout: Of a shard.
        mode: POSIX mode bits as written.
        mtime: Modification time as written.
    """

    kind: Kind
    data: bytes | None = None
    filesize: int | None = None
    blocksizes: list[int] = field(default_factory=list)
    hash_type: int | None = None
    fanout: int | None = None
    mode: int | None = None
    mtime: Mtime | None = None


def encode_unixfs(message: UnixFs) -> bytes:
    """Return the bytes of a Data message, fields ascending, blocksizes not packed."""
    encoded = bytearray(b"\x08" + encode_uvarint(message.kind))
    if message.data is not None:
        encoded += b"\x12" + encode_uvarint(len(message.data)) + message.data
    if message.filesize is not None:
        encoded += b"\x18" + encode_uvarint(message.filesize)
    for size in message.blocksizes:
        encoded += b"\x20" + encode_uvarint(size)
    if message.hash_type is not None:
        encoded += b"\x28" + encode_uvarint(message.hash_type)
    if message.fanout is not None:
        encoded += b"\x30" + encode_uvarint(message.fanout)
    if message.mode is not None:
        encoded += b"\x38" + encode_uvarint(message.mode)
    if message.mtime is not None:
        time = b"\x08" + encode_uvarint(message.mtime.seconds % _UINT64)
        if message.mtime.nanoseconds:
            time += b"\x15" + message.mtime.nanoseconds.to_bytes(4, "little")
        encoded += b"\x42" + encode_uvarint(len(time)) + time
    return bytes(encoded)


def decode_unixfs(data: bytes) -> UnixFs:
    """Read a Data message.

    Raises:
        MalformedNode: Not UnixFS.
        LimitExceeded: A size of 2**62 bytes or more.
    """
    fields: dict[int, int | bytes] = {}
    blocksizes: list[int] = []
    offset = 0
    while offset < len(data):
        if data[offset] == _BLOCKSIZE_TAG:  # a thousand of them in a file node
            size, offset = _varint(data, offset + 1)
            blocksizes.append(size)
            continue
        number, wire, value, offset = _next_field(data, offset)
        expected = _WIRE_TYPES.get(number)
        if expected is None:
            continue
        if number == _BLOCKSIZES:
            if not isinstance(value, bytes):
                raise MalformedNode("UnixFS: blocksizes of a wrong type")
            blocksizes += _unpack(value)
            continue
        if wire != expected:
            raise MalformedNode(f"UnixFS: field {number} has a wrong type")
        if number in fields:
            raise MalformedNode(f"UnixFS: field {number} twice")
        fields[number] = value
    return _message(fields, blocksizes)


def _message(fields: dict[int, int | bytes], blocksizes: list[int]) -> UnixFs:
    def number(key: int) -> int | None:
        value = fields.get(key)
        return value if isinstance(value, int) else None

    def octets(key: int) -> bytes | None:
        value = fields.get(key)
        return value if isinstance(value, bytes) else None

    kind = number(_TYPE)
    if kind is None or kind not in Kind.__members__.values():
        raise MalformedNode("UnixFS: no known Type")
    sizes = [number(_FILESIZE) or 0, *blocksizes]
    if max(sizes) >= MAX_FILE_SIZE:
        raise LimitExceeded(f"UnixFS: a size of {max(sizes)} bytes")
    mode = number(_MODE)
    mtime = octets(_MTIME)
    return UnixFs(
        kind=Kind(kind),
        data=octets(_DATA),
        filesize=number(_FILESIZE),
        blocksizes=blocksizes,
        hash_type=number(_HASH_TYPE),
        fanout=number(_FANOUT),
        mode=None if mode is None else mode & 0xFFFFFFFF,
        mtime=None if mtime is None else _decode_mtime(mtime),
    )


def _decode_mtime(data: bytes) -> Mtime:
    seconds: int | None = None
    nanoseconds = 0
    offset = 0
    while offset < len(data):
        number, wire, value, offset = _next_field(data, offset)
        if (number, wire) == (1, _VARINT) and isinstance(value, int):
            seconds = value - _UINT64 if value >= _INT64_SIGN else value
        elif (number, wire) == (2, _FIXED32) and isinstance(value, int):
            nanoseconds = value
            if not 1 <= nanoseconds <= 999_999_999:
                raise MalformedNode(f"UnixFS: mtime of {nanoseconds} nanoseconds")
    if seconds is None:
        raise MalformedNode("UnixFS: mtime without seconds")
    return Mtime(seconds, nanoseconds)


def _next_field(data: bytes, offset: int) -> tuple[int, int, int | bytes, int]:
    """Read one field: its number, wire type, value, and the offset after it."""
    tag, offset = _varint(data, offset)
    number, wire = tag >> 3, tag & 7
    if wire == _VARINT:
        value, offset = _varint(data, offset)
        return number, wire, value, offset
    if wire == _BYTES:
        length, offset = _varint(data, offset)
    elif wire in (_FIXED32, _FIXED64):
        length = 4 if wire == _FIXED32 else 8
    else:
        raise MalformedNode(f"UnixFS: wire type {wire} is not used")
    stop = offset + length
    if number == 0 or stop > len(data):
        raise MalformedNode("UnixFS: a field is longer than its message, or has no number")
    if wire == _BYTES:
        return number, wire, data[offset:stop], stop
    return number, wire, int.from_bytes(data[offset:stop], "little"), stop


def _unpack(data: bytes) -> list[int]:
    values = []
    offset = 0
    while offset < len(data):
        value, offset = _varint(data, offset)
        values.append(value)
    return values


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """Read a protobuf varint: up to ten bytes, 64 bits, any length."""
    value = shift = 0
    for position in range(offset, min(offset + _MAX_VARINT_BYTES, len(data))):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= _UINT64:
                break
            return value, position + 1
        shift += 7
    raise MalformedNode("UnixFS: a broken integer")

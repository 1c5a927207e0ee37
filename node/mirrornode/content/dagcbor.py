"""DAG-CBOR: the strict subset of CBOR that CAR headers and IPNS records are written in.

Encoding gives the one canonical form: shortest integers, definite lengths, 64-bit floats, map keys
sorted by length and then by bytes. Decoding refuses whatever is not of the data model; only the
order of map keys is not insisted on, because other decoders do not either.
Spec: ipld/specs, codecs/dag-cbor; RFC 8949.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from mirrornode.content.cid import Cid
from mirrornode.errors import LimitExceeded, MalformedNode

# What a decoded document is made of; a list or map holds values of the same kinds.
Value: TypeAlias = (
    bool | int | float | str | bytes | Cid | Sequence["Value"] | Mapping[str, "Value"] | None
)

MAX_DEPTH = 128  # far beyond any document we read; keeps hostile ones off Python's stack

_UINT, _NEGATIVE, _BYTES, _TEXT, _LIST, _MAP, _TAG, _SIMPLE = range(8)
_CID_TAG = 42
_FALSE, _TRUE, _NULL, _FLOAT64 = 20, 21, 22, 27
_LENGTH_BYTES = {24: 1, 25: 2, 26: 4, 27: 8}
_SMALLEST = {1: 24, 2: 1 << 8, 4: 1 << 16, 8: 1 << 32}  # below that a shorter form exists


def encode_dagcbor(value: Value) -> bytes:
    """Return the canonical encoding of a value.

    Integers are in [-2**64, 2**64), floats are finite, strings have no lone surrogates.

    Raises:
        ValueError: The data model has no such value.
    """
    encoded = bytearray()
    _encode(value, encoded)
    return bytes(encoded)


def decode_dagcbor(data: bytes) -> Value:
    """Return the value of a whole document; maps become dicts, lists lists, links `Cid`s.

    Raises:
        MalformedNode: Not DAG-CBOR, cut off, or followed by more bytes.
        ContentError: A link is no CID, or the nesting is deeper than `MAX_DEPTH`.
    """
    reader = _Reader(data)
    value = reader.value(MAX_DEPTH)
    if reader.offset != len(data):
        raise MalformedNode("bytes follow the end of a CBOR document")
    return value


def _encode(value: Value, out: bytearray) -> None:
    if value is None or isinstance(value, bool):
        out.append(_SIMPLE << 5 | {False: _FALSE, True: _TRUE, None: _NULL}[value])
    elif isinstance(value, int):
        major, number = (_UINT, value) if value >= 0 else (_NEGATIVE, -1 - value)
        if number >= 1 << 64:
            raise ValueError("an integer of more than 64 bits has no CBOR form")
        _encode_head(major, number, out)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("NaN and infinities have no DAG-CBOR form")
        out.append(_SIMPLE << 5 | _FLOAT64)
        out += struct.pack(">d", value)
    elif isinstance(value, bytes):
        _encode_head(_BYTES, len(value), out)
        out += value
    elif isinstance(value, str):
        encoded = value.encode()
        _encode_head(_TEXT, len(encoded), out)
        out += encoded
    elif isinstance(value, Cid):
        _encode_head(_TAG, _CID_TAG, out)
        _encode(b"\0" + value.binary, out)
    elif isinstance(value, Mapping):
        _encode_head(_MAP, len(value), out)
        for _, key in sorted((len(key.encode()), key) for key in value):
            _encode(key, out)
            _encode(value[key], out)
    else:
        _encode_head(_LIST, len(value), out)
        for item in value:
            _encode(item, out)


def _encode_head(major: int, number: int, out: bytearray) -> None:
    if number < _SMALLEST[1]:
        out.append(major << 5 | number)
        return
    for code, size in _LENGTH_BYTES.items():
        if number < 1 << (8 * size):
            out.append(major << 5 | code)
            out += number.to_bytes(size, "big")
            return


class _Reader:
    """Reads one document from its start; `offset` is behind what was read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    def value(self, depth: int) -> Value:
        if not depth:
            raise LimitExceeded(f"CBOR nested deeper than {MAX_DEPTH}")
        first = self._take(1)[0]
        major, code = first >> 5, first & 0x1F
        if major == _SIMPLE:
            return self._simple(code)
        number = self._number(code)
        if major == _UINT:
            return number
        if major == _NEGATIVE:
            return -1 - number
        if major == _BYTES:
            return self._take(number)
        if major == _TEXT:
            return self._text(number)
        if major == _TAG:
            return self._link(number)
        # Each item has a byte at least: a count beyond the rest is a lie, found before memory is.
        if number > len(self._data) - self.offset:
            raise MalformedNode("a CBOR list or map is cut off")
        if major == _LIST:
            return [self.value(depth - 1) for _ in range(number)]
        return self._map(number, depth - 1)

    def _simple(self, code: int) -> Value:
        if code == _FLOAT64:
            number = float(struct.unpack(">d", self._take(8))[0])
            if not math.isfinite(number):
                raise MalformedNode("NaN and infinities are not of DAG-CBOR")
            return number
        if code in (_FALSE, _TRUE):
            return code == _TRUE
        if code == _NULL:
            return None
        raise MalformedNode("a CBOR simple value or short float that DAG-CBOR does not have")

    def _number(self, code: int) -> int:
        if code < _SMALLEST[1]:
            return code
        size = _LENGTH_BYTES.get(code)
        if size is None:
            raise MalformedNode("CBOR of indefinite length, or a reserved code")
        number = int.from_bytes(self._take(size), "big")
        if number < _SMALLEST[size]:
            raise MalformedNode("a CBOR integer is not written in its shortest form")
        return number

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode()
        except UnicodeDecodeError as exc:
            raise MalformedNode("a CBOR string is not UTF-8") from exc

    def _link(self, tag: int) -> Cid:
        if tag != _CID_TAG:
            raise MalformedNode(f"CBOR tag {tag} is not of DAG-CBOR")
        first = self._take(1)[0]
        if first >> 5 != _BYTES:
            raise MalformedNode("a CBOR link holds no bytes")
        encoded = self._take(self._number(first & 0x1F))
        if encoded[:1] != b"\0":
            raise MalformedNode("a CBOR link does not begin with the identity multibase")
        return Cid.from_bytes(encoded[1:])

    def _map(self, count: int, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for _ in range(count):
            first = self._take(1)[0]
            if first >> 5 != _TEXT:
                raise MalformedNode("a CBOR map has a key that is no string")
            key = self._text(self._number(first & 0x1F))
            if key in found:
                raise MalformedNode("a CBOR map has the same key twice")
            found[key] = self.value(depth)
        return found

    def _take(self, size: int) -> bytes:
        stop = self.offset + size
        if stop > len(self._data):
            raise MalformedNode("a CBOR document is cut off")
        taken = self._data[self.offset : stop]
        self.offset = stop
        return taken

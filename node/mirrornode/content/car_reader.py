"""Reading CARv1 and CARv2: the header, and where each block lies.

Blocks are located, not read: who needs one reads it by its offset and verifies it. Nothing here
opens a file; bytes come through `ByteSource`. Padding of zeros after the last section is accepted,
as go-car writes it; the index of a CARv2 is not used, only its place is checked.
Spec: ipld/specs, transport/car/carv1 and carv2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mirrornode.content.block import MAX_BLOCK_BYTES
from mirrornode.content.cid import MAX_CID_BYTES, Cid
from mirrornode.content.dagcbor import Value, decode_dagcbor
from mirrornode.content.varint import MAX_UVARINT_BYTES, decode_uvarint
from mirrornode.errors import ContentError, LimitExceeded, MalformedCar

MAX_HEADER_BYTES = 1 << 20  # some 25,000 roots
MAX_SECTION_BYTES = MAX_CID_BYTES + MAX_BLOCK_BYTES

_V0_PREFIX = b"\x12\x20"
_V0_BYTES = 34
_V2_HEADER_BYTES = 40
_V2_CHARACTERISTICS_BYTES = 16
_FAR_BYTES = 512  # read at a section whose neighbour is far away: holds any section's head
_NEAR_BYTES = 1 << 16  # where sections are small: one read for many
_NEAR_SECTION_BYTES = 1 << 14


class ByteSource(Protocol):
    """Bytes of known number that can be read from any offset."""

    @property
    def size_bytes(self) -> int: ...

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        """Return some of the bytes at `offset`, at most `size_bytes`; none only at the end."""


@dataclass(frozen=True, slots=True)
class CarHeader:
    """What a CAR says of itself.

    Attributes:
        version: 1 or 2.
        roots: The CIDs it was made for; may be empty, and need not be inside.
        start: Offset of the first section.
        stop: Offset after the last one.
    """

    version: int
    roots: tuple[Cid, ...]
    start: int
    stop: int


class Section(NamedTuple):
    """One block, unverified: `size_bytes` at `offset` claim to be what `cid` names."""

    cid: Cid
    offset: int
    size_bytes: int


def read_car_header(source: ByteSource) -> CarHeader:
    """Return the header of a CAR of either version.

    Raises:
        MalformedCar: It is none, is cut off, or is of another version.
        LimitExceeded: A header of more than `MAX_HEADER_BYTES`.
    """
    fields, start = _read_fields(source, 0, source.size_bytes)
    if set(fields) == {"version"} and fields["version"] == 2:
        return _read_v2(source, start)
    return CarHeader(1, _roots_of(fields), start, source.size_bytes)


def iter_sections(source: ByteSource, header: CarHeader) -> Iterator[Section]:
    """Yield the sections in file order; blocks themselves are not read.

    Raises:
        MalformedCar: A section is cut off or begins with no CID, or bytes follow the padding.
        LimitExceeded: A section that no block of `MAX_BLOCK_BYTES` needs.
        HashNotAllowed: A digest shorter or longer than we accept.
    """
    offset = header.start
    window_start, window = offset, b""
    near = False
    while offset < header.stop:
        head = window[offset - window_start :]
        needed = min(MAX_UVARINT_BYTES + MAX_CID_BYTES, header.stop - offset)
        if len(head) < needed:
            wanted = min(_NEAR_BYTES if near else _FAR_BYTES, header.stop - offset)
            window_start, window = offset, _read(source, offset, wanted)
            head = window
        length, body = decode_uvarint(head, error=MalformedCar)
        if not length:
            _check_padding(source, offset, header.stop)
            return
        if length > MAX_SECTION_BYTES:
            raise LimitExceeded(
                f"a section of {length:,} bytes at {offset:,}; the limit is {MAX_SECTION_BYTES:,}"
            )
        following = offset + body + length
        if following > header.stop:
            raise MalformedCar(f"the CAR is cut off inside the section at {offset:,}")
        cid, cid_bytes = _read_cid(head[body : body + min(length, MAX_CID_BYTES)], offset)
        yield Section(cid, offset + body + cid_bytes, length - cid_bytes)
        near = length < _NEAR_SECTION_BYTES
        offset = following


def _read_v2(source: ByteSource, start: int) -> CarHeader:
    size = source.size_bytes
    raw = _read(source, start, min(_V2_HEADER_BYTES, max(0, size - start)))
    if len(raw) < _V2_HEADER_BYTES:
        raise MalformedCar("the CAR is cut off inside its header")
    raw = raw[_V2_CHARACTERISTICS_BYTES:]
    first, length, index = (int.from_bytes(raw[at : at + 8], "little") for at in (0, 8, 16))
    stop = first + length
    if first < start + _V2_HEADER_BYTES or stop > size:
        raise MalformedCar(f"a CARv2 of {size:,} bytes places its data at {first:,} to {stop:,}")
    if index and not stop <= index <= size:
        raise MalformedCar(f"a CARv2 of {size:,} bytes places its index at {index:,}")
    fields, inner_start = _read_fields(source, first, stop)
    return CarHeader(2, _roots_of(fields), inner_start, stop)


def _read_fields(source: ByteSource, start: int, stop: int) -> tuple[dict[str, Value], int]:
    """Return the map that stands at `start`, and the offset after it."""
    head = _read(source, start, max(0, min(MAX_UVARINT_BYTES, stop - start)))
    length, body = decode_uvarint(head, error=MalformedCar)
    if length > MAX_HEADER_BYTES:
        raise LimitExceeded(f"a CAR header of {length:,} bytes; the limit is {MAX_HEADER_BYTES:,}")
    end = start + body + length
    if not length or end > stop:
        raise MalformedCar("not a CAR: the header is empty or cut off")
    try:
        fields = decode_dagcbor(_read(source, start + body, length))
    except ContentError as error:
        raise MalformedCar(f"not a CAR: {error}") from error
    if not isinstance(fields, dict):
        raise MalformedCar("not a CAR: the header is no map")
    return fields, end


def _roots_of(fields: dict[str, Value]) -> tuple[Cid, ...]:
    version = fields.get("version")
    if version != 1 or type(version) is not int:
        raise MalformedCar(f"a CAR of version {version!r}; 1 and 2 can be read")
    roots = fields.get("roots")
    if set(fields) != {"roots", "version"} or not isinstance(roots, list):
        raise MalformedCar("the header of a CAR has roots and a version, and nothing else")
    found = tuple(root for root in roots if isinstance(root, Cid))
    if len(found) != len(roots):
        raise MalformedCar("a root in the header is not a CID")
    return found


def _read_cid(body: bytes, offset: int) -> tuple[Cid, int]:
    """Return the CID a section begins with, and how many bytes it takes."""
    try:
        if body.startswith(_V0_PREFIX):
            end = _V0_BYTES
        else:
            end = 0
            for _ in range(3):  # version, codec, hash function
                _, end = decode_uvarint(body, end, error=MalformedCar)
            digest_bytes, end = decode_uvarint(body, end, error=MalformedCar)
            end += digest_bytes
        if end > len(body):
            raise MalformedCar("no room for a CID")
        return Cid.from_bytes(body[:end]), end
    except ContentError as error:
        raise MalformedCar(f"the section at {offset:,}: {error}") from error


def _check_padding(source: ByteSource, offset: int, stop: int) -> None:
    while offset < stop:
        padding = _read(source, offset, min(_NEAR_BYTES, stop - offset))
        if padding.count(0) != len(padding):
            raise MalformedCar(f"an empty section at {offset:,} with bytes after it")
        offset += len(padding)


def _read(source: ByteSource, offset: int, size_bytes: int) -> bytes:
    """Return exactly so many bytes, however few come at a time."""
    found = source.read_at(offset, size_bytes) if size_bytes else b""
    if len(found) == size_bytes:
        return found
    pieces = [found]
    filled = len(found)
    while filled < size_bytes:
        piece = source.read_at(offset + filled, size_bytes - filled)
        if not piece:
            raise MalformedCar("the CAR became shorter while it was read")
        pieces.append(piece)
        filled += len(piece)
    return b"".join(pieces)

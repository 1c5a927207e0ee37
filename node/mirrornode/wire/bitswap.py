"""Bitswap messages: wants, blocks, and who has what. Bytes in, values out; no I/O, no state.

Every bound is checked before anything is kept. Block data is handed out as views of the message
and put into one as it is, never copied here. What the older protocols cannot say is left out or
said in their way. Hashing, and with it every question of trust, is the business of who takes a
message: a block has no CID of its own on the wire.
Spec: bitswap 1.2.0, "Wire format"; limits of boxo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

from mirrornode.content.block import MAX_BLOCK_BYTES
from mirrornode.content.cid import MAX_CID_BYTES, SHA2_256, Cid
from mirrornode.content.varint import decode_uvarint, encode_uvarint
from mirrornode.errors import ContentError, HashNotAllowed, RemoteProtocolError
from mirrornode.wire.protobuf import encode_bytes_field, encode_varint_field, read_fields

BITSWAP_120 = "/ipfs/bitswap/1.2.0"
BITSWAP_110 = "/ipfs/bitswap/1.1.0"
BITSWAP_100 = "/ipfs/bitswap/1.0.0"
BITSWAP_OLD = "/ipfs/bitswap"
PROTOCOLS = (BITSWAP_120, BITSWAP_110, BITSWAP_100, BITSWAP_OLD)
"""What is spoken, the best first."""

MAX_MESSAGE_BYTES = 4 * 1024 * 1024  # go-libp2p's MessageSizeMax: every implementation's limit
MAX_ENTRIES = 4096  # of one wantlist; Kubo keeps 1024 wants of a peer, cancels come besides
MAX_BLOCKS = 4096  # of one message
MAX_PRESENCES = 8192  # a peer may be told of all its wants, and of twice as many
MAX_PREFIX_BYTES = 40  # four varints of at most nine bytes, rounded up
DEFAULT_PRIORITY = 1

_MIN_INT32, _MAX_INT32 = -(1 << 31), (1 << 31) - 1

Buffer: TypeAlias = bytes | memoryview


class WantType(IntEnum):
    """What a want asks for."""

    BLOCK = 0
    HAVE = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a wantlist."""

    cid: Cid
    priority: int = DEFAULT_PRIORITY
    is_cancel: bool = False
    want: WantType = WantType.BLOCK
    send_dont_have: bool = False


@dataclass(frozen=True, slots=True)
class SentBlock:
    """A block on the wire: what hashes it, and its bytes.

    Attributes:
        version: CID version of the sender's prefix.
        codec: As the prefix says; a want is matched by multihash alone.
        hash_code: How the receiver must hash `data`.
    """

    version: int
    codec: int
    hash_code: int
    data: Buffer


@dataclass(slots=True)
class Message:
    """One message of either side.

    Attributes:
        is_full: The entries are all that the sender wants; false: they change what it wanted.
        blocks: Unverified.
        pending_bytes: What the sender has still queued for us, by its own word.
    """

    entries: list[Entry] = field(default_factory=list)
    is_full: bool = False
    blocks: list[SentBlock] = field(default_factory=list)
    haves: list[Cid] = field(default_factory=list)
    dont_haves: list[Cid] = field(default_factory=list)
    pending_bytes: int = 0


def decode_message(message: Buffer) -> Message:
    """Read one message; block data are views of `message`.

    Wants of CIDs that no block of ours can have are left out, as other implementations do.

    Raises:
        RemoteProtocolError: Malformed, or beyond a limit.
    """
    if len(message) > MAX_MESSAGE_BYTES:
        raise RemoteProtocolError(f"a bitswap message of {len(message)} bytes")
    found = Message()
    limit = MAX_BLOCKS + MAX_PRESENCES + 16
    for number, value in read_fields(memoryview(message), max_fields=limit):
        if number == 1 and isinstance(value, memoryview):
            _read_wantlist(value, found)
        elif number == 2 and isinstance(value, memoryview):
            _add_block(found, SentBlock(0, 0x70, SHA2_256, value))
        elif number == 3 and isinstance(value, memoryview):
            _add_block(found, _read_block(value))
        elif number == 4 and isinstance(value, memoryview):
            _read_presence(value, found)
        elif number == 5 and isinstance(value, int):
            found.pending_bytes = max(0, _int32(value))
    return found


def encode_wantlist(entries: Sequence[Entry], protocol: str, *, is_full: bool = False) -> bytes:
    """Return the message of a wantlist.

    Peers of the older protocols cannot be asked whether they have a block, only for it.
    """
    is_modern = protocol == BITSWAP_120
    encoded = bytearray()
    for entry in entries:
        line = encode_bytes_field(1, entry.cid.binary)
        line += encode_varint_field(2, max(0, entry.priority))
        if entry.is_cancel:
            line += encode_varint_field(3, 1)
        elif is_modern:
            if entry.want is WantType.HAVE:
                line += encode_varint_field(4, 1)
            if entry.send_dont_have:
                line += encode_varint_field(5, 1)
        encoded += encode_bytes_field(1, line)
    if is_full:
        encoded += encode_varint_field(2, 1)
    return encode_bytes_field(1, bytes(encoded))


def encode_answer(
    blocks: Sequence[tuple[Cid, Buffer]],
    protocol: str,
    *,
    haves: Sequence[Cid] = (),
    dont_haves: Sequence[Cid] = (),
    pending_bytes: int = 0,
) -> list[Buffer]:
    """Return the parts of a message of blocks and presences, the data of `blocks` among them.

    Presences and `pending_bytes` are left out for peers whose protocol has none.
    """
    parts: list[Buffer] = []
    for cid, block in blocks:
        if protocol in (BITSWAP_100, BITSWAP_OLD):
            parts += [b"\x12", encode_uvarint(len(block)), block]
            continue
        prefix = encode_bytes_field(1, block_prefix(cid))
        head = prefix + b"\x12" + encode_uvarint(len(block))
        parts += [b"\x1a", encode_uvarint(len(head) + len(block)), head, block]
    if protocol == BITSWAP_120:
        for cid in haves:
            parts.append(encode_bytes_field(4, encode_bytes_field(1, cid.binary)))
        for cid in dont_haves:
            presence = encode_bytes_field(1, cid.binary) + encode_varint_field(2, 1)
            parts.append(encode_bytes_field(4, presence))
        if pending_bytes > 0:
            parts.append(encode_varint_field(5, min(pending_bytes, _MAX_INT32)))
    return parts


def block_prefix(cid: Cid) -> bytes:
    """Return what stands for a block's CID on the wire: all but its digest."""
    code, offset = decode_uvarint(cid.multihash)
    length, _ = decode_uvarint(cid.multihash, offset)
    fields = (cid.version, cid.codec, code, length)
    return b"".join(map(encode_uvarint, fields))


def _read_wantlist(value: memoryview, found: Message) -> None:
    for number, entry in read_fields(value, max_fields=MAX_ENTRIES + 1):
        if number == 1 and isinstance(entry, memoryview):
            _read_entry(entry, found)
        elif number == 2 and isinstance(entry, int):
            found.is_full = bool(entry)


def _read_entry(value: memoryview, found: Message) -> None:
    cid: Cid | None = None
    priority, is_cancel, want, send_dont_have = DEFAULT_PRIORITY, False, WantType.BLOCK, False
    for number, part in read_fields(value, max_fields=16):
        if number == 1 and isinstance(part, memoryview):
            try:
                cid = _read_cid(part)
            except HashNotAllowed:
                return
        elif isinstance(part, int):
            if number == 2:
                priority = _int32(part)
            elif number == 3:
                is_cancel = bool(part)
            elif number == 4:
                if part not in (0, 1):
                    raise RemoteProtocolError(f"want type {part} does not exist")
                want = WantType(part)
            elif number == 5:
                send_dont_have = bool(part)
    if cid is None:
        raise RemoteProtocolError("a want without a CID")
    found.entries.append(Entry(cid, priority, is_cancel, want, send_dont_have))


def _read_block(value: memoryview) -> SentBlock:
    prefix: memoryview | None = None
    data = value[:0]
    for number, part in read_fields(value, max_fields=8):
        if number == 1 and isinstance(part, memoryview):
            prefix = part
        elif number == 2 and isinstance(part, memoryview):
            data = part
    if prefix is None or len(prefix) > MAX_PREFIX_BYTES:
        raise RemoteProtocolError("a block without a usable prefix")
    fields: list[int] = []
    offset = 0
    try:
        while offset < len(prefix) and len(fields) < 4:
            number, offset = decode_uvarint(prefix, offset)
            fields.append(number)
    except ContentError as exc:
        raise RemoteProtocolError(f"block prefix: {exc}") from exc
    if len(fields) != 4 or offset != len(prefix) or fields[0] > 1:
        raise RemoteProtocolError("a block prefix is version, codec, hash function and length")
    return SentBlock(fields[0], fields[1], fields[2], data)


def _add_block(found: Message, block: SentBlock) -> None:
    if len(block.data) > MAX_BLOCK_BYTES:
        raise RemoteProtocolError(f"a block of {len(block.data)} bytes")
    if len(found.blocks) >= MAX_BLOCKS:
        raise RemoteProtocolError(f"more than {MAX_BLOCKS} blocks in one message")
    found.blocks.append(block)


def _read_presence(value: memoryview, found: Message) -> None:
    cid: Cid | None = None
    kind = 0
    for number, part in read_fields(value, max_fields=8):
        if number == 1 and isinstance(part, memoryview):
            try:
                cid = _read_cid(part)
            except HashNotAllowed:
                return
        elif number == 2 and isinstance(part, int):
            kind = part
    if cid is None or kind not in (0, 1):
        raise RemoteProtocolError("a block presence without a CID, or of no known kind")
    told = found.dont_haves if kind else found.haves
    if len(found.haves) + len(found.dont_haves) >= MAX_PRESENCES:
        raise RemoteProtocolError(f"more than {MAX_PRESENCES} block presences in one message")
    told.append(cid)


def _read_cid(value: memoryview) -> Cid:
    if len(value) > MAX_CID_BYTES:
        raise HashNotAllowed(f"a CID of {len(value)} bytes")
    try:
        return Cid.from_bytes(bytes(value))
    except HashNotAllowed:
        raise
    except ContentError as exc:
        raise RemoteProtocolError(f"not a CID: {exc}") from exc


def _int32(value: int) -> int:
    """Return the signed number of a protobuf int32, which is a varint of 64 bits when negative."""
    signed = value - (1 << 64) if value >= 1 << 63 else value
    return max(_MIN_INT32, min(_MAX_INT32, signed))

"""Bitswap messages: known bytes, every field, every limit, and nothing but our errors."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.content.block import MAX_BLOCK_BYTES
from mirrornode.content.cid import DAG_PB, RAW, Cid
from mirrornode.errors import RemoteProtocolError
from mirrornode.wire.bitswap import (
    BITSWAP_100,
    BITSWAP_110,
    BITSWAP_120,
    BITSWAP_OLD,
    MAX_BLOCKS,
    MAX_ENTRIES,
    MAX_MESSAGE_BYTES,
    MAX_PRESENCES,
    Entry,
    WantType,
    block_prefix,
    decode_message,
    encode_answer,
    encode_wantlist,
)
from mirrornode.wire.protobuf import encode_bytes_field, encode_varint_field

HELLO = b"hello world"
DIGEST = hashlib.sha256(HELLO).digest()
RAW_CID = Cid.raw_sha256(DIGEST)
V0_CID = Cid(0, DAG_PB, b"\x12\x20" + DIGEST)
V1_CID = Cid(1, DAG_PB, b"\x12\x20" + DIGEST)

# SOURCE: written by hand from the field numbers of the specification, bitswap 1.2.0.
WANTLIST = bytes.fromhex(
    "0a30"  # wantlist
    "0a2c"  # entries
    "0a24" + "01551220" + DIGEST.hex() + "1007"  # block, priority
    "20012801"  # wantType HAVE, sendDontHave
    "1001"  # full
)


def cids() -> st.SearchStrategy[Cid]:
    digests = st.binary(min_size=32, max_size=32).map(lambda digest: b"\x12\x20" + digest)
    return st.one_of(
        digests.map(lambda multihash: Cid(0, DAG_PB, multihash)),
        digests.map(lambda multihash: Cid(1, RAW, multihash)),
        digests.map(lambda multihash: Cid(1, DAG_PB, multihash)),
    )


def entries() -> st.SearchStrategy[Entry]:
    return st.builds(
        Entry,
        cids(),
        st.integers(0, (1 << 31) - 1),
        st.booleans(),
        st.sampled_from(WantType),
        st.booleans(),
    ).map(lambda e: Entry(e.cid, e.priority, is_cancel=True) if e.is_cancel else e)


def test_wantlist_has_the_bytes_of_the_specification() -> None:
    entry = Entry(RAW_CID, 7, want=WantType.HAVE, send_dont_have=True)
    assert encode_wantlist([entry], BITSWAP_120, is_full=True) == WANTLIST
    message = decode_message(WANTLIST)
    assert message.entries == [entry]
    assert message.is_full


@pytest.mark.parametrize(
    ("cid", "prefix"),
    [(RAW_CID, "01551220"), (V1_CID, "01701220"), (V0_CID, "00701220")],
)
def test_prefix_of_a_block_is_as_others_write_it(cid: Cid, prefix: str) -> None:
    # SOURCE: bitswap specification and boxo, cid.Prefix.
    assert block_prefix(cid).hex() == prefix


@given(st.lists(entries(), max_size=20), st.booleans())
def test_wantlist_comes_back(wanted: list[Entry], is_full: bool) -> None:
    message = decode_message(encode_wantlist(wanted, BITSWAP_120, is_full=is_full))
    assert (message.entries, message.is_full) == (wanted, is_full)


@given(
    st.lists(st.tuples(cids(), st.binary(max_size=50)), max_size=8),
    st.lists(cids(), max_size=5),
    st.lists(cids(), max_size=5),
    st.integers(0, 1 << 40),
)
def test_answer_comes_back(
    blocks: list[tuple[Cid, bytes]], haves: list[Cid], dont_haves: list[Cid], pending: int
) -> None:
    parts = encode_answer(
        blocks, BITSWAP_120, haves=haves, dont_haves=dont_haves, pending_bytes=pending
    )
    message = decode_message(b"".join(parts))
    found = [(block.version, block.codec, bytes(block.data)) for block in message.blocks]
    assert found == [(cid.version, cid.codec, data) for cid, data in blocks]
    assert (message.haves, message.dont_haves) == (haves, dont_haves)
    assert message.pending_bytes == min(pending, (1 << 31) - 1)


def test_block_is_a_view_of_the_message_and_is_put_into_one_uncopied() -> None:
    block = b"x" * 1000
    parts = encode_answer([(RAW_CID, block)], BITSWAP_120)
    assert any(part is block for part in parts)
    message = b"".join(parts)
    data = decode_message(message).blocks[0].data
    assert isinstance(data, memoryview)
    assert data.obj is message


def test_older_protocols_get_what_they_can_read() -> None:
    for protocol in (BITSWAP_100, BITSWAP_OLD):
        parts = encode_answer(
            [(V0_CID, HELLO)], protocol, haves=[V0_CID], dont_haves=[RAW_CID], pending_bytes=5
        )
        assert b"".join(parts) == b"\x12\x0b" + HELLO
        message = decode_message(b"".join(parts))
        assert [(b.version, b.codec, bytes(b.data)) for b in message.blocks] == [(0, DAG_PB, HELLO)]
    parts = encode_answer([(RAW_CID, HELLO)], BITSWAP_110, haves=[V0_CID], pending_bytes=5)
    message = decode_message(b"".join(parts))
    assert (len(message.blocks), message.haves, message.pending_bytes) == (1, [], 0)
    asked = encode_wantlist([Entry(RAW_CID, want=WantType.HAVE, send_dont_have=True)], BITSWAP_110)
    assert decode_message(asked).entries == [Entry(RAW_CID)]


def test_negative_priority_is_understood() -> None:
    line = encode_bytes_field(1, RAW_CID.binary) + b"\x10" + b"\xff" * 9 + b"\x01"
    message = decode_message(encode_bytes_field(1, encode_bytes_field(1, line)))
    assert message.entries == [Entry(RAW_CID, -1)]


def test_want_of_a_hash_nobody_accepts_is_left_out() -> None:
    short = Cid(1, RAW, b"\x12\x04abcd")
    lines = b"".join(
        encode_bytes_field(1, encode_bytes_field(1, cid)) for cid in (short.binary, RAW_CID.binary)
    )
    assert decode_message(encode_bytes_field(1, lines)).entries == [Entry(RAW_CID)]


def wantlist_of(line: bytes) -> bytes:
    return encode_bytes_field(1, encode_bytes_field(1, line))


@pytest.mark.parametrize(
    "message",
    [
        b"\xff",
        wantlist_of(b""),
        wantlist_of(encode_bytes_field(1, b"\x99\x99")),
        wantlist_of(encode_bytes_field(1, RAW_CID.binary) + encode_varint_field(4, 2)),
        encode_bytes_field(3, encode_bytes_field(2, b"no prefix")),
        encode_bytes_field(3, encode_bytes_field(1, b"\x01\x55\x12") + encode_bytes_field(2, b"x")),
        encode_bytes_field(3, encode_bytes_field(1, b"\x01\x55\x12\x20\x00")),
        encode_bytes_field(3, encode_bytes_field(1, b"\x02\x55\x12\x20")),
        encode_bytes_field(3, encode_bytes_field(1, b"\x80" * 41)),
        encode_bytes_field(4, encode_varint_field(2, 1)),
        encode_bytes_field(4, encode_bytes_field(1, RAW_CID.binary) + encode_varint_field(2, 2)),
        encode_bytes_field(2, bytes(MAX_BLOCK_BYTES + 1)),
        bytes(MAX_MESSAGE_BYTES + 1),
        encode_bytes_field(2, b"") * (MAX_BLOCKS + 1),
        encode_bytes_field(4, encode_bytes_field(1, V0_CID.binary)) * (MAX_PRESENCES + 1),
        encode_bytes_field(1, encode_bytes_field(1, RAW_CID.binary) * (MAX_ENTRIES + 2)),
    ],
)
def test_malformed_or_oversized_message_is_refused(message: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_message(message)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_refused(message: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode_message(message)


@given(st.binary(max_size=200), st.integers(0, 199), st.integers(0, 255))
def test_damaged_message_is_a_message_or_refused(data: bytes, at: int, byte: int) -> None:
    parts = encode_answer([(RAW_CID, data)], BITSWAP_120, haves=[V0_CID], pending_bytes=9)
    message = bytearray(b"".join(parts))
    message[at % len(message)] = byte
    with contextlib.suppress(RemoteProtocolError):
        decode_message(bytes(message))

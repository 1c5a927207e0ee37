"""The UnixFS Data message."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.content.dagpb import decode_node
from mirrornode.content.unixfs import Kind, Mtime, UnixFs, decode_unixfs, encode_unixfs
from mirrornode.errors import ContentError, LimitExceeded, MalformedNode
from support.blocks import read_car
from support.fixtures import fixtures_dir

messages = st.builds(
    UnixFs,
    st.sampled_from(Kind),
    data=st.none() | st.binary(max_size=40),
    filesize=st.none() | st.integers(0, (1 << 62) - 1),
    blocksizes=st.lists(st.integers(0, (1 << 62) - 1), max_size=6),
    hash_type=st.none() | st.integers(0, 1 << 40),
    fanout=st.none() | st.integers(0, 1 << 40),
    mode=st.none() | st.integers(0, (1 << 32) - 1),
    mtime=st.none()
    | st.builds(Mtime, st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 999_999_999)),
)


# SOURCE: ipfs/specs unixfs.md; mode and mtime from boxo unixfs-dir-with-mode-mtime.car
@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        ("0801", UnixFs(Kind.DIRECTORY)),
        ("08041203666f6f", UnixFs(Kind.SYMLINK, data=b"foo")),
        ("08021800", UnixFs(Kind.FILE, filesize=0)),
        ("080218818040208080402001", UnixFs(Kind.FILE, filesize=1048577, blocksizes=[1048576, 1])),
        ("080138c003420608e8ee9e9506", UnixFs(Kind.DIRECTORY, mode=0o700, mtime=Mtime(1655158632))),
        ("0805120103282230800" + "2", UnixFs(Kind.HAMT_SHARD, b"\x03", hash_type=34, fanout=256)),
    ],
)
def test_message_when_known_bytes_then_both_ways(encoded: str, message: UnixFs) -> None:
    assert decode_unixfs(bytes.fromhex(encoded)) == message
    assert encode_unixfs(message).hex() == encoded


@given(messages)
def test_message_when_any_then_round_trips(message: UnixFs) -> None:
    assert decode_unixfs(encode_unixfs(message)) == message


def test_mtime_when_before_1970_then_ten_bytes_and_fraction() -> None:
    message = UnixFs(Kind.FILE, mtime=Mtime(-1, 5))
    assert encode_unixfs(message).hex() == "0802" + "4210" + "08" + "ff" * 9 + "01" + "1505000000"
    assert decode_unixfs(encode_unixfs(message)).mtime == Mtime(-1, 5)


def test_decode_when_packed_unordered_or_unknown_fields_then_read() -> None:
    assert decode_unixfs(bytes.fromhex("18030802" + "2202" + "0102")) == UnixFs(
        Kind.FILE, filesize=3, blocksizes=[1, 2]
    )
    unknown = "9a0603616263" + "a106" + "00" * 8 + "ad06" + "00" * 4 + "b00601"
    assert decode_unixfs(bytes.fromhex("0802" + unknown)) == UnixFs(Kind.FILE)


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param("", id="no type"),
        pytest.param("1800", id="only a size"),
        pytest.param("0806", id="unknown type"),
        pytest.param("0802" + "0802", id="type twice"),
        pytest.param("0802" + "18011801", id="filesize twice"),
        pytest.param("0802" + "1205aa", id="data too long"),
        pytest.param("0802" + "18" + "ff" * 10, id="integer too long"),
        pytest.param("0802" + "18" + "ff" * 9 + "02", id="integer above 64 bits"),
        pytest.param("0802" + "1a0100", id="filesize as bytes"),
        pytest.param("0802" + "2100000000000000" + "00", id="blocksize as fixed64"),
        pytest.param("0802" + "0b", id="group"),
        pytest.param("0802" + "0200", id="field number zero"),
        pytest.param("0802" + "4200", id="mtime without seconds"),
        pytest.param("0802" + "4207" + "0801" + "1500000000", id="nanoseconds zero"),
        pytest.param("0802" + "4207" + "0801" + "1500ca9a3b", id="nanoseconds a billion"),
    ],
)
def test_decode_when_broken_then_malformed(encoded: str) -> None:
    with pytest.raises(MalformedNode):
        decode_unixfs(bytes.fromhex(encoded))


def test_decode_when_size_is_absurd_then_limit() -> None:
    for message in (
        UnixFs(Kind.FILE, filesize=1 << 62),
        UnixFs(Kind.FILE, filesize=0, blocksizes=[1 << 62]),
    ):
        with pytest.raises(LimitExceeded):
            decode_unixfs(encode_unixfs(message))


@given(st.binary(max_size=120))
def test_decode_when_garbage_then_only_content_errors(data: bytes) -> None:
    with suppress(ContentError):
        decode_unixfs(data)


def test_decode_when_real_nodes_with_mode_and_mtime_then_same_bytes_again() -> None:
    blocks = read_car(fixtures_dir() / "car/unixfs-dir-with-mode-mtime.car")
    nodes = [decode_node(block.data) for block in blocks if block.cid.codec == 0x70]
    messages = [decode_unixfs(node.data or b"") for node in nodes]
    assert [encode_unixfs(message) for message in messages] == [node.data for node in nodes]
    assert any(message.mtime == Mtime(1655158632) for message in messages)

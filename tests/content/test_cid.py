"""CIDs: text and bytes, versions, limits."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.content.cid import BLAKE3, DAG_PB, IDENTITY, RAW, SHA2_256, Cid, split_cid
from mirrornode.content.varint import decode_uvarint, encode_uvarint, uvarint_size
from mirrornode.errors import ContentError, HashNotAllowed, MalformedCid, MalformedNode

# SOURCE: ipfs/kubo test/cli/cid_profiles_test.go, "hello world" in both profiles
HELLO_V0 = "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"
HELLO_RAW = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
HELLO_SHA256 = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"


@pytest.mark.parametrize("text", [HELLO_V0, HELLO_RAW, "bafkqaaa", "bafyaabakaieac"])
def test_parse_when_canonical_then_text_is_unchanged(text: str) -> None:
    assert str(Cid.parse(text)) == text
    assert Cid.from_bytes(Cid.parse(text).binary) == Cid.parse(text)


def test_parse_when_raw_then_parts_are_known() -> None:
    cid = Cid.parse(HELLO_RAW)
    assert (cid.version, cid.codec, cid.hash_code) == (1, RAW, SHA2_256)
    assert cid.digest.hex() == HELLO_SHA256
    assert cid.binary.hex() == "01551220" + HELLO_SHA256
    assert cid == Cid.raw_sha256(bytes.fromhex(HELLO_SHA256))
    assert hash(cid) == hash(Cid.raw_sha256(cid.digest))


def test_parse_when_v0_then_it_is_dag_pb_and_differs_from_v1() -> None:
    cid = Cid.parse(HELLO_V0)
    assert (cid.version, cid.codec, cid.hash_code) == (0, DAG_PB, SHA2_256)
    assert cid.binary == cid.multihash
    assert Cid.v1(DAG_PB, cid.multihash) != cid


def test_parse_when_other_multibase_then_same_cid() -> None:
    from multiformats import multibase

    cid = Cid.parse(HELLO_RAW)
    for base in ("base16", "base16upper", "base32upper", "base36", "base58btc", "base64url"):
        assert Cid.parse(multibase.encode(cid.binary, base)) == cid


def test_identity_when_parsed_then_it_carries_its_block() -> None:
    # SOURCE: ipfs/specs unixfs.md, empty directory inlined
    cid = Cid.parse("bafyaabakaieac")
    assert cid.is_identity
    assert cid.hash_code == IDENTITY
    assert cid.digest == bytes.fromhex("0a020801")
    assert Cid.parse("bafkqaaa").digest == b""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Q",
        "b",
        "hello",
        "é",
        "\U0001f680abc",
        "/ipfs/" + HELLO_V0,
        HELLO_V0 + "/a",
        HELLO_V0[:-1],
        "Qm" + "0" * 44,
        HELLO_RAW[:-1],
        HELLO_RAW + "a",
        "z" + HELLO_V0,
        "f0255" + "1220" + "00" * 32,
        "f00551220" + "00" * 32,
        "f01551220" + "00" * 31,
        "f01551220" + "00" * 33,
        "f8100551220" + "00" * 32,
        "b" * 2000,
    ],
)
def test_parse_when_not_a_cid_then_malformed(text: str) -> None:
    with pytest.raises(MalformedCid):
        Cid.parse(text)


@pytest.mark.parametrize(
    "multihash",
    [
        b"\x12\x13" + bytes(19),
        b"\x13\x81\x01" + bytes(129),
        b"\x00\x81\x01" + bytes(129),
    ],
)
def test_v1_when_digest_length_is_out_of_bounds_then_not_allowed(multihash: bytes) -> None:
    with pytest.raises(HashNotAllowed):
        Cid.v1(RAW, multihash)
    with pytest.raises(HashNotAllowed):
        Cid.from_bytes(b"\x01\x55" + multihash)


def test_from_bytes_when_longer_than_168_bytes_then_malformed() -> None:
    with pytest.raises(MalformedCid):
        Cid.from_bytes(b"\x01\x55\x12\xa5\x01" + bytes(165))


def test_split_cid_when_well_formed_then_parts_as_in_cid() -> None:
    digest = hashlib.sha256(b"x").digest()
    for cid in (
        Cid(0, DAG_PB, b"\x12\x20" + digest),
        Cid.raw_sha256(digest),
        Cid.v1(0x0129, b"\x12\x20" + digest),
        Cid.v1(RAW, bytes((BLAKE3, 32)) + digest),
        Cid.parse("bafkqaaa"),
    ):
        assert split_cid(cid.binary) == (cid.version, cid.codec, cid.multihash)


@given(st.binary(max_size=200))
def test_from_bytes_when_garbage_then_only_content_errors(data: bytes) -> None:
    try:
        cid = Cid.from_bytes(data)
    except ContentError:
        return
    assert cid.binary == data


@given(st.text(max_size=80))
def test_parse_when_garbage_text_then_only_content_errors(text: str) -> None:
    try:
        cid = Cid.parse(text)
    except ContentError:
        return
    assert Cid.parse(str(cid)) == cid


@given(st.integers(0, 0xFFFF), st.binary(min_size=20, max_size=128), st.sampled_from((18, 30, 99)))
def test_v1_when_any_codec_and_digest_then_round_trips(
    codec: int, digest: bytes, code: int
) -> None:
    cid = Cid.v1(codec, encode_uvarint(code) + encode_uvarint(len(digest)) + digest)
    assert (cid.hash_code, cid.digest) == (code, digest)
    assert Cid.from_bytes(cid.binary) == Cid.parse(str(cid)) == cid


@given(st.integers(0, (1 << 63) - 1))
def test_uvarint_when_any_value_then_round_trips(value: int) -> None:
    encoded = encode_uvarint(value)
    assert len(encoded) == uvarint_size(value)
    assert decode_uvarint(encoded) == (value, len(encoded))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x00", b"\xff" * 9 + b"\x01"])
def test_uvarint_when_broken_then_malformed(data: bytes) -> None:
    with pytest.raises(MalformedNode):
        decode_uvarint(data)


def test_import_when_only_bytes_are_used_then_multiformats_is_not_loaded() -> None:
    code = (
        "import sys\n"
        "from mirrornode.content import walk, directory, file_dag\n"
        "from mirrornode.content.recipe import UNIXFS_V1_2025\n"
        "file_dag.import_bytes([b'x' * 3_000_000], UNIXFS_V1_2025)\n"
        "sys.exit('multiformats' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

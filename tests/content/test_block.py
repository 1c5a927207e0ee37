"""The one verification point."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.content.block import (
    MAX_BLOCK_BYTES,
    Block,
    check_verifiable,
    multihash_of,
    new_hash,
)
from mirrornode.content.cid import BLAKE3, IDENTITY, RAW, SHA2_256, SHA2_512, Cid
from mirrornode.errors import CidMismatch, HashNotAllowed, LimitExceeded


@pytest.mark.parametrize("code", [SHA2_256, SHA2_512, BLAKE3, IDENTITY])
def test_verify_when_bytes_match_then_block(code: int) -> None:
    cid = Cid.v1(RAW, multihash_of(code, b"hello"))
    assert Block.verify(cid, b"hello") == Block(cid, b"hello")


@pytest.mark.parametrize("code", [SHA2_256, SHA2_512, BLAKE3, IDENTITY])
def test_verify_when_one_bit_differs_then_mismatch(code: int) -> None:
    cid = Cid.v1(RAW, multihash_of(code, b"hello"))
    with pytest.raises(CidMismatch) as caught:
        Block.verify(cid, b"hellp")
    assert caught.value.cid == cid


def test_verify_when_larger_than_2_mib_then_limit() -> None:
    at_limit = bytes(MAX_BLOCK_BYTES)
    Block.verify(Cid.v1(RAW, multihash_of(SHA2_256, at_limit)), at_limit)
    too_large = bytes(MAX_BLOCK_BYTES + 1)
    with pytest.raises(LimitExceeded):
        Block.verify(Cid.v1(RAW, multihash_of(SHA2_256, too_large)), too_large)


@pytest.mark.parametrize(
    "multihash",
    [
        bytes.fromhex("a0e40220") + bytes(32),  # blake2b-256
        b"\x11\x14" + bytes(20),  # sha1
        b"\x12\x14" + bytes(20),  # SHA2-256 cut to 160 bits
        b"\x1e\x40" + bytes(64),  # BLAKE3 made longer
    ],
)
def test_verify_when_hash_is_not_checked_here_then_not_allowed(multihash: bytes) -> None:
    cid = Cid.v1(RAW, multihash)
    with pytest.raises(HashNotAllowed):
        Block.verify(cid, b"")
    with pytest.raises(HashNotAllowed):
        check_verifiable(cid)


def test_new_hash_when_identity_or_unknown_then_not_allowed() -> None:
    for code in (IDENTITY, 0x11, 0xB220, 0x3FFFFFFF):
        with pytest.raises(HashNotAllowed):
            new_hash(code)


def test_of_identity_when_cid_carries_its_block_then_block() -> None:
    cid = Cid.v1(RAW, multihash_of(IDENTITY, b"hello"))
    assert Block.of_identity(cid) == Block.verify(cid, b"hello")


def test_identity_when_longer_than_128_bytes_then_not_allowed() -> None:
    assert multihash_of(IDENTITY, bytes(128))[:3] == b"\x00\x80\x01"
    with pytest.raises(HashNotAllowed):
        multihash_of(IDENTITY, bytes(129))


@given(st.binary(max_size=300))
def test_multihash_when_any_view_of_bytes_then_as_hashlib(data: bytes) -> None:
    expected = b"\x12\x20" + hashlib.sha256(data).digest()
    assert multihash_of(SHA2_256, data) == expected
    assert multihash_of(SHA2_256, memoryview(data)) == expected
    assert multihash_of(SHA2_256, bytearray(data)) == expected

"""Leaves hashed without being built."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.content.block import Buffer, RunningHash, multihash_of
from mirrornode.content.cid import BLAKE3, DAG_PB, IDENTITY, RAW, SHA2_256, SHA2_512, Cid
from mirrornode.content.dagpb import decode_node
from mirrornode.content.leaf_form import (
    LeafForm,
    leaf_block_size,
    leaf_multihash,
    leaf_prefix,
    leaf_suffix,
)
from mirrornode.content.unixfs import Kind, decode_unixfs
from mirrornode.errors import HashNotAllowed

FORMS = list(LeafForm)


def test_dag_pb_leaf_when_hello_world_then_known_block() -> None:
    # SOURCE: unixfs-v0 leaf of "hello world", ipfs/kubo and ipfs/specs unixfs.md
    block = leaf_prefix(LeafForm.DAG_PB, 11) + b"hello world" + leaf_suffix(LeafForm.DAG_PB, 11)
    assert block.hex() == "0a110802120b68656c6c6f20776f726c64180b"
    multihash = leaf_multihash(LeafForm.DAG_PB, SHA2_256, b"hello world")
    assert str(Cid(0, DAG_PB, multihash)) == "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"


def test_dag_pb_leaf_when_empty_then_no_data_field() -> None:
    # SOURCE: ipfs/specs unixfs.md, empty file
    block = leaf_prefix(LeafForm.DAG_PB, 0) + leaf_suffix(LeafForm.DAG_PB, 0)
    assert block.hex() == "0a0408021800"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("length", [0, 1, 111, 127, 128, 129, 16_370, 16_384, 262_144, 1 << 20])
def test_leaf_when_any_length_then_size_and_parts_agree(form: LeafForm, length: int) -> None:
    prefix, suffix = leaf_prefix(form, length), leaf_suffix(form, length)
    block = prefix + bytes(length) + suffix
    assert len(block) == leaf_block_size(form, length)
    assert leaf_multihash(form, SHA2_256, bytes(length)) == multihash_of(SHA2_256, block)
    if form is not LeafForm.RAW:
        message = decode_unixfs(decode_node(block).data or b"")
        assert message.kind is (Kind.FILE if form is LeafForm.DAG_PB else Kind.RAW)
        assert (message.data or b"", message.filesize) == (bytes(length), length)


@given(
    st.sampled_from(FORMS), st.sampled_from((SHA2_256, SHA2_512, BLAKE3)), st.binary(max_size=400)
)
def test_leaf_multihash_when_any_chunk_then_hash_of_block(
    form: LeafForm, code: int, chunk: bytes
) -> None:
    block = leaf_prefix(form, len(chunk)) + chunk + leaf_suffix(form, len(chunk))
    expected = multihash_of(code, block)
    for view in (chunk, memoryview(chunk), bytearray(chunk)):
        assert leaf_multihash(form, code, view) == expected


@pytest.mark.parametrize("form", FORMS)
def test_leaf_multihash_when_identity_then_block_inside(form: LeafForm) -> None:
    block = leaf_prefix(form, 3) + b"abc" + leaf_suffix(form, 3)
    assert leaf_multihash(form, IDENTITY, b"abc") == bytes((0, len(block))) + block
    with pytest.raises(HashNotAllowed):
        leaf_multihash(form, IDENTITY, bytes(129))


@pytest.mark.parametrize("form", FORMS)
def test_leaf_multihash_when_chunk_is_a_view_then_it_is_not_copied(
    form: LeafForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[Buffer] = []

    class Recorder:
        def update(self, data: Buffer, /) -> None:
            fed.append(data)

        def digest(self) -> bytes:
            return bytes(32)

    def recorder(code: int) -> RunningHash:
        return Recorder()

    monkeypatch.setattr("mirrornode.content.leaf_form.new_hash", recorder)
    chunk = memoryview(bytes(1000))
    leaf_multihash(form, SHA2_256, chunk)
    assert any(piece is chunk for piece in fed)


def test_form_when_asked_for_codec_then_raw_or_dag_pb() -> None:
    assert [form.codec for form in FORMS] == [RAW, DAG_PB, DAG_PB]

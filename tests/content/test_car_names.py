"""Names of a CAR's roots, and the links of any block."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.content.car_names import MAX_NAMED, CarName, decode_names, encode_names
from mirrornode.content.dag_links import NamedLink, links_of
from mirrornode.content.dagcbor import Value
from mirrornode.content.dagpb import Link, encode_node
from mirrornode.content.unixfs import Kind, UnixFs, encode_unixfs
from mirrornode.errors import ContentError
from support.cars import dag_cbor, dag_pb, raw

ROOT = raw(b"content").cid
OTHER = raw(b"other").cid


def test_names_when_encoded_then_known_bytes_and_back() -> None:
    block = encode_names([CarName(ROOT, "bge-m3")])
    # SOURCE: docs/formats/car.md, written out as DAG-CBOR by hand.
    expected = (
        "a16a6d6972726f726e6f6465a2656e616d657381a2646e616d65666267652d6d3364726f6f74d82a582500"
        f"{ROOT.binary.hex()}6776657273696f6e01"
    )
    assert block.data.hex() == expected
    assert decode_names(block) == [CarName(ROOT, "bge-m3")]


@pytest.mark.parametrize(
    "value",
    [
        {"mirrornode": {"version": 2, "names": []}},
        {"mirrornode": {"names": []}},
        {"mirrornode": []},
        {"mirrornode": {"version": 1, "names": {}}},
        {"mirrornode": {"version": 1, "names": [None] * (MAX_NAMED + 1)}},
        {"other": 1},
        [],
        None,
    ],
)
def test_names_when_another_document_then_none(value: Value) -> None:
    assert decode_names(dag_cbor(value)) is None


def test_names_when_block_is_no_document_then_none() -> None:
    assert decode_names(raw(b"\xa0")) is None
    broken = dag_cbor({})
    assert decode_names(type(broken)(broken.cid, b"\xa1")) is None


def test_names_when_entries_malformed_then_only_those_left_out() -> None:
    entries: list[Value] = [
        {"name": "good", "root": ROOT},
        {"name": "../up", "root": ROOT},
        {"name": "bell\a", "root": ROOT},
        {"name": 1, "root": ROOT},
        {"name": "no root"},
        "text",
        {"name": "also good", "root": OTHER, "later": True},
    ]
    block = dag_cbor({"mirrornode": {"version": 1, "names": entries, "later": 1}})
    assert decode_names(block) == [CarName(ROOT, "good"), CarName(OTHER, "also good")]


@given(st.binary(max_size=200))
def test_names_and_links_when_any_bytes_then_content_error_at_worst(noise: bytes) -> None:
    for block in (dag_pb(noise), type(dag_pb(b""))(dag_cbor(0).cid, noise), raw(noise)):
        decode_names(block)
        try:
            links_of(block.cid, block.data)
        except ContentError:
            continue


def test_links_when_folder_file_and_shard_then_names_of_entries_only() -> None:
    def node(message: UnixFs, *names: bytes) -> list[NamedLink]:
        links = [Link(ROOT.binary, name, 7) for name in names]
        block = dag_pb(encode_node(links, encode_unixfs(message)))
        return links_of(block.cid, block.data)

    assert node(UnixFs(Kind.DIRECTORY), b"a", b"b") == [NamedLink(ROOT, "a"), NamedLink(ROOT, "b")]
    assert node(UnixFs(Kind.FILE, filesize=7, blocksizes=[7]), b"") == [NamedLink(ROOT, "")]
    shard = UnixFs(Kind.HAMT_SHARD, data=b"\x01", hash_type=0x22, fanout=256)
    assert node(shard, b"00", b"0Fx.txt") == [NamedLink(ROOT, ""), NamedLink(ROOT, "x.txt")]


def test_links_when_cbor_then_paths_of_keys_and_numbers() -> None:
    block = dag_cbor({"a": {"b": [1, ROOT]}, "c": OTHER})
    found = {link.name: link.cid for link in links_of(block.cid, block.data)}
    assert found == {"a/b/1": ROOT, "c": OTHER}
    assert links_of(ROOT, b"content") == []

"""The header of a CARv1 and the heads of its sections."""

from __future__ import annotations

from mirrornode.content.car import encode_header, section_head
from mirrornode.content.cid import Cid
from support.fixtures import fixture_bytes

V0 = Cid.parse("QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n")
V1 = Cid.parse("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")


def test_header_when_one_root_then_the_known_bytes() -> None:
    # SOURCE: ipld/specs carv1: {roots: [cid], version: 1} in canonical DAG-CBOR.
    v1 = "3aa265726f6f747381d82a582500" + V1.binary.hex() + "6776657273696f6e01"
    v0 = "38a265726f6f747381d82a582300" + V0.binary.hex() + "6776657273696f6e01"
    assert encode_header([V1]).hex() == v1
    assert encode_header([V0]).hex() == v0


def test_section_head_when_small_and_large_then_length_of_cid_and_block() -> None:
    assert section_head(V1, 0) == b"\x24" + V1.binary
    assert section_head(V0, 1 << 20) == b"\xa2\x80\x40" + V0.binary


def test_header_when_basic_fixture_then_its_first_bytes() -> None:
    car = fixture_bytes("car/carv1-basic.car")
    roots = [
        Cid.parse("bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm"),
        Cid.parse("bafyreidj5idub6mapiupjwjsyyxhyhedxycv4vihfsicm2vt46o7morwlm"),
    ]
    assert car.startswith(encode_header(roots))

"""The dag-pb codec: canonical bytes, strict reading."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.content.block import Block, multihash_of
from mirrornode.content.cid import DAG_PB, RAW, SHA2_256, Cid
from mirrornode.content.dagpb import Link, decode_node, encode_node
from mirrornode.errors import ContentError, LimitExceeded, MalformedCid, MalformedNode
from support.fixtures import fixture_json

CID = bytes.fromhex("01551220" + "ab" * 32)
CID_HEX = CID.hex()


def dag_json_node(form: dict[str, Any]) -> tuple[list[Link], bytes | None]:
    """Turn the dag-json form of a fixture into links and data."""
    from multiformats import multibase

    def octets(value: dict[str, Any]) -> bytes:
        return bytes(multibase.decode("m" + value["/"]["bytes"]))

    links = [
        Link(
            Cid.parse(link["Hash"]["/"]).binary,
            link["Name"].encode() if "Name" in link else None,
            link.get("Tsize"),
        )
        for link in form["Links"]
    ]
    return links, octets(form["Data"]) if "Data" in form else None


def test_decode_when_codec_fixtures_then_values_and_bytes_round_trip() -> None:
    fixtures = fixture_json("vectors/ipld_codec_fixtures.json")["fixtures"]
    seen = 0
    for name, forms in fixtures.items():
        if "dag-pb" not in forms:
            continue
        block = bytes.fromhex(forms["dag-pb"]["hex"])
        Block.verify(Cid.parse(forms["dag-pb"]["cid"]), block)
        node = decode_node(block)
        assert encode_node(node.links, node.data) == block, name
        if "dag-json" in forms:
            links, data = dag_json_node(json.loads(bytes.fromhex(forms["dag-json"]["hex"])))
            assert (list(node.links), node.data) == (links, data), name
        seen += 1
    assert seen >= 15


def test_decode_when_negative_fixtures_then_refused() -> None:
    negative = fixture_json("vectors/ipld_codec_fixtures.json")["negative"]["dag-pb"]
    for case in negative["decode/edges.json"]:
        with pytest.raises(ContentError):
            decode_node(bytes.fromhex(case["hex"]))


def test_encode_when_links_are_unsorted_then_sorted_by_name_bytes() -> None:
    # SOURCE: ipld/codec-fixtures encode/invalid-forms.json "bad sort": the wrong order must never
    # be written. The type errors of that file cannot be expressed with typed links.
    names = ["foo", "bar", "foobar", "", "é", "Z"]
    node = decode_node(encode_node([Link(CID, name.encode()) for name in names], None))
    assert [link.name for link in node.links] == sorted(name.encode() for name in names)


# SOURCE: ipld/codec-fixtures dagpb_*, CIDv1 of the block
@pytest.mark.parametrize(
    ("block", "cid"),
    [
        ("", "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
        ("0a00", "bafybeiaqfni3s5s2k2r6rgpxz4hohdsskh44ka5tk6ztbjerqpvxwfkwaq"),
        ("0a050001020304", "bafybeibazl2z4vqp2tmwcfag6wirmtpnomxknqcgrauj7m2yisrz3qjbom"),
        (
            "12140a0901550005000102030418ffffffffffffff0f",
            "bafybeiezymjvhwfuharanxmzxwuomzjjuzqjewjolr4phaiyp6l7qfwo64",
        ),
    ],
)
def test_decode_when_known_block_then_same_bytes_again(block: str, cid: str) -> None:
    data = bytes.fromhex(block)
    assert str(Cid.v1(DAG_PB, multihash_of(SHA2_256, data))) == cid
    node = decode_node(data)
    assert encode_node(node.links, node.data) == data


def test_decode_when_data_comes_first_then_accepted() -> None:
    link = "122a0a24" + CID_HEX + "12001801"
    node = decode_node(bytes.fromhex("0a0101" + link))
    assert node.data == b"\x01"
    assert node.links == [Link(CID, b"", 1)]
    assert node.links[0].cid.codec == RAW


@pytest.mark.parametrize(
    "block",
    [
        pytest.param("1a00", id="unknown field"),
        pytest.param("0a", id="no length"),
        pytest.param("0a05aabb", id="field longer than the block"),
        pytest.param("0a8000", id="length not minimal"),
        pytest.param("0affffffffffffffffff01", id="length of 64 bits"),
        pytest.param("0a01000a0100", id="data twice"),
        pytest.param("1228" + "1200" + "0a24" + CID_HEX, id="name before hash"),
        pytest.param("1228" + "0a24" + CID_HEX + "0a00", id="hash twice"),
        pytest.param("122a" + "0a24" + CID_HEX + "12001200", id="name twice"),
        pytest.param("122a" + "0a24" + CID_HEX + "18001800", id="tsize twice"),
        pytest.param("122a" + "0a24" + CID_HEX + "18001200", id="tsize before name"),
        pytest.param("1228" + "0a24" + CID_HEX + "2000", id="unknown link field"),
        pytest.param("1229" + "0a24" + CID_HEX + "188000", id="tsize not minimal"),
        pytest.param("122b" + "0a24" + CID_HEX + "1200188000", id="tsize of a leaf not minimal"),
        pytest.param("1229" + "0a24" + CID_HEX + "12001880", id="tsize of a leaf cut off"),
        pytest.param("1227" + "0a24" + CID_HEX + "18", id="tsize missing"),
        pytest.param("1200", id="no hash"),
        pytest.param("12240a22" + "1220" + "ab" * 32 + "0a0012", id="rest"),
    ],
)
def test_decode_when_not_canonical_then_malformed(block: str) -> None:
    with pytest.raises(MalformedNode):
        decode_node(bytes.fromhex(block))


@pytest.mark.parametrize("cid", ["", "00", "0155", "01551220ab", CID_HEX + "00", "02" + CID_HEX])
def test_decode_when_link_is_no_cid_then_malformed_cid(cid: str) -> None:
    raw = bytes.fromhex(cid)
    with pytest.raises(MalformedCid):
        decode_node(encode_node([Link(raw)], None))


def test_decode_when_too_many_links_then_limit() -> None:
    block = encode_node([Link(b"\x01\x55\x00\x00")] * 5, None)
    assert len(decode_node(block, max_links=5).links) == 5
    with pytest.raises(LimitExceeded):
        decode_node(block, max_links=4)


def test_decode_when_larger_than_a_block_then_limit() -> None:
    with pytest.raises(LimitExceeded):
        decode_node(bytes(2 * 1024 * 1024 + 1))


links_strategy = st.lists(
    st.builds(
        Link,
        st.sampled_from([CID, CID[2:], b"\x01\x70\x00\x01a", b"\x01\x55\x13\x40" + bytes(64)]),
        st.none() | st.binary(max_size=20),
        st.none() | st.integers(0, (1 << 63) - 1),
    ),
    max_size=8,
)


@given(links_strategy, st.none() | st.binary(max_size=50))
def test_encode_when_any_node_then_decodes_to_the_same(
    links: list[Link], data: bytes | None
) -> None:
    block = encode_node(links, data)
    node = decode_node(block)
    assert list(node.links) == sorted(links, key=lambda link: link.name or b"")
    assert node.data == data
    assert encode_node(node.links, node.data) == block


@given(st.binary(max_size=200))
def test_decode_when_garbage_then_only_content_errors(block: bytes) -> None:
    with suppress(ContentError):
        decode_node(block)


@given(links_strategy, st.binary(max_size=50), st.data())
def test_decode_when_a_byte_is_changed_then_only_content_errors(
    links: list[Link], data: bytes, draw: st.DataObject
) -> None:
    block = bytearray(encode_node(links, data))
    position = draw.draw(st.integers(0, len(block) - 1))
    block[position] = draw.draw(st.integers(0, 255))
    with suppress(ContentError):
        decode_node(bytes(block))

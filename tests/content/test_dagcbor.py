"""DAG-CBOR against the codec fixtures, the rules of the spec, and documents that lie."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.content.block import multihash_of
from mirrornode.content.cid import RAW, SHA2_256, Cid
from mirrornode.content.dagcbor import MAX_DEPTH, Value, decode_dagcbor, encode_dagcbor
from mirrornode.errors import ContentError, LimitExceeded, MalformedNode
from support.fixtures import fixture_json

LINK = Cid(1, RAW, multihash_of(SHA2_256, b"x"))

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 64), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
    | st.just(LINK)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(values)
def test_decode_when_encoded_then_the_same_value(value: Value) -> None:
    assert decode_dagcbor(encode_dagcbor(value)) == value


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        # SOURCE: RFC 8949 appendix A, as far as DAG-CBOR has it.
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (1000, "1903e8"),
        (1000000, "1a000f4240"),
        (18446744073709551615, "1bffffffffffffffff"),
        (-18446744073709551616, "3bffffffffffffffff"),
        (-1, "20"),
        (1.1, "fb3ff199999999999a"),
        (False, "f4"),
        (True, "f5"),
        (None, "f6"),
        (b"\1\2\3\4", "4401020304"),
        ("ü", "62c3bc"),
        ([1, [2, 3], [4, 5]], "8301820203820405"),
        ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
    ],
)
def test_encode_when_known_then_the_canonical_bytes(value: Value, encoded: str) -> None:
    assert encode_dagcbor(value).hex() == encoded
    assert decode_dagcbor(bytes.fromhex(encoded)) == value


def test_encode_when_keys_differ_in_length_then_the_short_come_first() -> None:
    # SOURCE: ipld/specs dag-cbor, "Map keys must be sorted by length, then by bytes".
    assert encode_dagcbor({"version": 1, "roots": []}).hex() == (
        "a265726f6f7473806776657273696f6e01"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1 << 64, -(1 << 64) - 1])
def test_encode_when_there_is_no_such_value_then_refused(value: Value) -> None:
    with pytest.raises(ValueError, match="no"):
        encode_dagcbor(value)


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "1817",  # 23 in two bytes
        "190018",
        "1c",  # reserved
        "5f4101ff",  # indefinite length
        "9fff",
        "f7",  # undefined
        "f90000",  # short floats
        "fa00000000",
        "fb7ff8000000000000",
        "fb7ff0000000000000",
        "c001",  # another tag
        "d82a01",  # a link that is no bytes
        "d82a40",
        "d82a4101",
        "a2616101616102",  # the same key twice
        "a10102",
        "61ff",
        "0000",
        "9bffffffffffffffff",
        "5bffffffffffffffff00",
        "82",
    ],
)
def test_decode_when_not_of_the_data_model_then_refused(encoded: str) -> None:
    with pytest.raises(MalformedNode):
        decode_dagcbor(bytes.fromhex(encoded))


def test_decode_when_a_link_is_no_cid_then_refused() -> None:
    with pytest.raises(ContentError):
        decode_dagcbor(bytes.fromhex("d82a420001"))


def test_decode_when_nested_too_deeply_then_refused() -> None:
    deepest = b"\x81" * (MAX_DEPTH - 1) + b"\x00"
    assert decode_dagcbor(deepest)
    with pytest.raises(LimitExceeded):
        decode_dagcbor(b"\x81" + deepest)


def test_codec_when_fixtures_then_the_same_bytes() -> None:
    fixtures = fixture_json("vectors/ipld_codec_fixtures.json")
    seen = 0
    for name, forms in fixtures["fixtures"].items():
        if "dag-cbor" in forms:
            encoded = bytes.fromhex(forms["dag-cbor"]["hex"])
            assert encode_dagcbor(decode_dagcbor(encoded)) == encoded, name
            seen += 1
    assert seen > 100
    for cases in fixtures["negative"]["dag-cbor"].values():
        for case in cases:
            with pytest.raises(MalformedNode):
                decode_dagcbor(bytes.fromhex(case["hex"]))

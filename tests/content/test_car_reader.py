"""Reading CARs: the fixtures of others, what is made here, and what must be refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.content.block import MAX_BLOCK_BYTES, Block, multihash_of
from mirrornode.content.car import encode_header
from mirrornode.content.car_reader import (
    MAX_HEADER_BYTES,
    MAX_SECTION_BYTES,
    CarHeader,
    Section,
    iter_sections,
    read_car_header,
)
from mirrornode.content.cid import DAG_PB, SHA2_256, Cid
from mirrornode.content.dagcbor import Value, encode_dagcbor
from mirrornode.content.varint import encode_uvarint
from mirrornode.errors import ContentError, LimitExceeded, MalformedCar
from support.cars import Bytes, blocks_of, car_of, raw, v2_of
from support.fixtures import fixture_bytes

V1 = Cid.parse("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")  # raw, empty


def read(content: bytes, piece_bytes: int = 1 << 30) -> tuple[CarHeader, list[Section]]:
    source = Bytes(content, piece_bytes)
    header = read_car_header(source)
    return header, list(iter_sections(source, header))


@pytest.mark.parametrize("name", ["carv1-basic", "carv2-basic"])
def test_read_when_spec_fixture_then_its_offsets_and_roots(name: str) -> None:
    known = json.loads(fixture_bytes(f"car/{name}.json"))
    content = fixture_bytes(f"car/{name}.car")
    header, sections = read(content)
    assert header.version == int(name[4])
    roots = known["header"]["roots"]
    assert [str(root) for root in header.roots] == [root["/"] for root in roots]
    assert [(str(s.cid), s.offset, s.size_bytes) for s in sections] == [
        (block["cid"]["/"], block["blockOffset"], block["blockLength"]) for block in known["blocks"]
    ]
    assert len(blocks_of(content)) == len(known["blocks"])


# Name, version, number of roots.
GOOD = [
    ("TestDagStat.car", 1, 1),
    ("TestDagStatCARv2.car", 2, 1),
    ("dir-special-chars.car", 1, 1),
    ("directory-with-multilayer-hamt-and-multiblock-files.car", 1, 1),
    ("go-car-sample-rw-bs-v2.car", 2, 3),
    ("go-car-sample-unixfs-v2.car", 2, 1),
    ("go-car-simple-unixfs-missing-blocks.car", 1, 1),
    ("go-car-simple-unixfs.car", 1, 1),
    ("partial-dag-scope-entity.car", 1, 1),
    ("unixfs-dir-with-mode-mtime.car", 1, 1),
]


@pytest.mark.parametrize(("name", "version", "roots"), GOOD)
def test_read_when_fixture_of_go_then_every_block_matches_its_cid(
    name: str, version: int, roots: int
) -> None:
    content = fixture_bytes(f"car/{name}")
    header, sections = read(content)
    assert (header.version, len(header.roots)) == (version, roots)
    assert len(blocks_of(content)) == len(sections) > 0
    assert any(block.cid.multihash == header.roots[0].multihash for block in blocks_of(content))


@pytest.mark.parametrize(
    "name",
    [
        "go-car-badheaderlength.car",
        "go-car-badsectionlength.car",
        "go-car-sample-corrupt-pragma.car",
        "go-car-sample-rootless-v42.car",
    ],
)
def test_read_when_bad_fixture_of_go_then_content_error(name: str) -> None:
    content = fixture_bytes(f"car/{name}")
    with pytest.raises((MalformedCar, LimitExceeded)):
        read(content)


@given(st.lists(st.binary(max_size=20_000), max_size=6), st.integers(0, 2))
def test_read_when_made_here_then_same_blocks_in_order(contents: list[bytes], version: int) -> None:
    blocks = [raw(content) for content in contents]
    if blocks:
        v0 = multihash_of(SHA2_256, b"\n\0")
        blocks.append(Block(Cid(0, DAG_PB, v0), b"\n\0"))
    car = car_of(blocks)
    if version:
        car = v2_of(car, gap=3 * version, index=b"\x81\x08" * version, after=version)
    header, _ = read(car)
    assert header.roots == tuple(block.cid for block in blocks[:1])
    assert blocks_of(car) == blocks


@pytest.mark.parametrize("wrap", [bytes, v2_of])
def test_read_when_one_byte_at_a_time_then_the_same(wrap: type[bytes]) -> None:
    car = wrap(car_of([raw(b"one"), raw(b""), raw(bytes(20_000)), raw(b"last")]))
    assert read(car, 1) == read(car)


@given(st.integers(0, 400))
def test_read_when_cut_anywhere_then_refused_or_whole_sections(cut: int) -> None:
    blocks = [raw(b"one"), raw(bytes(100)), raw(b"three")]
    car = car_of(blocks)
    _, sections = read(car)
    edges = [sections[0].offset - 37, *(s.offset + s.size_bytes for s in sections)]
    if cut in edges or cut >= len(car):
        assert len(read(car[:cut])[1]) <= len(blocks)
    else:
        with pytest.raises(MalformedCar):
            read(car[:cut])


@given(st.binary(max_size=300), st.integers(0, 300))
def test_read_when_any_bytes_then_content_error_at_worst(noise: bytes, at: int) -> None:
    good = car_of([raw(b"one"), raw(bytes(100)), raw(b"three")])
    for car in (noise, good[:at] + noise, good[:at] + noise + good[at + len(noise) :]):
        try:
            read(car)
        except ContentError:
            continue


def test_read_when_zeros_follow_then_padding() -> None:
    car = car_of([raw(b"one")])
    assert read(car + bytes(100_000))[1] == read(car)[1]
    with pytest.raises(MalformedCar, match="empty section"):
        read(car + bytes(70_000) + b"\x01")


def test_read_when_large_sections_then_little_is_read() -> None:
    car = car_of([raw(bytes([number]) * (1 << 20)) for number in range(4)])
    source = Bytes(car)
    assert len(list(iter_sections(source, read_car_header(source)))) == 4
    assert source.given_bytes < 10_000


def header_of(fields: Value) -> bytes:
    body = encode_dagcbor(fields)
    return encode_uvarint(len(body)) + body


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 1},
        {"roots": [], "version": 3},
        {"roots": [], "version": True},
        {"roots": [], "version": 1.0},
        {"roots": [], "version": "1"},
        {"roots": ["bafy"], "version": 1},
        {"roots": V1, "version": 1},
        {"roots": None, "version": 1},
        {"roots": [V1], "version": 1, "more": 0},
        {"roots": [V1], "version": 2},
        [V1],
        1,
    ],
)
def test_header_when_not_of_the_spec_then_refused(fields: Value) -> None:
    with pytest.raises(MalformedCar):
        read(header_of(fields))


def test_header_when_beyond_the_limit_then_refused_before_it_is_read() -> None:
    source = Bytes(encode_uvarint(MAX_HEADER_BYTES + 1) + bytes(MAX_HEADER_BYTES + 1))
    with pytest.raises(LimitExceeded):
        read_car_header(source)
    assert source.given_bytes < 100


def test_section_when_beyond_the_limit_then_refused() -> None:
    largest = raw(bytes(MAX_BLOCK_BYTES))
    assert blocks_of(car_of([largest])) == [largest]
    length = MAX_SECTION_BYTES + 1
    with pytest.raises(LimitExceeded, match="section"):
        read(encode_header([V1]) + encode_uvarint(length) + V1.binary + bytes(length))


@pytest.mark.parametrize(
    "body",
    [
        b"\x01",
        b"\x01\x55\x12\x20" + bytes(31),
        b"\x12\x20" + bytes(31),
        b"\x02\x55\x12\x20",
        b"\xff",
    ],
)
def test_section_when_no_cid_then_malformed(body: bytes) -> None:
    with pytest.raises(MalformedCar, match="section"):
        read(encode_header([V1]) + encode_uvarint(len(body)) + body)


def test_v2_when_places_lie_outside_then_refused() -> None:
    inner = car_of([raw(b"one")])
    good = v2_of(inner, index=b"\x80\x08")
    assert read(good)[0].version == 2

    def with_numbers(start: int, length: int, index: int) -> bytes:
        numbers = b"".join(n.to_bytes(8, "little") for n in (start, length, index))
        return good[:27] + numbers + good[51:]

    size = len(inner)
    for numbers in (
        (50, size, 0),
        (0, 0, 0),
        (51, len(good), 0),
        (1 << 63, 1 << 63, 0),
        (51, size, 51),
        (51, size, len(good) + 1),
        (51, size - 1, 0),
    ):
        with pytest.raises(MalformedCar):
            read(with_numbers(*numbers))
    with pytest.raises(MalformedCar):
        read(v2_of(v2_of(inner)))

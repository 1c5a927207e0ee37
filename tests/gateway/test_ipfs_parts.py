"""The parts of the IPFS gateway that need no server: requests, headers, CARs, the seen-set."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrornode.content.cid import Cid
from mirrornode.content.dagcbor import encode_dagcbor
from mirrornode.content.dagpb import Link, encode_node
from mirrornode.content.unixfs import Kind, UnixFs, encode_unixfs
from mirrornode.errors import BlockNotFound, LimitExceeded, MalformedNode
from mirrornode.gateway.ipfs_blocks import LocalBlocks
from mirrornode.gateway.ipfs_car import DAG_CBOR_CODEC, ByteRange, CarWanted, car_pieces, car_wanted
from mirrornode.gateway.ipfs_file import file_pieces
from mirrornode.gateway.ipfs_headers import content_disposition, media_type_of
from mirrornode.gateway.ipfs_page import shown_size
from mirrornode.gateway.ipfs_path import Place, follow
from mirrornode.gateway.ipfs_request import CAR, RAW, Refused, parse_request
from mirrornode.gateway.ipfs_seen import SeenBlocks
from mirrornode.store.catalog import Catalog, open_catalog
from support.blocks import car_blocks
from support.ipfs_gateway import keep_block, keep_file, keep_folder
from support.planes import shelf_of
from support.shared_files import content

CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(tmp_path / "home") as catalog:
        yield catalog


@pytest.fixture
def blocks(catalog: Catalog) -> LocalBlocks:
    return LocalBlocks(shelf_of(catalog))


def car_of(cid: Cid, wanted: CarWanted, blocks: LocalBlocks) -> list[Cid]:
    """The CIDs of a CAR of one CID, in order."""
    place = follow(cid, [], blocks)
    return [block.cid for block in car_blocks(b"".join(car_pieces(place, wanted, blocks)))]


@pytest.mark.parametrize(
    ("query", "accept", "format_", "params"),
    [
        ({}, "", "", {}),
        ({}, "text/html, */*;q=0.8", "", {}),
        ({}, "application/vnd.ipld.car; version=1; order=dfs; dups=y", CAR,
         {"version": "1", "order": "dfs", "dups": "y"}),
        ({}, "application/vnd.ipld.car;q=0, application/vnd.ipld.raw;q=0.5", RAW, {}),
        ({"format": "raw"}, "application/vnd.ipld.car;dups=y", RAW, {}),
        ({"format": "car"}, 'Application/vnd.ipld.CAR;dups="Y"', CAR, {"dups": "y"}),
    ],
)  # fmt: skip
def test_request_when_a_format_is_asked_then_the_query_wins(
    query: dict[str, str], accept: str, format_: str, params: dict[str, str]
) -> None:
    request = parse_request(f"/ipfs/{CID}", query, {"Accept": accept} if accept else {})
    assert (request.format, request.type_params) == (format_, params)


def test_request_when_a_path_is_escaped_then_each_part_is_decoded_alone() -> None:
    request = parse_request(f"/ipfs/{CID}//a%2Fb/%C3%A4+%25/", {}, {})
    assert request.segments == ("a/b", "ä+%")
    assert request.has_slash
    assert request.url_path == f"/ipfs/{CID}/a%2Fb/%C3%A4%2B%25/"


@pytest.mark.parametrize(
    ("text", "size", "run"),
    # SOURCE: trustless gateway, "entity-bytes"; the 1026 byte file of gateway-conformance.
    [("0:*", 10, (0, 10)), ("-1024:*", 2000, (976, 2000)), ("512:-256", 1026, (512, 771)),
     ("-9999:*", 10, (0, 10)), ("-9999:-3", 10, (0, 8)), ("0:0", 10, (0, 1)), ("5:99", 10, (5, 10)),
     ("10:*", 10, (0, 0)), ("-5:3", 10, (0, 0)), ("0:-11", 10, (0, 0)), ("0:*", 0, (0, 0)),
     ("499:-1000", 2000, (499, 1001))],
)  # fmt: skip
def test_entity_bytes_when_given_then_the_bytes_of_a_file(
    text: str, size: int, run: tuple[int, int]
) -> None:
    wanted = car_wanted({"entity-bytes": text}, {})
    assert wanted.scope == "entity"
    assert wanted.byte_range is not None
    assert wanted.byte_range.within(size) == run


@pytest.mark.parametrize(
    "text", ["", ":", "1", "1:", "a:b", "*:1", "1:2:3", "+1:2", "9" * 30 + ":*"]
)
def test_entity_bytes_when_malformed_then_refused_or_ignored(text: str) -> None:
    if not text:
        assert car_wanted({"entity-bytes": text}, {}).byte_range is None
        return
    with pytest.raises(Refused) as refused:
        car_wanted({"entity-bytes": text}, {})
    assert refused.value.status == 400


def test_car_when_blocks_repeat_then_only_dups_y_repeats_them(
    catalog: Catalog, blocks: LocalBlocks
) -> None:
    file = keep_file(catalog, b"a" * 5000)  # five equal leaves below two nodes
    folder = keep_folder(catalog, [("x", file, 1), ("y", file, 1)])
    once = car_of(folder, CarWanted(), blocks)
    assert len(once) == len(set(once))
    again = car_of(folder, CarWanted(duplicates=True), blocks)
    assert set(again) == set(once)
    assert again.count(file) == 2
    assert len(again) == 1 + 2 * (len(again) // 2)


def test_car_when_a_range_begins_in_a_repeated_node_then_every_needed_leaf_is_in_it(
    catalog: Catalog, blocks: LocalBlocks
) -> None:
    # One node stands for bytes 0-2000 and 2000-4000; the first time only its end is wanted.
    first, second = (keep_block(catalog, bytes([i]) * 1000, 0x55) for i in (1, 2))
    half = file_node(catalog, [first, second], [1000, 1000])
    root = file_node(catalog, [half, half], [2000, 2000])
    found = car_of(root, CarWanted("entity", ByteRange(1500, 2500)), blocks)
    assert found == [root, half, second, first]
    data = b"".join(file_pieces(root, 1500, 2501, blocks))
    assert data == b"\2" * 500 + b"\1" * 501


def file_node(catalog: Catalog, cids: list[Cid], sizes: list[int]) -> Cid:
    links = [Link(cid.binary, b"", size) for cid, size in zip(cids, sizes, strict=True)]
    message = UnixFs(Kind.FILE, filesize=sum(sizes), blocksizes=sizes)
    return keep_block(catalog, encode_node(links, encode_unixfs(message)))


def test_car_when_a_document_has_links_then_scope_all_follows_them(
    catalog: Catalog, blocks: LocalBlocks
) -> None:
    leaf = keep_block(catalog, b"leaf", 0x55)
    document = keep_block(catalog, encode_dagcbor({"a": [{"b": leaf}], "c": 1}), DAG_CBOR_CODEC)
    assert car_of(document, CarWanted(), blocks) == [document, leaf]
    assert car_of(document, CarWanted("entity"), blocks) == [document]


def test_car_when_a_dag_explodes_then_it_ends_at_its_limit(
    catalog: Catalog, blocks: LocalBlocks
) -> None:
    leaf = keep_block(catalog, b"x", 0x55)
    node, size = leaf, 1
    for _ in range(12):  # 10**36 paths through 13 blocks
        node, size = file_node(catalog, [node] * 1000, [size] * 1000), size * 1000
        if size >= 1 << 50:
            break
    assert len(car_of(node, CarWanted(), blocks)) < 20
    pieces = car_pieces(Place(node, (node,), ()), CarWanted(duplicates=True), blocks)
    for _ in range(10_000):  # bounded work and memory for each step
        next(pieces)


def test_car_when_folders_are_too_deep_then_it_ends(catalog: Catalog, blocks: LocalBlocks) -> None:
    cid = keep_block(catalog, b"x", 0x55)
    for _ in range(300):
        cid = keep_folder(catalog, [("d", cid, 1)])
    with pytest.raises(LimitExceeded):
        car_of(cid, CarWanted(), blocks)


def test_file_when_a_node_lies_about_its_size_then_nothing_of_it_is_sent(
    catalog: Catalog, blocks: LocalBlocks
) -> None:
    leaf = keep_block(catalog, b"abc", 0x55)
    lying = file_node(catalog, [leaf, leaf], [3, 4])
    pieces = file_pieces(lying, 0, 7, blocks)
    assert next(pieces) == b"abc"
    with pytest.raises(MalformedNode):
        next(pieces)
    folder = keep_folder(catalog, [("a", leaf, 3)])
    with pytest.raises(MalformedNode):
        list(file_pieces(file_node(catalog, [folder], [3]), 0, 3, blocks))


def test_path_when_a_block_on_the_way_is_missing_then_that_is_said(
    catalog: Catalog, blocks: LocalBlocks
) -> None:
    missing = Cid.v1(0x70, Cid.raw_sha256(bytes(32)).multihash)
    folder = keep_folder(catalog, [("gone", missing, 1)])
    with pytest.raises(BlockNotFound):
        follow(folder, ["gone", "below"], blocks)
    place = follow(folder, ["gone"], blocks)
    assert (place.cid, place.way) == (missing, (folder,))


def test_seen_when_many_blocks_come_then_each_is_new_once_and_there_is_an_end() -> None:
    seen = SeenBlocks(max_blocks=5000)
    numbers = [b"\x12\x20" + content(32 + n % 7) + n.to_bytes(4, "big") for n in range(5000)]
    random.Random(1).shuffle(numbers)
    assert all(seen.add(number) for number in numbers)
    assert not any(seen.add(number) for number in numbers)
    assert len(seen) == 5000
    with pytest.raises(LimitExceeded):
        seen.add(b"one more")


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("README.md", "text/plain; charset=utf-8"), ("a.JSON", "application/json"),
     ("a.html", "text/html; charset=utf-8"), ("w.safetensors", "application/octet-stream"),
     ("a.tar.gz", "application/octet-stream"), ("noext", "application/octet-stream"),
     ("", "application/octet-stream"), ("i.png", "image/png"),
     (".md", "text/plain; charset=utf-8")],
)  # fmt: skip
def test_type_when_a_name_is_given_then_by_its_end(name: str, media_type: str) -> None:
    assert media_type_of(name) == media_type


def test_disposition_when_a_name_is_not_ascii_then_both_forms() -> None:
    given = content_disposition("inline", 'ä "b"\r\n.txt')
    assert given == ("inline; filename=\"_ _b___.txt\"; filename*=UTF-8''%C3%A4%20%22b%22__.txt")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_949, "99.9 kB"), (99_950, "100 kB"),
     (999_499, "999 kB"), (999_500, "1.0 MB"), (4_900_000_000, "4.9 GB"), (10**19, "10000 PB")],
)  # fmt: skip
def test_size_when_shown_then_short(size: int, text: str) -> None:
    assert shown_size(size) == text

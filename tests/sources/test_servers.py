"""What is special about gateways, file servers and this disk as sources."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contracts.source import fetch
from mirrornode.content.cid import Cid
from mirrornode.content.recipe import recipe_from
from mirrornode.errors import CidMismatch, SourceGone, SourceRefused, TargetError
from mirrornode.sources.http_file import HttpFileSource
from mirrornode.sources.local import LocalSource
from mirrornode.sources.trustless_gateway import GatewaySource
from support.http_files import file_server
from support.models import LEAF, folder_of, model_of
from support.planes import Shared
from support.raw_server import Visit, raw_server
from support.shared_files import content, overwrite
from support.trustless import trustless_server

MODEL = model_of()


def test_gateway_is_told_from_other_servers() -> None:
    with trustless_server(MODEL) as url:
        assert GatewaySource(url + "/").is_gateway()
    with file_server({"x": b"y"}) as files:
        assert not GatewaySource(files.url).is_gateway()


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
     b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b"x" * 500,
     b"HTTP/1.1 302 Found\r\nLocation: http://[/\r\nContent-Length: 0\r\n\r\n"],
    ids=["a page", "a large page", "redirect to nowhere"],
)  # fmt: skip
def test_gateway_when_a_server_answers_everything_then_it_is_none(answer: bytes) -> None:
    def behaviour(visit: Visit) -> None:
        while visit.head():
            visit.send(answer)

    with raw_server(behaviour) as server:
        assert not GatewaySource(server.url).is_gateway()


def test_gateway_when_nobody_answers_then_source_gone() -> None:
    with raw_server(lambda visit: None) as server, pytest.raises(SourceGone):
        GatewaySource(server.url).is_gateway()


def test_gateway_blocks_come_and_lacking_ones_are_none() -> None:
    with trustless_server(MODEL) as url:
        block = MODEL.blocks[0]
        asked = [block.cid, Cid.raw_sha256(b"z" * 32)]
        assert GatewaySource(url).fetch_blocks(asked) == [block.data, None]


def test_gateway_when_overloaded_then_refused_with_its_status() -> None:
    with file_server({}, "error") as server, pytest.raises(SourceRefused) as caught:
        GatewaySource(server.url).fetch_blocks([MODEL.root])
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("length", "error"), [(-1, CidMismatch), (LEAF, SourceRefused)], ids=["prefix", "size"]
)
def test_gateway_when_a_wrapped_leaf_is_another_block_then_blamed(
    length: int, error: type[Exception]
) -> None:
    model = model_of(recipe=recipe_from(chunker="size-1000", raw_leaves=False))

    def behaviour(visit: Visit) -> None:
        while head := visit.head():
            if "format=raw" not in head:
                visit.answer(status="406 No")
            else:
                visit.answer(b"x" * (len(model.blocks[1].data) if length < 0 else length))

    with raw_server(behaviour) as server, pytest.raises(error):
        fetch(GatewaySource(server.url).open_lane(), model.file, 0, 1)


def test_http_folder_takes_each_file_from_below_its_base() -> None:
    files = {"a b/ü%.bin": content(3 * LEAF), "c.bin": content(2 * LEAF)}
    manifest_files = {"c.bin": folder_of({"c.bin": files["c.bin"]}).file}
    with file_server({f"base/{name}": data for name, data in files.items()}) as server:
        source = HttpFileSource(f"{server.url}/base/")
        assert fetch(source.open_lane(), manifest_files["c.bin"], 0, 2) == files["c.bin"]
        assert source.url_of("a b/ü%.bin") == f"{server.url}/base/a%20b/%C3%BC%25.bin"
        assert server.requests[0][:2] == ("GET", "base/c.bin")


def test_http_file_when_url_is_none_then_target_error() -> None:
    with pytest.raises(TargetError):
        HttpFileSource("ftp://x/")


def test_http_file_when_server_ignores_ranges_then_known_as_sequential() -> None:
    with file_server({"m": MODEL.data}, "no-range") as server:
        source = HttpFileSource(f"{server.url}/m")
        assert fetch(source.open_lane(), MODEL.file, 1, 3) == MODEL.data[LEAF : 3 * LEAF]
        assert source.is_sequential


@pytest.mark.parametrize("change", ["rewrite", "truncate", "remove", "symlink"])
def test_local_when_the_file_changed_then_only_its_blocks_are_lacking(
    shared: Shared, tmp_path: Path, change: str
) -> None:
    lane = LocalSource(shared.catalog.find_leaves(shared.model.file.map.multihashes)).open_lane()
    if change == "rewrite":
        overwrite(shared.path, b"x" * len(shared.model.data))
    elif change == "truncate":
        os.truncate(shared.path, 10)
    else:
        shared.path.rename(tmp_path / "away")
        if change == "symlink":
            shared.path.symlink_to(tmp_path / "away")
    with pytest.raises(SourceRefused) as caught:
        fetch(lane, shared.model.file, 0, 1)
    assert caught.value.status == 410
    lane.abort()


def test_local_when_the_file_shrinks_while_it_is_read_then_lacking(shared: Shared) -> None:
    lane = LocalSource(shared.catalog.find_leaves(shared.model.file.map.multihashes)).open_lane()
    lane.begin(shared.model.file, 0, 11)
    lane.read_leaf(memoryview(bytearray(LEAF)))
    os.truncate(shared.path, LEAF + 10)
    with pytest.raises(SourceRefused):
        lane.read_leaf(memoryview(bytearray(LEAF)))
    lane.abort()

"""A whole file from a plain URL: every known recipe, wrong files, interruptions."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from mirrornode.content.cid import Cid
from mirrornode.content.file_dag import import_bytes
from mirrornode.content.recipe import UNIXFS_V1_2025, Recipe, recipe_from
from mirrornode.errors import CidMismatch, OriginChanged, PathRefused, SourceError, SourceRefused
from mirrornode.events import Event
from mirrornode.mirror.rebuild import KNOWN_RECIPES, rebuild
from mirrornode.sources.http_file import HttpFileSource
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.store.stamps import FileStamp
from support.http_files import CUT_BYTES, FileServer, file_server
from support.raw_server import Visit, raw_server
from support.shared_files import content
from support.waiting import until

DATA = content(70_000) * 10
LARGE = content(1_000_000) * (CUT_BYTES // 1_000_000 + 2)


def cid_of(data: bytes, recipe: Recipe = UNIXFS_V1_2025) -> Cid:
    return import_bytes([data], recipe)[0].root


async def fetch(
    tmp_path: Path, cid: Cid, *urls: str, out: str = "out.bin"
) -> tuple[int, int, list[Event]]:
    events: list[Event] = []
    with open_catalog(tmp_path / "home") as catalog:
        rebuilt = await rebuild(
            catalog, cid, tmp_path / out, [HttpFileSource(url) for url in urls], events.append
        )
        check_recorded(catalog, cid, tmp_path / out)
    assert sum(rebuilt.bytes_by_source.values()) == rebuilt.size_bytes - rebuilt.resumed_bytes
    return rebuilt.size_bytes, rebuilt.resumed_bytes, events


def check_recorded(catalog: Catalog, cid: Cid, path: Path) -> None:
    stored = catalog.find_file(cid.multihash) or catalog.find_file(
        (catalog.find_alias(cid.multihash) or cid).multihash
    )
    assert stored is not None
    assert (stored.path, stored.stamp) == (path, FileStamp.of(path))
    assert catalog.announce_counts()[0] >= 1
    assert [root.path for root in catalog.roots()] == [path]


def part(tmp_path: Path) -> Path:
    return tmp_path / "out.bin.whole.part"


@pytest.mark.parametrize(
    "recipe", KNOWN_RECIPES, ids=lambda recipe: f"{recipe.chunker}-{recipe.max_links}"
)
async def test_file_is_proven_under_each_known_recipe(tmp_path: Path, recipe: Recipe) -> None:
    with file_server({"m.bin": DATA}) as server:
        size, resumed, _ = await fetch(tmp_path, cid_of(DATA, recipe), f"{server.url}/m.bin")
    assert (size, resumed) == (len(DATA), 0)
    assert (tmp_path / "out.bin").read_bytes() == DATA
    assert not part(tmp_path).exists()


async def test_file_is_proven_by_its_sha256(tmp_path: Path) -> None:
    cid = Cid.raw_sha256(hashlib.sha256(LARGE).digest())
    with file_server({"m.bin": LARGE}) as server:
        await fetch(tmp_path, cid, f"{server.url}/m.bin")
    assert (tmp_path / "out.bin").read_bytes() == LARGE


async def test_file_when_it_is_another_then_mismatch_and_nothing_is_left(tmp_path: Path) -> None:
    with file_server({"m.bin": DATA}, "wrong") as server, pytest.raises(CidMismatch):
        await fetch(tmp_path, cid_of(DATA), f"{server.url}/m.bin")
    assert not (tmp_path / "out.bin").exists()
    assert not part(tmp_path).exists()


async def test_file_when_its_recipe_is_unknown_then_mismatch(tmp_path: Path) -> None:
    with file_server({"m.bin": DATA}) as server, pytest.raises(CidMismatch):
        await fetch(tmp_path, cid_of(DATA, recipe_from(chunker="size-777")), f"{server.url}/m.bin")


async def test_fetch_when_the_connection_is_cut_then_it_goes_on(tmp_path: Path) -> None:
    with file_server({"m.bin": LARGE}, "cut") as server:
        await fetch(tmp_path, cid_of(LARGE), f"{server.url}/m.bin")
        ranges = [wanted for _, _, wanted in server.requests]
    assert ranges[0] == ""
    assert all(wanted.startswith("bytes=") for wanted in ranges[1:])
    assert (tmp_path / "out.bin").read_bytes() == LARGE


async def test_fetch_when_several_urls_share_it_then_each_is_credited_with_its_bytes(
    tmp_path: Path,
) -> None:
    with file_server({"m.bin": LARGE}, "cut") as first, file_server({"m.bin": LARGE}) as second:
        urls = [f"{server.url}/m.bin" for server in (first, second)]
        with open_catalog(tmp_path / "home") as catalog:
            rebuilt = await rebuild(
                catalog, cid_of(LARGE), tmp_path / "out.bin",
                [HttpFileSource(url) for url in urls], lambda event: None,
            )  # fmt: skip
    credit = [rebuilt.bytes_by_source[f"http:{url}"] for url in urls]
    assert sum(credit) == len(LARGE)
    assert all(credit)
    assert credit[0] <= CUT_BYTES


async def test_part_when_it_is_a_fifo_then_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(part(tmp_path))
    with file_server({"m.bin": DATA}) as server, pytest.raises(PathRefused):
        await fetch(tmp_path, cid_of(DATA), f"{server.url}/m.bin")


async def test_name_when_it_is_as_long_as_can_be_then_fetched(tmp_path: Path) -> None:
    with file_server({"m.bin": DATA}) as server:
        await fetch(tmp_path, cid_of(DATA), f"{server.url}/m.bin", out="n" * 255)
    assert (tmp_path / ("n" * 255)).read_bytes() == DATA


async def test_fetch_when_an_earlier_run_was_interrupted_then_it_goes_on(tmp_path: Path) -> None:
    part(tmp_path).write_bytes(DATA[:100_000])
    with file_server({"m.bin": DATA}) as server:
        size, resumed, _ = await fetch(tmp_path, cid_of(DATA), f"{server.url}/m.bin")
        assert [wanted for _, _, wanted in server.requests] == ["bytes=100000-"]
    assert (size, resumed) == (len(DATA), 100_000)


async def test_fetch_when_an_earlier_run_had_it_all_then_nothing_is_fetched(
    tmp_path: Path,
) -> None:
    part(tmp_path).write_bytes(DATA)
    with file_server({"m.bin": DATA}) as server:
        size, resumed, _ = await fetch(tmp_path, cid_of(DATA), f"{server.url}/m.bin")
        assert server.sent_bytes == 0
    assert (size, resumed) == (len(DATA), len(DATA))


@pytest.mark.parametrize("length", [1000, len(DATA), len(DATA) + 5])
async def test_fetch_when_the_earlier_part_is_of_another_file_then_once_more_from_the_start(
    tmp_path: Path, length: int
) -> None:
    part(tmp_path).write_bytes(b"x" * length)
    with file_server({"m.bin": DATA}) as server:
        size, resumed, _ = await fetch(tmp_path, cid_of(DATA), f"{server.url}/m.bin")
    assert (size, resumed) == (len(DATA), 0)
    assert (tmp_path / "out.bin").read_bytes() == DATA


async def test_fetch_when_the_file_changes_all_the_time_then_its_error(tmp_path: Path) -> None:
    with (
        file_server({"m.bin": LARGE}, "cut", "etag-changes") as server,
        pytest.raises((OriginChanged, SourceError)) as caught,
    ):
        await fetch(tmp_path, cid_of(LARGE), f"{server.url}/m.bin")
    assert str(caught.value) != "stopped"
    assert not (tmp_path / "out.bin").exists()


async def test_fetch_when_the_first_source_is_dead_then_the_next(tmp_path: Path) -> None:
    with file_server({"m.bin": DATA}) as server:
        urls = ("http://127.0.0.1:1/m.bin", f"{server.url}/none", f"{server.url}/m.bin")
        await fetch(tmp_path, cid_of(DATA), *urls)
    assert (tmp_path / "out.bin").read_bytes() == DATA


async def test_fetch_when_two_mirrors_take_turns_then_progress_is_kept(tmp_path: Path) -> None:
    # Each mirror has tags of its own: going on at the other one is no change of the file.
    with (
        file_server({"m.bin": LARGE}, "cut") as first,
        file_server({"m.bin": LARGE}, "cut", "etag-changes") as second,
    ):
        await fetch(tmp_path, cid_of(LARGE), f"{first.url}/m.bin", f"{second.url}/m.bin")
        assert asked_from_start(first) + asked_from_start(second) == 1


def asked_from_start(server: FileServer) -> int:
    return sum(wanted == "" for _, _, wanted in server.requests)


@pytest.mark.parametrize(
    "head",
    ["200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
     "200 OK\r\nContent-Length: \xb2\r\n\r\n",
     "206 X\r\nContent-Range: bytes 5-6/7\r\nContent-Length: 2\r\n\r\nab",
     "404 Not Found\r\nContent-Length: 0\r\n\r\n"],
    ids=["no size", "gzip", "odd size", "wrong range", "missing"],
)  # fmt: skip
async def test_fetch_when_no_answer_is_usable_then_refused(tmp_path: Path, head: str) -> None:
    def behaviour(visit: Visit) -> None:
        while visit.head():
            visit.send(b"HTTP/1.1 " + head.encode("latin-1"))

    with raw_server(behaviour) as server, pytest.raises(SourceRefused):
        await fetch(tmp_path, cid_of(DATA), f"{server.url}/m.bin")


async def test_fetch_when_cancelled_then_it_ends_at_once_and_the_part_stays(
    tmp_path: Path,
) -> None:
    def some_then_silence(visit: Visit) -> None:
        visit.head()
        visit.answer(bytes(2 << 20), length=10 << 20)
        visit.hang()

    with raw_server(some_then_silence) as server:
        task = asyncio.create_task(fetch(tmp_path, cid_of(DATA), f"{server.url}/m.bin"))
        await until(lambda: part(tmp_path).exists() and part(tmp_path).stat().st_size == 2 << 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert part(tmp_path).stat().st_size == 2 << 20


async def test_fetch_when_the_part_cannot_be_written_then_path_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    part(tmp_path).symlink_to(tmp_path / "victim")
    with file_server({"m.bin": DATA}) as server, pytest.raises(PathRefused):
        await fetch(tmp_path, cid_of(DATA), f"{server.url}/m.bin")
    assert (tmp_path / "victim").read_bytes() == b"precious"

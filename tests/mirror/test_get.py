"""`get` between nodes of one process: real catalogs, planes and tickets, a virtual swarm."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mirrornode.content.cid import DAG_PB, Cid
from mirrornode.content.recipe import UNIXFS_V1_2025, Recipe
from mirrornode.errors import (
    CidMismatch,
    DiskFull,
    Incomplete,
    NoProviders,
    PathRefused,
    SourceGone,
    TargetError,
)
from mirrornode.events import Event, GetProgress, Got, Note
from mirrornode.mirror.get import get
from mirrornode.mirror.get_request import GetRequest
from mirrornode.routing.kad.node import ProviderRecord
from mirrornode.wire.ticket import PROTOCOL, Holding, Ticket, decode_request, encode_ticket
from support.http_files import file_server
from support.models import LEAF
from support.paced_server import paced_server
from support.raw_server import Visit, raw_server
from support.room import Peer, Room
from support.shared_files import content, overwrite, write
from support.small_disk import small_disk
from support.waiting import until

FILES = {
    "config.json": content(300),
    "deep/er/weights.bin": content(40 * LEAF + 3),
    "empty.txt": b"",
    "tokenizer.json": content(2 * LEAF),
}
AT_ONCE_S = 0.6


@asynccontextmanager
async def nodes(folder: Path, *names: str) -> AsyncIterator[list[Peer]]:
    room = Room(folder)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(room.node(name)) for name in names]


async def fetch(
    taker: Peer, target: str, out: Path, *, events: list[Event] | None = None, **options: Any
) -> Got:
    request = GetRequest(
        target=target, folder=out.parent, destination=out, **{"timeout_s": 20.0, **options}
    )
    return await get(taker.ports, request, (events if events is not None else []).append)


def write_folder(folder: Path) -> Path:
    for name, data in FILES.items():
        write(folder / name, data)
    (folder / "latest").symlink_to("config.json")
    return folder


def assert_folder(folder: Path) -> None:
    for name, data in FILES.items():
        assert (folder / name).read_bytes() == data
    assert os.readlink(folder / "latest") == "config.json"
    assert not list(folder.rglob("*.part"))


async def test_file_comes_from_a_peer_and_is_shared_then(tmp_path: Path) -> None:
    data = content(30 * LEAF + 1)
    async with nodes(tmp_path, "seed", "taker", "third") as (seed, taker, third):
        cid = seed.share(write(tmp_path / "m.bin", data))
        events: list[Event] = []
        got = await fetch(taker, cid, tmp_path / "out.bin", peers=(seed.address,), events=events)
        assert (tmp_path / "out.bin").read_bytes() == data
        assert (got.cid, got.size_bytes, got.files, got.verified) == (cid, len(data), 1, True)
        assert set(got.bytes_by_source) == {seed.source_id}
        assert got.bytes_by_source[seed.source_id] > len(data)  # the inner nodes too
        assert taker.announced
        phases = [event.phase for event in events if isinstance(event, GetProgress)]
        assert phases[:2] == ["finding", "structure"]
        again = await fetch(third, cid, tmp_path / "third.bin", peers=(taker.address,))
        assert set(again.bytes_by_source) == {taker.source_id}


async def test_folder_comes_whole_and_again_for_nothing(tmp_path: Path) -> None:
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        cid = seed.share(write_folder(tmp_path / "model"))
        got = await fetch(taker, cid, tmp_path / "out", peers=(seed.address,))
        assert_folder(tmp_path / "out")
        assert (got.files, got.resumed_bytes) == (len(FILES), 0)
        seed.swarm.is_up = False
        again = await fetch(taker, cid, tmp_path / "out")
        assert again.resumed_bytes == again.size_bytes
        assert again.bytes_by_source == {}


async def test_path_below_a_folder_comes_alone(tmp_path: Path) -> None:
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        cid = seed.share(write_folder(tmp_path / "model"))
        target = f"/ipfs/{cid}/deep/er/weights.bin"
        await fetch(taker, target, tmp_path / "w.bin", peers=(seed.address,))
    assert (tmp_path / "w.bin").read_bytes() == FILES["deep/er/weights.bin"]


async def test_provider_in_the_dht_is_dialled(tmp_path: Path) -> None:
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        cid = seed.share(write(tmp_path / "m.bin", content(5000)))
        taker.dht.providers[Cid.parse(cid).multihash] = [
            ProviderRecord(seed.swarm.peer_id, tuple(seed.swarm.addresses()))
        ]
        await fetch(taker, cid, tmp_path / "out.bin")


async def test_file_is_found_by_its_sha256(tmp_path: Path) -> None:
    data = content(12 * LEAF)
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        cid = seed.share(write(tmp_path / "m.bin", data))
        alias = Cid.raw_sha256(hashlib.sha256(data).digest())
        got = await fetch(taker, str(alias), tmp_path / "out.bin", peers=(seed.address,))
    assert got.cid == cid
    assert (tmp_path / "out.bin").read_bytes() == data


@pytest.mark.parametrize("claim", ["another file", "an empty folder"])
@pytest.mark.parametrize("is_there_already", [False, True])
async def test_file_when_a_peer_names_a_wrong_root_for_a_sha256_then_mismatch(
    tmp_path: Path, claim: str, is_there_already: bool
) -> None:
    wanted = Cid.raw_sha256(hashlib.sha256(b"the wanted file").digest())
    other = content(9 * LEAF)
    async with nodes(tmp_path, "liar", "taker") as (liar, taker):
        (tmp_path / "folder").mkdir()
        shared = (
            write(tmp_path / "m.bin", other) if claim == "another file" else tmp_path / "folder"
        )
        root = Cid.parse(liar.share(shared))
        if is_there_already and claim == "another file":
            write(tmp_path / "out.bin", other)

        async def lie(peer_id: str, request: bytes) -> bytes:
            ticket = await liar.plane.ticket(peer_id=peer_id)
            asked = decode_request(request)
            holding = Holding(asked[0], root, len(other))
            fields = (ticket.scheme, ticket.port, ticket.hosts, ticket.cert_sha256, ticket.bearer)
            return encode_ticket(Ticket(*fields, ticket.life_s, (holding,)))

        liar.swarm.serve(PROTOCOL, lie)
        with pytest.raises(CidMismatch, match=liar.source_id):
            await fetch(
                taker, str(wanted), tmp_path / "out.bin", peers=(liar.address,), timeout_s=AT_ONCE_S
            )
        assert taker.catalog.find_alias(wanted.multihash) is None
    assert (tmp_path / "out.bin").exists() == (is_there_already and claim == "another file")


def names_a_wrong_root(liar: Peer, root: Cid, size_bytes: int) -> asyncio.Event:
    """Let a peer name `root` whatever it is asked for; the event tells when it did."""
    has_lied = asyncio.Event()

    async def lie(peer_id: str, request: bytes) -> bytes:
        ticket = await liar.plane.ticket(peer_id=peer_id)
        holding = Holding(decode_request(request)[0], root, size_bytes)
        fields = (ticket.scheme, ticket.port, ticket.hosts, ticket.cert_sha256, ticket.bearer)
        has_lied.set()
        return encode_ticket(Ticket(*fields, ticket.life_s, (holding,)))

    liar.swarm.serve(PROTOCOL, lie)
    return has_lied


@pytest.mark.parametrize("claim", ["another file", "an empty folder", "a root without a tree"])
async def test_file_when_a_liar_is_first_then_the_next_root_is_tried_and_the_liar_named(
    tmp_path: Path, claim: str
) -> None:
    data, other = content(12 * LEAF), content(9 * LEAF)
    async with nodes(tmp_path, "liar", "honest", "taker") as (liar, honest, taker):
        honest.share(write(tmp_path / "m.bin", data))
        if claim == "another file":
            root = Cid.parse(liar.share(write(tmp_path / "other.bin", other)))
        elif claim == "an empty folder":
            (tmp_path / "folder").mkdir()
            root = Cid.parse(liar.share(tmp_path / "folder"))
        else:
            root = Cid.v1(DAG_PB, b"\x12\x20" + hashlib.sha256(b"nobody has this").digest())
        has_lied = names_a_wrong_root(liar, root, len(other))

        async def answer_second(peer_id: str, request: bytes) -> bytes | None:
            await has_lied.wait()
            return await honest.plane.office.answer(peer_id, request)

        honest.swarm.serve(PROTOCOL, answer_second)
        alias = Cid.raw_sha256(hashlib.sha256(data).digest())
        got = await fetch(
            taker, str(alias), tmp_path / "out.bin", peers=(liar.address, honest.address),
            timeout_s=4.0,
        )  # fmt: skip
    assert (tmp_path / "out.bin").read_bytes() == data
    if claim != "a root without a tree":  # who had it may have left: that is no lie
        assert set(got.bad_sources) <= {liar.source_id}


async def test_folder_when_the_disk_refuses_a_name_then_the_rest_comes(tmp_path: Path) -> None:
    # Here a path has at most 4095 bytes, others have tighter limits; IPFS has none.
    name = "n" * 250
    files = {"a.json": content(300), name: content(400), "z.bin": content(5000)}
    for path, data in files.items():
        write(tmp_path / "model" / path, data)
    out = tmp_path
    while len(str(out)) < 4095 - 250:
        out /= "d" * min(200, 4095 - 50 - len(str(out)))
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        cid = seed.share(tmp_path / "model")
        events: list[Event] = []
        with pytest.raises(Incomplete) as caught:
            await fetch(taker, cid, out, peers=(seed.address,), events=events)
    assert caught.value.missing == (name,)
    assert (out / "a.json").read_bytes() == files["a.json"]
    assert (out / "z.bin").read_bytes() == files["z.bin"]
    assert any(isinstance(event, Note) and "too long" in event.text for event in events)


async def test_folder_when_files_are_gone_at_the_only_seed_then_no_long_wait(
    tmp_path: Path,
) -> None:
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        cid = seed.share(write_folder(tmp_path / "model"))
        (tmp_path / "model" / "tokenizer.json").unlink()
        overwrite(tmp_path / "model" / "config.json", b"changed since")
        with pytest.raises(Incomplete) as caught:  # long before the test's own time is over
            await fetch(taker, cid, tmp_path / "out", peers=(seed.address,), timeout_s=1000.0)
    assert set(caught.value.missing) == {"config.json", "tokenizer.json"}
    assert (tmp_path / "out/deep/er/weights.bin").read_bytes() == FILES["deep/er/weights.bin"]


async def test_seed_when_it_lies_then_named_and_the_other_one_delivers(tmp_path: Path) -> None:
    data = content(60 * LEAF)
    async with nodes(tmp_path, "honest", "liar", "taker") as (honest, liar, taker):
        cid = honest.share(write(tmp_path / "a.bin", data))
        damaged = write(tmp_path / "b.bin", data)
        liar.share(damaged)
        overwrite(damaged, b"x" * len(data), keep_time=True)
        peers = (liar.address, honest.address)
        got = await fetch(taker, cid, tmp_path / "out.bin", peers=peers)
    assert (tmp_path / "out.bin").read_bytes() == data
    assert set(got.bad_sources) <= {liar.source_id}


async def test_seed_when_only_liars_are_found_then_mismatch(tmp_path: Path) -> None:
    data = content(20 * LEAF)
    async with nodes(tmp_path, "liar", "taker") as (liar, taker):
        damaged = write(tmp_path / "b.bin", data)
        cid = liar.share(damaged)
        overwrite(damaged, b"x" * len(data), keep_time=True)
        with pytest.raises(CidMismatch, match="only bad sources"):
            await fetch(
                taker, cid, tmp_path / "out.bin", peers=(liar.address,), timeout_s=AT_ONCE_S
            )
    assert not (tmp_path / "out.bin").exists()


async def test_seed_when_a_file_of_the_folder_is_gone_then_incomplete_and_the_rest_kept(
    tmp_path: Path,
) -> None:
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        cid = seed.share(write_folder(tmp_path / "model"))
        (tmp_path / "model" / "tokenizer.json").unlink()
        with pytest.raises(Incomplete) as caught:
            await fetch(taker, cid, tmp_path / "out", peers=(seed.address,), timeout_s=AT_ONCE_S)
        assert caught.value.missing == ("tokenizer.json",)
        assert (tmp_path / "out" / "config.json").read_bytes() == FILES["config.json"]
        # A mirror of plain files has the rest; the same command goes on.
        with file_server({f"m/{name}": data for name, data in FILES.items()}) as server:
            got = await fetch(
                taker, cid, tmp_path / "out", peers=(seed.address,), mirrors=(f"{server.url}/m/",)
            )
        assert_folder(tmp_path / "out")
        assert got.resumed_bytes == got.size_bytes - len(FILES["tokenizer.json"])


async def test_mirror_when_forbidden_then_no_integrity_error(tmp_path: Path) -> None:
    def forbidden(visit: Visit) -> None:
        while visit.head():
            visit.answer(status="403 Forbidden")

    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        path = write(tmp_path / "m.bin", content(20 * LEAF))
        cid = seed.share(path)
        path.unlink()  # the structure is there, the bytes are not
        with raw_server(forbidden) as server, pytest.raises(SourceGone, match="403"):
            await fetch(
                taker, cid, tmp_path / "out.bin", peers=(seed.address,),
                mirrors=(f"{server.url}/m.bin",), timeout_s=AT_ONCE_S,
            )  # fmt: skip


async def test_target_when_nobody_has_it_then_no_providers(tmp_path: Path) -> None:
    async with nodes(tmp_path, "taker") as (taker,):
        with pytest.raises(NoProviders):
            await fetch(taker, str(Cid.raw_sha256(b"z" * 32)), tmp_path / "x", timeout_s=AT_ONCE_S)
        assert taker.dht.asked


async def test_target_when_a_base_url_is_no_gateway_then_its_listing_is_not_the_file(
    tmp_path: Path,
) -> None:
    async with nodes(tmp_path, "taker") as (taker,):
        with file_server({"": b"<html>a listing"}) as server, pytest.raises(NoProviders):
            await fetch(
                taker, str(Cid.raw_sha256(b"z" * 32)), tmp_path / "x", mirrors=(server.url + "/",),
                timeout_s=AT_ONCE_S,
            )  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value"),
    [("mirrors", "ftp://x/"), ("mirrors", "http://"), ("peers", "nonsense"), ("peers", "/p2p/x/y")],
)
async def test_address_when_it_is_none_then_target_error_at_once(
    tmp_path: Path, option: str, value: str
) -> None:
    options: dict[str, Any] = {option: (value,)}
    async with nodes(tmp_path, "taker") as (taker,):
        with pytest.raises(TargetError):
            await fetch(taker, str(Cid.raw_sha256(b"z" * 32)), tmp_path / "x", **options)


async def test_mirror_that_fails_in_every_way_does_not_end_the_get(tmp_path: Path) -> None:
    def nowhere(visit: Visit) -> None:
        while visit.head():
            visit.answer(status="302 Found", headers="Location: http://[bad/\r\n")

    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        cid = seed.share(write(tmp_path / "m.bin", content(20 * LEAF)))
        with raw_server(nowhere) as server:
            got = await fetch(
                taker, cid, tmp_path / "out.bin", peers=(seed.address,),
                mirrors=(f"{server.url}/", f"{server.url}/m.bin", "http://127.0.0.1:1/"),
            )  # fmt: skip
    assert set(got.bytes_by_source) == {seed.source_id}


async def test_mirror_when_base_and_target_do_not_fit_then_said(tmp_path: Path) -> None:
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        cid = seed.share(write(tmp_path / "m.bin", content(20 * LEAF)))
        events: list[Event] = []
        with file_server({}) as server:
            await fetch(
                taker, cid, tmp_path / "out.bin", peers=(seed.address,),
                mirrors=(f"{server.url}/base/",), events=events,
            )  # fmt: skip
            await asyncio.sleep(0)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert all("the target is one file" in note for note in notes)


async def test_get_when_cancelled_then_nothing_goes_on_and_the_next_resumes(
    tmp_path: Path,
) -> None:
    def stall(visit: Visit) -> None:
        visit.head()
        visit.hang()

    data = content(600 * LEAF)
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        path = write(tmp_path / "m.bin", data)
        cid = seed.share(path)
        with raw_server(stall) as server:
            path.rename(tmp_path / "away")
            task = asyncio.create_task(
                fetch(
                    taker,
                    cid,
                    tmp_path / "out.bin",
                    peers=(seed.address,),
                    mirrors=(f"{server.url}/m.bin",),
                )
            )
            await asyncio.to_thread(server.asked.wait)
            await until(lambda: bool(taker.ports.active.sessions))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert taker.ports.active.sessions == []
        (tmp_path / "away").rename(path)
        seed.share(path)
        await fetch(taker, cid, tmp_path / "out.bin", peers=(seed.address,))
    assert (tmp_path / "out.bin").read_bytes() == data


async def test_get_when_another_transfer_writes_the_same_part_then_refused(
    tmp_path: Path,
) -> None:
    data = content(600 * LEAF)
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        cid = seed.share(write(tmp_path / "m.bin", data))
        part = write(tmp_path / "out.bin.part", b"")
        with part.open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(PathRefused, match="another transfer"):
                await fetch(taker, cid, tmp_path / "out.bin", peers=(seed.address,))
        await fetch(taker, cid, tmp_path / "out.bin", peers=(seed.address,))
    assert (tmp_path / "out.bin").read_bytes() == data


def fill(path: Path) -> None:
    """Write a file until the disk has no more room."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as filler:
        while filler.write(bytes(1 << 20)):
            pass


async def test_disk_when_it_fills_up_midway_then_said_and_the_rest_comes_when_there_is_room(
    tmp_path: Path,
) -> None:
    # The disk is another one than the home's; somebody else fills it while the get runs.
    data = content(70_000_000)
    with small_disk(tmp_path / "disk", 96 << 20) as disk:
        async with nodes(tmp_path, "seed", "taker") as (seed, taker):
            path = write(tmp_path / "m.bin", data)
            cid = seed.share(path, UNIXFS_V1_2025)
            path.rename(tmp_path / "away")
            with paced_server(tmp_path / "away", 30e6) as server:
                options: dict[str, Any] = {
                    "peers": (seed.address,),
                    "mirrors": (server.url,),
                }
                task = asyncio.create_task(fetch(taker, cid, disk / "out.bin", **options))
                await until(lambda: server.sent_bytes > 2_000_000)
                fill(disk / "filler")
                with pytest.raises(DiskFull) as caught:
                    await task
                assert caught.value.path == disk / "out.bin"
                assert (disk / "out.bin.part").exists()
                assert not (disk / "out.bin").exists()
                with pytest.raises(DiskFull):  # still no room: said before anything is fetched
                    await fetch(taker, cid, disk / "out.bin", **options)
                (disk / "filler").unlink()
                got = await fetch(taker, cid, disk / "out.bin", **options)
        assert (disk / "out.bin").read_bytes() == data
    assert got.resumed_bytes > 0


async def test_two_homes_when_they_write_one_output_then_the_second_is_told(
    tmp_path: Path,
) -> None:
    leaf_bytes = 20_000
    data = content(60 * leaf_bytes)
    recipe = Recipe("custom", f"size-{leaf_bytes}", 64, raw_leaves=True, cid_version=1)
    async with nodes(tmp_path, "seed", "one", "two") as (seed, one, two):
        path = write(tmp_path / "m.bin", data)
        cid = seed.share(path, recipe)
        path.rename(tmp_path / "away")
        with paced_server(tmp_path / "away", 2e6) as server:
            options: dict[str, Any] = {"peers": (seed.address,), "mirrors": (server.url,)}
            first = asyncio.create_task(fetch(one, cid, tmp_path / "out.bin", **options))
            await until(lambda: server.sent_bytes > len(data) // 5)
            with pytest.raises(PathRefused, match="another transfer is writing it"):
                await fetch(two, cid, tmp_path / "out.bin", **options)
            await first
    assert (tmp_path / "out.bin").read_bytes() == data


async def test_mirrors_when_used_then_remembered_and_the_liar_is_not_begun_with_again(
    tmp_path: Path,
) -> None:
    data = content(60 * LEAF)
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        path = write(tmp_path / "m.bin", data)
        cid = seed.share(path)
        path.unlink()  # the structure is there, the bytes are not
        with file_server({"a": data}) as good, file_server({"a": data}, "wrong") as liar:
            mirrors = (f"{liar.url}/a", f"{good.url}/a")
            peers = (seed.address,)
            got = await fetch(taker, cid, tmp_path / "one", peers=peers, mirrors=mirrors)
            uses = taker.catalog.mirror_uses([f"{good.url}/", f"{liar.url}/"])
            ((first,), (second,)) = uses.values()
            assert (first.outcome, second.outcome) == ("ok", "wrong")
            assert first.size_bytes == got.bytes_by_source[f"http:{good.url}/a"]
            assert first.seconds > 0
            liar.requests.clear()
            await fetch(taker, cid, tmp_path / "two" / "m.bin", peers=peers, mirrors=mirrors)
            assert liar.requests == []


async def test_mirror_when_the_first_ones_fail_then_the_others_join(tmp_path: Path) -> None:
    data = content(60 * LEAF)
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        path = write(tmp_path / "m.bin", data)
        cid = seed.share(path)
        path.unlink()
        with file_server({"a": data}) as good, file_server({}, "error") as down:
            bad = [f"{down.url}/{name}" for name in "xyz"]
            mirrors = (*bad, f"{good.url}/a")
            weights = dict.fromkeys(bad, 2.0)
            got = await fetch(
                taker, cid, tmp_path / "out", peers=(seed.address,), mirrors=mirrors,
                weights=weights,
            )  # fmt: skip
            assert got.bytes_by_source[f"http:{good.url}/a"] == len(data)


async def test_mirror_when_its_weight_is_zero_then_only_if_nobody_else_delivers(
    tmp_path: Path,
) -> None:
    data = content(60 * LEAF)
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        path = write(tmp_path / "m.bin", data)
        cid = seed.share(path)
        with file_server({"a": data}) as server:
            url = f"{server.url}/a"
            last: dict[str, Any] = {"mirrors": (url,), "weights": {url: 0.0}}
            peers = (seed.address,)
            await fetch(taker, cid, tmp_path / "one", peers=peers, **last)
            assert server.requests == []
            (tmp_path / "one").unlink()
            path.unlink()
            await fetch(taker, cid, tmp_path / "two", peers=peers, **last)
            assert server.requests


async def test_mirror_when_it_is_the_whole_file_without_a_tree_then_remembered_too(
    tmp_path: Path,
) -> None:
    data = content(3000)
    async with nodes(tmp_path, "taker") as (taker,):
        with file_server({"a": data}) as server:
            sha256 = Cid.raw_sha256(hashlib.sha256(data).digest())
            await fetch(
                taker, str(sha256), tmp_path / "out", mirrors=(f"{server.url}/a",), timeout_s=2.0
            )
            ((use,),) = taker.catalog.mirror_uses([f"{server.url}/"]).values()
    assert (use.outcome, use.size_bytes) == ("ok", 3000)


async def test_get_when_the_download_is_limited_then_it_takes_its_time_and_arrives(
    tmp_path: Path,
) -> None:
    data = content(60 * LEAF)
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        cid = seed.share(write(tmp_path / "m.bin", data))
        peers = (seed.address,)
        got = await fetch(taker, cid, tmp_path / "out", peers=peers, download_limit=50_000)
        # What is over a burst takes its time, on any machine: a lower bound, not a speed.
        assert got.seconds > (len(data) - 0.1 * 50_000 - 5 * LEAF) / 50_000
    assert (tmp_path / "out").read_bytes() == data

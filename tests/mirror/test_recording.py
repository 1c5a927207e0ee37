"""What is recorded of downloads: by the account itself, and by real ones between nodes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirrornode.config import Config, HistoryConfig, LogConfig
from mirrornode.content.cid import Cid
from mirrornode.content.recipe import UNIXFS_V1_2025
from mirrornode.errors import (
    CatalogUnusable,
    Incomplete,
    NoProviders,
    SourceGone,
    Stopped,
    TargetError,
)
from mirrornode.events import GetProgress, SourceState
from mirrornode.mirror.get import get
from mirrornode.mirror.get_request import GetRequest
from mirrornode.mirror.recording import Recorder, open_recorder
from mirrornode.store.catalog import open_catalog
from mirrornode.store.history_records import Download, SourceUse
from mirrornode.transfer.worker import WRONG_BYTES
from support.http_files import file_server
from support.models import LEAF
from support.paced_server import paced_server
from support.room import Peer, Room
from support.shared_files import content, write
from support.waiting import until

PEER = SourceState("peer:12D3", "idle", 700, 0.0, "", 0.02, 0.001, 2.0, 0)
ORIGIN = SourceState("hub:hf.example", "active", 300, 50.0, "", 0.3, 0.03, 4.0, 0)
AWAY = SourceState("http:away.example", "idle", 0, 0.0, "refuses connections", None, None, 0.1, 2)
POOR = SourceState("http:poor.example", "idle", 0, 0.0, "answered 404 Not Found", 0.1, 0.2, 0.1, 0)
LIAR = SourceState("peer:liar", "banned", 10, 0.0, WRONG_BYTES)
IDLE = SourceState("peer:idle", "idle", 0, 0.0)
DISK = SourceState("local:disk", "idle", 5000, 0.0)


@asynccontextmanager
async def nodes(folder: Path, *names: str) -> AsyncIterator[list[Peer]]:
    room = Room(folder)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(room.node(name)) for name in names]


def ask(taker: Peer, target: str, out: Path, **options: Any) -> asyncio.Task[Any]:
    request = GetRequest(
        target=target, folder=out.parent, destination=out, **{"timeout_s": 20.0, **options}
    )
    return asyncio.create_task(get(taker.ports, request, lambda _: None))


def only(taker: Peer) -> Download:
    (found,) = taker.catalog.downloads()
    return found


# -- the account itself --------------------------------------------------------------------------


async def test_recording_when_it_is_stopped_then_its_task_goes_on_with_an_error() -> None:
    ended: list[Download] = []
    recorder = Recorder()
    recorder.on_end(ended.append)

    async def work() -> str:
        with contextlib.suppress(Stopped):
            async with recorder.recording("get", "x") as recording:
                recording.stop()
                recording.stop()
                await asyncio.Event().wait()
            raise AssertionError("it was not stopped")
        await asyncio.sleep(0)
        return "went on"

    assert await asyncio.create_task(work()) == "went on"
    assert [download.outcome for download in ended] == ["cancelled"]


async def test_recording_when_its_task_is_cancelled_besides_then_that_wins() -> None:
    recorder = Recorder()

    async def work() -> None:
        async with recorder.recording("get", "x"):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await until(lambda: len(recorder.running) == 1)
    recorder.running[0].stop()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_sources_of_several_parts_are_summed_and_judged() -> None:
    recording = Recorder().recording("get", "x")
    async with recording:
        recording.note("one", [PEER, AWAY, POOR, IDLE])
        recording.note("one", [replace(PEER, received_bytes=900), AWAY, POOR, IDLE, DISK])
        recording.settle("one")
        recording.note("two", [replace(PEER, rtt_s=0.0005, state="failed"), ORIGIN, LIAR])
        recording.blame("hub:hf.example", "sent wrong bytes")
        found = {use.source_id: use for use in recording.uses()}
    assert found["peer:12D3"] == SourceUse(
        "peer:12D3", "peer", 1600, 4.0, 0.02, 0.0005, 0, "failed", ""
    )
    outcomes = {source_id: use.outcome for source_id, use in found.items()}
    assert outcomes == {
        "peer:12D3": "failed",
        "http:away.example": "failed",
        "http:poor.example": "lacked",
        "local:disk": "ok",
        "hub:hf.example": "wrong",
        "peer:liar": "wrong",
    }
    assert recording.bytes_by_kind() == {"peer": 1610, "hub": 300, "local": 5000, "http": 0}


@pytest.mark.parametrize(
    ("failure", "outcome", "error"),
    [
        (None, "ok", ""),
        (SourceGone("no source\ndelivered"), "failed", "SourceGone"),
        (Incomplete("1 of 2", ("x",)), "partial", "Incomplete"),
        (asyncio.CancelledError(), "cancelled", ""),
        (RuntimeError("a bug"), "failed", "RuntimeError"),
    ],
)
async def test_how_the_block_is_left_is_the_outcome(
    tmp_path: Path, failure: BaseException | None, outcome: str, error: str
) -> None:
    with open_catalog(tmp_path) as catalog:
        recorder = Recorder(catalog)
        ended: list[Download] = []
        recorder.on_end(ended.append)
        with contextlib.suppress(Exception, asyncio.CancelledError):
            async with recorder.recording("get", "bafyx") as recording:
                recording.follow(GetProgress("transfer", 5, 1300, 300, 1.0))
                recording.note("x", [PEER, DISK])
                assert [running.target for running in recorder.running] == ["bafyx"]
                if failure is not None:
                    raise failure
        (found,) = catalog.downloads()
    assert (found.outcome, found.error) == (outcome, error)
    assert (found.size_bytes, found.resumed_bytes, found.received_bytes) == (1300, 300, 700)
    assert "\n" not in found.reason
    assert recorder.running == []
    assert recorder.received_bytes() == {"peer": 700, "local": 5000}
    assert [download.outcome for download in ended] == [outcome]


async def test_typing_error_leaves_no_record(tmp_path: Path) -> None:
    with open_catalog(tmp_path) as catalog:
        recorder = Recorder(catalog)
        with pytest.raises(TargetError):
            async with recorder.recording("get", "x"):
                raise TargetError("not a URL")
        assert catalog.downloads() == []


async def test_catalog_that_cannot_be_written_does_not_spoil_a_download(tmp_path: Path) -> None:
    with open_catalog(tmp_path) as catalog:
        recorder = Recorder(catalog)
    with pytest.raises(CatalogUnusable):
        catalog.downloads()
    async with recorder.recording("get", "x") as recording:
        recording.note("x", [PEER])
    assert recorder.received_bytes() == {"peer": 700}


async def test_received_bytes_never_run_backwards_while_downloads_end() -> None:
    recorder = Recorder()
    seen = []
    recorder.on_end(lambda _: seen.append(recorder.received_bytes()["peer"]))
    async with recorder.recording("get", "one") as one:
        one.note("x", [PEER])
        async with recorder.recording("get", "two") as two:
            two.note("x", [PEER])
            seen.append(recorder.received_bytes()["peer"])
        one.settle("x")
        seen.append(recorder.received_bytes()["peer"])
    seen.append(recorder.received_bytes()["peer"])
    assert set(seen) == {1400}


def test_hits_are_counted_by_face() -> None:
    recorder = Recorder()
    assert recorder.hit_ratio is None
    for face, is_hit in (("hub", True), ("hub", True), ("hub", False), ("gateway", True)):
        recorder.note_asked(face, is_hit=is_hit)
    assert recorder.hit_ratio == 0.75
    assert recorder.asked["hub", True] == 2


def read_all(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_when_requests_are_not_kept_then_only_totals_are_left(tmp_path: Path) -> None:
    config = Config(home=tmp_path, log=LogConfig(requests=False))
    with open_catalog(tmp_path) as catalog:
        async with Recorder(catalog).recording("get", "bafyold") as old:
            old.note("x", [PEER])
        recorder = open_recorder(catalog, config)
        async with recorder.recording("get", "bafysecret") as recording:
            recording.root, recording.out = "bafysecret", "/models/secret"
            recording.follow(GetProgress("transfer", 5, 9, 0, 1.0, sources=(PEER, AWAY)))
            recording.note("x", [PEER, AWAY])
            live = recording.live()
            recording.fail(SourceGone("peer:12D3 left with bafysecret"))
        new, before = catalog.downloads()
        assert recorder.recent(60.0).bytes_by_kind == {"peer": 1400, "http": 0}
    said = f"{new}{before}{live}"
    for word in ("bafy", "12D3", "secret", "away.example", "refuses"):
        assert word not in said
    assert (new.outcome, new.error, new.size_bytes) == ("failed", "SourceGone", 9)
    assert [(use.kind, use.received_bytes, use.outcome) for use in new.sources] == [
        ("peer", 700, "ok"),
        ("http", 0, "failed"),
    ]
    # Whoever looked into the file itself would find no more.
    assert b"bafysecret" not in read_all(tmp_path)


async def test_when_nothing_is_to_be_kept_then_nothing_is(tmp_path: Path) -> None:
    config = Config(home=tmp_path, history=HistoryConfig(keep_days=0))
    with open_catalog(tmp_path) as catalog:
        recorder = open_recorder(catalog, config)
        async with recorder.recording("get", "x"):
            await until(lambda: bool(catalog.downloads()))
        assert catalog.downloads() == []


# -- real downloads ------------------------------------------------------------------------------


async def test_get_from_a_peer_is_recorded_with_what_it_brought(tmp_path: Path) -> None:
    data = content(30 * LEAF + 1)
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        cid = seed.share(write(tmp_path / "m.bin", data))
        got = await ask(taker, cid, tmp_path / "out.bin", peers=(seed.address,))
        found = only(taker)
        assert (found.kind, found.target, found.root) == ("get", cid, cid)
        assert (found.outcome, found.error, found.reason) == ("ok", "", "")
        assert (found.size_bytes, found.resumed_bytes) == (len(data), 0)
        (use,) = found.sources
        assert (use.source_id, use.kind, use.outcome) == (seed.source_id, "peer", "ok")
        assert use.received_bytes == got.bytes_by_source[seed.source_id] == found.received_bytes
        assert use.rtt_s is not None
        assert use.first_byte_s is not None
        assert 0 < use.rtt_s <= use.first_byte_s <= found.seconds
        assert 0 < use.seconds <= found.seconds
        await ask(taker, cid, tmp_path / "out.bin")
        again = taker.catalog.downloads()[0]
        assert (again.outcome, again.resumed_bytes, again.received_bytes) == ("ok", len(data), 0)
        assert again.rate_bytes_per_s is None


async def test_get_by_two_callers_is_one_download(tmp_path: Path) -> None:
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        cid = seed.share(write(tmp_path / "m.bin", content(9 * LEAF)))
        both = [ask(taker, cid, tmp_path / "out.bin", peers=(seed.address,)) for _ in range(2)]
        await asyncio.gather(*both)
        assert only(taker).outcome == "ok"


async def test_get_that_fails_is_recorded_with_the_reason_and_whom_it_asked(
    tmp_path: Path,
) -> None:
    cid = str(Cid.raw_sha256(b"z" * 32))
    async with nodes(tmp_path, "taker") as (taker,):
        with pytest.raises(NoProviders):
            await ask(taker, cid, tmp_path / "out.bin", timeout_s=0.3)
        found = only(taker)
        assert (found.outcome, found.error) == ("failed", "NoProviders")
        assert found.reason


async def test_get_that_is_stopped_is_recorded_with_what_came_and_goes_on_later(
    tmp_path: Path,
) -> None:
    data = content(400 * LEAF)
    path, copy = write(tmp_path / "m.bin", data), write(tmp_path / "copy.bin", data)
    async with nodes(tmp_path, "taker") as (taker,):
        cid = taker.share(copy)
        copy.unlink()  # its tree is known, its bytes are away
        with paced_server(path, 100 * LEAF) as server:
            stopped = ask(taker, cid, tmp_path / "out.bin", mirrors=(server.url,))
            await until(lambda: taker.ports.recorder.received_bytes()["http"] > 10 * LEAF)
            (running,) = taker.ports.recorder.running
            assert "http" in {source["kind"] for source in running.live()["sources"]}
            assert taker.catalog.downloads()[0].outcome == "running"
            stopped.cancel()
            await asyncio.gather(stopped, return_exceptions=True)
        found = taker.catalog.downloads()[0]
        assert (found.outcome, found.error) == ("cancelled", "")
        assert 10 * LEAF < found.received_bytes < len(data)
        assert found.size_bytes == len(data)


async def test_get_that_is_stopped_at_the_node_tells_its_user(tmp_path: Path) -> None:
    data = content(400 * LEAF)
    path, copy = write(tmp_path / "m.bin", data), write(tmp_path / "copy.bin", data)
    async with nodes(tmp_path, "taker") as (taker,):
        cid = taker.share(copy)
        copy.unlink()
        with paced_server(path, 100 * LEAF) as server:
            stopped = ask(taker, cid, tmp_path / "out.bin", mirrors=(server.url,))
            await until(lambda: taker.ports.recorder.received_bytes()["http"] > 10 * LEAF)
            (running,) = taker.ports.recorder.running
            running.stop()
            with pytest.raises(Stopped):
                await stopped
        assert taker.catalog.downloads()[0].outcome == "cancelled"


async def test_get_of_a_whole_file_by_its_url_is_recorded(tmp_path: Path) -> None:
    data = content(5 * LEAF)
    async with nodes(tmp_path, "other", "taker") as (other, taker):
        cid = other.share(write(tmp_path / "m.bin", data), UNIXFS_V1_2025)
        with file_server({"good.bin": data}) as server:
            gone, good = f"{server.url}/gone.bin", f"{server.url}/good.bin"
            await ask(taker, cid, tmp_path / "out.bin", mirrors=(gone, good), timeout_s=0.5)
        uses = {use.source_id: use for use in only(taker).sources}
    assert uses[f"http:{good}"].received_bytes == len(data)
    assert uses[f"http:{good}"].rtt_s is not None
    assert uses[f"http:{gone}"].outcome == "failed"
    assert "404" in uses[f"http:{gone}"].reason


async def test_real_get_when_requests_are_not_kept_then_no_name_is_in_the_catalogs_record(
    tmp_path: Path,
) -> None:
    async with nodes(tmp_path, "seed", "taker") as (seed, taker):
        recorder = Recorder(taker.catalog, keeps_requests=False)
        silent = replace(taker, ports=replace(taker.ports, recorder=recorder))
        cid = seed.share(write(tmp_path / "m.bin", content(9 * LEAF)))
        await ask(silent, cid, tmp_path / "out.bin", peers=(seed.address,))
        found = only(taker)
    assert cid not in str(found)
    assert seed.swarm.peer_id not in str(found)
    assert (found.outcome, [use.kind for use in found.sources]) == ("ok", ["peer"])

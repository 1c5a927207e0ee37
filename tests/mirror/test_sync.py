"""Runs of `sync`: what they fetch, pin, delete, write down, and when they run."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrornode.config import SyncConfig
from mirrornode.errors import TargetError
from mirrornode.mirror.sync import SyncOrder
from mirrornode.mirror.sync_schedule import RETRY_S
from mirrornode.store.sync import CANCELLED, FAILED, KILLED, OK, PAUSED, RUNNING, SyncState
from mirrornode.wire.hub import Repo
from support.hub_origin import ALICE, Blob, StandInHub, running_hub
from support.hub_parts import contents_of
from support.room import Room
from support.sync_room import files_in, sync_node
from support.waiting import until

REPO, TARGET = "org/name", "hf:org/name"
BIG = "model.safetensors"
SIZE = 3 << 20
HOUR = 3600.0


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with running_hub() as hub:
        files: dict[str, bytes | Blob] = {
            "config.json": b"{}",
            "old.txt": b"old",
            BIG: Blob(SIZE, 1),
        }
        hub.add_model(REPO, files, licence="mit")
        yield hub


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


async def test_run_when_a_commit_is_new_then_only_what_changed_is_fetched(
    room: Room, hub: StandInHub
) -> None:
    repo = hub.repos["model", REPO]
    first = repo.sha
    async with sync_node(room, "one", hub) as node:
        report = await node.sync(f"{TARGET}@main")
        assert (report.outcome, report.root) == (OK, f"{TARGET}@{first}")
        assert report.added == ["config.json", BIG, "old.txt"]
        assert report.fetched_bytes == report.missing_bytes == report.size_bytes == SIZE + 5
        again = await node.sync(TARGET)
        assert (again.changes, again.fetched_bytes, again.missing_bytes) == (0, 0, 0)
        repo.commit({"config.json": b"[]", "old.txt": None, "new.txt": b"new"})
        sent = hub.file_bytes_sent(BIG)
        changed = await node.sync(TARGET)
        assert (changed.added, changed.changed, changed.removed) == (
            ["new.txt"], ["config.json"], ["old.txt"],
        )  # fmt: skip
        assert (changed.fetched_bytes, hub.file_bytes_sent(BIG)) == (5, sent)
        # Nobody asked for deletion: what was kept stays kept.
        name = f"sync:{TARGET}"
        assert node.pins() == {f"{TARGET}@{first}": name, f"{TARGET}@{repo.sha}": name}
        tidied = await node.sync(TARGET, delete=True)
        assert tidied.unpinned == [f"{TARGET}@{first}"]
        assert node.pins() == {f"{TARGET}@{repo.sha}": name}
        rows = node.catalog.downloads()
        assert [(row.kind, row.outcome, row.target) for row in rows] == [("sync", "ok", TARGET)] * 4
        assert [row.received_bytes for row in rows] == [0, 5, 0, SIZE + 5]


async def test_run_when_dry_then_it_tells_and_leaves_all_as_it_was(
    room: Room, hub: StandInHub
) -> None:
    async with sync_node(room, "one", hub) as node:
        report = await node.sync(TARGET, dry_run=True, delete=True)
        assert (report.outcome, report.missing_bytes, report.fetched_bytes) == (OK, SIZE + 5, 0)
        assert len(report.added) == 3
        assert (node.pins(), node.catalog.sync_states(), node.catalog.downloads()) == ({}, [], [])
        assert hub.file_bytes_sent(BIG) == 0


async def test_run_when_the_target_has_a_pattern_then_only_those_files_are_kept(
    room: Room, hub: StandInHub
) -> None:
    hub.repos["model", REPO].commit({"fp16/a.safetensors": b"a", "fp16/a.txt": b"t"})
    sha = hub.repos["model", REPO].sha
    async with sync_node(room, "one", hub) as node:
        report = await node.sync(f"{TARGET}@main/fp16/*.safetensors")
        assert (report.added, report.fetched_bytes) == (["fp16/a.safetensors"], 1)
        assert list(node.pins()) == [f"{TARGET}@{sha}/fp16/a.safetensors"]
        nothing = await node.sync(f"{TARGET}@main/*.gguf")
        assert (nothing.outcome, nothing.error) == (FAILED, "HubNotFound")


async def test_run_when_it_has_a_folder_then_deletion_takes_only_what_it_put_there(
    room: Room, hub: StandInHub, tmp_path: Path
) -> None:
    repo, out = hub.repos["model", REPO], tmp_path / "out"
    repo.commit({"sub/a.txt": b"a", "sub/b.txt": b"b"})
    async with sync_node(room, "one", hub, [SyncConfig(TARGET, out=str(out))]) as node:
        await node.sync(TARGET)
        (out / "mine.txt").write_text("mine")
        (out / "sub" / "b.txt").write_text("edited")
        repo.commit({"old.txt": None, "sub/a.txt": None, "sub/b.txt": None})
        kept = await node.sync(TARGET)
        assert (kept.removed, kept.deleted) == (["old.txt", "sub/a.txt", "sub/b.txt"], [])
        assert (out / "old.txt").read_bytes() == b"old"
        repo.commit({BIG: None})
        gone = await node.sync(TARGET, delete=True)
        assert gone.deleted == [BIG, "old.txt", "sub/a.txt"]
        assert files_in(out) == {
            **contents_of(repo), "mine.txt": b"mine", "sub/b.txt": b"edited",
        }  # fmt: skip
        assert "b.txt" in "".join(node.notes)


async def test_run_when_the_origin_is_away_then_it_failed_and_is_tried_again_soon(
    room: Room, hub: StandInHub
) -> None:
    async with sync_node(room, "one", hub, [SyncConfig(TARGET, every="6h")]) as node:
        await node.syncing.run_due()
        began = node.clock.now
        node.clock.now += 6 * HOUR
        hub.stop()
        (report,) = await node.syncing.run_due()
        # What is known of yesterday is no answer: the run did not see what is there now.
        assert (report.outcome, report.error) == (FAILED, "OriginAway")
        assert await node.syncing.run_due() == []
        (record,) = node.syncing.records()
        assert (record["failures"], record["next_at"]) == (1, node.clock.now + RETRY_S)
        assert record["ok_at"] == began
        now = node.clock.now
    hub.start()
    async with sync_node(room, "one", hub, [SyncConfig(TARGET, every="6h")]) as node:
        node.clock.now = now + RETRY_S - 1
        assert await node.syncing.run_due() == []  # a restart changes nothing about that
        node.clock.now += 1
        (report,) = await node.syncing.run_due()
        assert (report.outcome, report.fetched_bytes, report.reason) == (OK, 0, "")
        (record,) = node.syncing.records()
        assert (record["failures"], record["next_at"]) == (0, node.clock.now + 6 * HOUR)


async def test_run_when_it_was_killed_then_it_is_due_at_once(room: Room, hub: StandInHub) -> None:
    async with sync_node(room, "one", hub, [SyncConfig(TARGET)]) as node:
        killed = SyncState(TARGET, outcome=RUNNING, started_at=node.clock.now - 10)
        node.catalog.put_sync_state(killed)
        assert await node.syncing.run_due() == []
        node.catalog.close_interrupted_syncs()
        assert node.syncing.records()[0]["outcome"] == KILLED
        (report,) = await node.syncing.run_due()
        assert report.outcome == OK


async def test_run_when_its_window_closes_then_it_pauses_and_goes_on(
    room: Room, hub: StandInHub
) -> None:
    held = hub.hold(after_bytes=1 << 20, match=BIG)
    table = SyncConfig(TARGET, every="6h", window="22:00-06:00")
    async with sync_node(room, "one", hub, [table]) as node:
        node.clock.now = datetime.datetime(2027, 3, 10, 12).timestamp()  # there where this runs
        opens_at = datetime.datetime(2027, 3, 10, 22).timestamp()
        assert node.syncing.records()[0]["next_at"] == opens_at
        assert await node.syncing.run_due() == []
        node.clock.now = opens_at + 8 * HOUR - 0.5
        (report,) = await node.syncing.run_due()
        assert (report.outcome, node.pins()) == (PAUSED, {})
        held.set()
        node.clock.now = opens_at + 8 * HOUR
        assert await node.syncing.run_due() == []
        node.clock.now = opens_at + 24 * HOUR
        (report,) = await node.syncing.run_due()
        assert report.outcome == OK
        assert hub.file_bytes_sent(BIG) < 2 * SIZE


async def test_runs_when_asked_for_together_then_one_after_the_other(
    room: Room, hub: StandInHub
) -> None:
    held = hub.hold(after_bytes=1 << 20, match=BIG)
    async with sync_node(room, "one", hub) as node:
        first = asyncio.create_task(node.sync(TARGET))
        await until(lambda: hub.file_bytes_sent(BIG) >= 1 << 20)
        second = asyncio.create_task(node.sync(TARGET))
        await until(lambda: bool(node.notes))
        assert "waiting" in node.notes[0]
        assert len(node.catalog.downloads()) == 1
        held.set()
        reports = await asyncio.gather(first, second)
        assert [report.fetched_bytes for report in reports] == [SIZE + 5, 0]
        assert hub.file_bytes_sent(BIG) == SIZE


async def test_run_when_its_client_leaves_then_it_is_cancelled(room: Room, hub: StandInHub) -> None:
    hub.hold(after_bytes=1 << 20, match=BIG)
    async with sync_node(room, "one", hub) as node:
        run = asyncio.create_task(node.sync(TARGET))
        await until(lambda: hub.file_bytes_sent(BIG) >= 1 << 20)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        state = node.catalog.sync_state(TARGET)
        assert state is not None
        assert (state.outcome, node.pins()) == (CANCELLED, {})
        hub.heal()


# -- following a node ------------------------------------------------------------------------------


async def test_chain_when_nobody_but_the_first_has_an_origin_then_names_and_content_arrive(
    room: Room, hub: StandInHub
) -> None:
    repo = hub.repos["model", REPO]
    async with (
        sync_node(room, "one", hub) as server,
        sync_node(room, "two", hub) as mirror,
        sync_node(room, "three", hub) as developer,
    ):
        await server.sync(TARGET)
        asked = len(hub.log)
        report = await mirror.sync(TARGET, from_node=server.address)
        assert (report.outcome, report.fetched_bytes, report.reason) == (OK, SIZE + 5, "")
        # What it was told by whom it follows it passes on, the openness of the repo with it.
        report = await developer.sync(TARGET, from_node="http://node/1")
        assert (report.outcome, report.fetched_bytes, report.reason) == (OK, SIZE + 5, "")
        assert len(hub.log) == asked
        ref = developer.catalog.hub_ref(Repo("model", REPO), "main")
        assert ref is not None
        assert (ref.commit, ref.vouched_by) == (
            repo.sha, f"hub:node/{mirror.node.peer.swarm.peer_id}",
        )  # fmt: skip


async def test_follow_when_the_node_has_not_synced_it_then_refused(
    room: Room, hub: StandInHub
) -> None:
    async with sync_node(room, "one", hub) as server, sync_node(room, "two", hub) as mirror:
        report = await mirror.sync(TARGET, from_node=server.address)
        assert (report.outcome, report.error) == (FAILED, "HubNotFound")
        room.net.kill(server.node.peer.swarm.peer_id)
        gone = await mirror.sync(TARGET, from_node=server.address)
        assert (gone.outcome, gone.error) == (FAILED, "SourceGone")


async def test_follow_when_an_origin_called_the_repo_private_then_the_node_is_not_believed(
    room: Room, hub: StandInHub
) -> None:
    repo = Repo("model", REPO)
    async with sync_node(room, "one", hub) as server, sync_node(room, "two", hub) as mirror:
        await server.sync(TARGET)
        mirror.catalog.put_hub_sight(
            repo, canonical=repo, is_private=True, gated="", checked_at=1.0
        )
        report = await mirror.sync(TARGET, from_node=server.address)
        assert (report.outcome, report.error) == (FAILED, "HubNotFound")
        sight = mirror.catalog.hub_sight(repo)
        assert sight is not None
        assert sight.is_private


async def test_follow_when_the_node_gives_a_repo_another_name_then_that_one_stays_shut(
    room: Room, hub: StandInHub
) -> None:
    secret = Repo("model", "org/secret")
    async with sync_node(room, "one", hub) as server, sync_node(room, "two", hub) as mirror:
        await server.sync(TARGET)
        commit = hub.repos["model", REPO].sha
        lie = {"id": secret.name}
        server.catalog.put_hub_revision(Repo("model", REPO), commit, lie, "hub:x", recorded_at=2e9)
        mirror.catalog.put_hub_sight(
            secret, canonical=secret, is_private=True, gated="", checked_at=1.0
        )
        assert (await mirror.sync(TARGET, from_node=server.address)).outcome == OK
        sight = mirror.catalog.hub_sight(secret)
        assert sight is not None
        assert sight.is_private


async def test_run_when_the_node_ends_then_the_schedule_goes_on_after_it(
    room: Room, hub: StandInHub
) -> None:
    held = hub.hold(after_bytes=1 << 20, match=BIG)
    async with sync_node(room, "one", hub, [SyncConfig(TARGET)]) as node:
        run = asyncio.create_task(node.syncing.run())
        await until(lambda: hub.file_bytes_sent(BIG) >= 1 << 20)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        assert node.syncing.records()[0]["outcome"] == PAUSED
        held.set()
        (report,) = await node.syncing.run_due()
        assert report.outcome == OK


async def test_pinset_when_followed_then_what_is_open_and_whole_is_kept(
    room: Room, hub: StandInHub, tmp_path: Path
) -> None:
    hub.add_model("org/secret", {"a.bin": b"secret"}, private=True)
    file = tmp_path / "file.bin"
    file.write_bytes(b"x" * 5000)
    async with sync_node(room, "one", hub) as server, sync_node(room, "two", hub) as mirror:
        await server.sync(TARGET)
        order = SyncOrder(("hf:org/secret",), token=ALICE)
        (secret,) = await server.syncing.run_now(order, server.emit)
        assert secret.outcome == OK
        cid = server.node.peer.share(file)
        assert (await server.sync(cid)).outcome == OK
        commit = hub.repos["model", REPO].sha
        told = await mirror.sync(from_node=server.address, dry_run=True)
        assert sorted(told.added) == sorted([cid, f"{TARGET}@{commit}"])
        assert mirror.pins() == {}
        report = await mirror.sync(from_node=server.address)
        assert (report.outcome, report.fetched_bytes >= SIZE + 5 + 5000) == (OK, True)
        assert mirror.pins().keys() == {cid, f"{TARGET}@{commit}"}
        ref = mirror.catalog.hub_ref(Repo("model", REPO), "main")
        assert ref is not None
        assert ref.commit == commit
        server.catalog.unpin(cid)
        kept = await mirror.sync(from_node=server.address)
        assert (kept.removed, len(mirror.pins())) == ([cid], 2)
        gone = await mirror.sync(from_node=server.address, delete=True)
        assert (gone.unpinned, list(mirror.pins())) == ([cid], [f"{TARGET}@{commit}"])


async def test_folder_when_files_change_then_its_new_root_is_kept(
    room: Room, hub: StandInHub, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_bytes(name.encode() * 3000)
    async with sync_node(room, "one", hub) as node:
        first = await node.sync(str(folder))
        assert (first.outcome, len(first.added), list(node.pins())) == (OK, 2, [first.root])
        (folder / "a").write_bytes(b"other")
        (folder / "b").unlink()
        (folder / "c").write_bytes(b"new")
        told = await node.sync(str(folder), dry_run=True)
        assert (told.added, told.changed, told.removed) == (
            [str(folder / "c")], [str(folder / "a")], [str(folder / "b")],
        )  # fmt: skip
        second = await node.sync(str(folder))
        assert (second.added, second.changed) == (told.added, told.changed)
        assert list(node.pins()) == [second.root]
        gone = await node.sync("/nonexistent/models")
        assert (gone.outcome, gone.error) == (FAILED, "TargetError")


async def test_order_when_it_makes_no_sense_then_refused(room: Room, hub: StandInHub) -> None:
    async with sync_node(room, "one", hub) as node:
        for order in (
            SyncOrder(),
            SyncOrder(("nothing",)),
            SyncOrder((TARGET,), from_node="server"),
            SyncOrder(("/srv/models",), from_node=node.address),
        ):
            with pytest.raises(TargetError):
                await node.syncing.run_now(order, node.emit)

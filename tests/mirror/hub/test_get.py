"""`get hf:…` in one process: what comes, from whom, and where it is put."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrornode.errors import (
    HubNotFound,
    HubRefusal,
    Incomplete,
    LicenceRefused,
    OriginAway,
    TargetError,
)
from mirrornode.events import GetProgress
from mirrornode.mirror.hub.get import get_hub
from mirrornode.mirror.hub.placing import is_same_file
from mirrornode.mirror.hub.small_file import hub_cid
from mirrornode.store.stamps import FileStamp
from mirrornode.wire.hub import Repo
from support.hub_origin import ALICE, BOB, Blob, StandInHub, running_hub
from support.hub_parts import (
    HubNode,
    blob_of,
    contents,
    contents_of,
    damage,
    hub_node,
    write_cache,
)
from support.hub_repos import HeldRepo
from support.hub_room import hub_file
from support.room import Room
from support.waiting import until

MIB = 1 << 20
BIG = "sub/model.safetensors"
FIRST = "copy.safetensors"  # of two paths with one content, what the content is fetched by
FILES: dict[str, bytes | Blob] = {
    "config.json": b"{}",
    BIG: Blob(3 * MIB, 1),
    FIRST: Blob(3 * MIB, 1),
    "empty.txt": b"",
    "sub dir/part 1 +%.bin": Blob(70_000, 2),
}
REPO = "hf:org/name"
CAROL = "hf_carol"


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with running_hub() as hub:
        hub.add_model("org/name", FILES, licence="mit")
        hub.add_model("org/gated", {"w.bin": Blob(70_000, 3)}, gated="auto", licence="llama3")
        yield hub


@pytest.fixture
def repo(hub: StandInHub) -> HeldRepo:
    return hub.repos["model", "org/name"]


async def test_cache_when_a_repo_comes_then_as_a_client_would_have_written_it(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    expected = write_cache(tmp_path / "expected", repo)
    async with hub_node(Room(tmp_path), "one", hub) as node:
        got = await get_hub(node.parts, node.request(REPO), node.emit)
        snapshot = Path(got.path)
        assert contents(snapshot) == contents_of(repo)
        assert (got.cid, got.files) == (f"hf:org/name@{repo.sha}", len(FILES))
        assert snapshot.parents[2] == node.cache
        for path in expected.rglob("*"):
            if path.is_symlink():
                mine = snapshot / path.relative_to(expected)
                assert os.readlink(mine) == os.readlink(path)
        assert (snapshot.parents[1] / "refs" / "main").read_bytes() == repo.sha.encode()
        # One content on this disk, whatever its names.
        kept = node.parts.files.find(hub_file(hub, "org/name", BIG))
        assert kept is not None
        assert is_same_file(kept.path, blob_of(node.cache, repo, BIG))


async def test_cache_when_got_again_then_nothing_is_fetched(
    tmp_path: Path, hub: StandInHub
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        await get_hub(node.parts, node.request(REPO), node.emit)
        hub.log.clear()
        again = await get_hub(node.parts, node.request(REPO), node.emit)
        assert again.bytes_by_source == {}
        assert hub.requests("/resolve/") == []


async def test_cache_when_a_client_has_fetched_it_then_hashed_and_not_fetched(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        write_cache(node.cache, repo)
        before = FileStamp.of(blob_of(node.cache, repo, BIG))
        got = await get_hub(node.parts, node.request(REPO), node.emit)
        assert hub.requests("/resolve/") == []
        assert got.bytes_by_source == {}
        assert FileStamp.of(blob_of(node.cache, repo, BIG)) == before


async def test_cache_when_a_blob_is_damaged_then_replaced(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        snapshot = write_cache(node.cache, repo)
        damage(blob_of(node.cache, repo, BIG))
        blob_of(node.cache, repo, "config.json").write_bytes(b"{")
        await get_hub(node.parts, node.request(REPO), node.emit)
        assert contents(snapshot) == contents_of(repo)
        assert {log.file for log in hub.requests("/resolve/")} == {FIRST, "config.json"}


async def test_folder_when_asked_for_then_plain_files_of_their_own(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    out = tmp_path / "out"
    async with hub_node(Room(tmp_path), "one", hub) as node:
        got = await get_hub(node.parts, node.request(REPO, out), node.emit)
        assert Path(got.path) == out
        assert contents(out) == contents_of(repo)
        links = {path.stat().st_nlink for path in out.rglob("*") if path.is_file()}
        assert links == {1}
        assert not node.cache.exists()
        # It lies there once, and is shared from there.
        assert not any(path.is_file() for path in (tmp_path / "one" / "hub").rglob("*"))
        assert node.peer.shelf.holdings([hub_cid(hub_file(hub, "org/name", BIG))]) != ()
        hub.log.clear()
        again = await get_hub(node.parts, node.request(REPO), node.emit)
        assert hub.requests("/resolve/") == []
        assert contents(Path(again.path)) == contents_of(repo)
        links = {path.stat().st_nlink for path in out.rglob("*") if path.is_file()}
        assert links == {1}


async def test_folder_when_the_user_edits_a_file_then_it_is_not_that_file_any_more(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    out = tmp_path / "out"
    async with hub_node(Room(tmp_path), "one", hub) as node:
        await get_hub(node.parts, node.request(REPO, out), node.emit)
        (out / "config.json").write_text('{"mine": 1}')
        got = await get_hub(node.parts, node.request(REPO), node.emit)
        assert contents(Path(got.path)) == contents_of(repo)
        assert (out / "config.json").read_text() == '{"mine": 1}'
        await get_hub(node.parts, node.request(REPO, out), node.emit)
        assert contents(out) == contents_of(repo)


@pytest.mark.parametrize(
    ("target", "out", "shown"),
    [
        ("hf:org/name/config.json", "a.json", {"a.json"}),
        ("hf:org/name/config.json", "there", {"there/config.json"}),
        ("hf:org/name/sub", "new", {"new/model.safetensors"}),
        ("hf:org/name/sub dir", "there", {"there/part 1 +%.bin"}),
    ],
)
async def test_path_when_named_then_it_becomes_the_output(
    tmp_path: Path, hub: StandInHub, target: str, out: str, shown: set[str]
) -> None:
    base = tmp_path / "base"
    (base / "there").mkdir(parents=True)
    async with hub_node(Room(tmp_path), "one", hub) as node:
        await get_hub(node.parts, node.request(target, base / out), node.emit)
    assert set(contents(base)) == shown


async def test_path_when_in_the_cache_then_shown_there_and_named_in_full(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        got = await get_hub(node.parts, node.request(f"{REPO}@main/{BIG}"), node.emit)
        assert got.cid == f"hf:org/name@{repo.sha}/{BIG}"
        snapshot = node.cache / "models--org--name" / "snapshots" / repo.sha
        assert Path(got.path) == snapshot / BIG
        assert contents(snapshot) == {BIG: contents_of(repo)[BIG]}


async def test_patterns_when_given_then_only_those_files(tmp_path: Path, hub: StandInHub) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        request = node.request(
            REPO, tmp_path / "out", include=("*.safetensors", "sub dir/"), exclude=("copy*",)
        )
        await get_hub(node.parts, request, node.emit)
        assert set(contents(tmp_path / "out")) == {BIG, "sub dir/part 1 +%.bin"}
        with pytest.raises(HubNotFound, match="patterns"):
            await get_hub(node.parts, node.request(REPO, include=("*.gguf",)), node.emit)


async def test_destination_when_it_cannot_be_then_refused_before_anything_is_fetched(
    tmp_path: Path, hub: StandInHub
) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dir" / "config.json").mkdir(parents=True)
    async with hub_node(Room(tmp_path), "one", hub) as node:
        for target, out in ((REPO, "file"), (f"{REPO}/config.json", "dir")):
            with pytest.raises(TargetError):
                await get_hub(node.parts, node.request(target, tmp_path / out), node.emit)
    assert hub.requests("/resolve/") == []


@pytest.mark.parametrize(
    ("token", "advice"),
    [("", "accept its terms at .*/org/gated, then set HF_TOKEN"), (BOB, "account of this token")],
)
async def test_gated_when_not_let_in_then_told_what_to_do(
    tmp_path: Path, hub: StandInHub, token: str, advice: str
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        with pytest.raises(HubRefusal, match=advice):
            await get_hub(node.parts, node.request("hf:org/gated", token=token), node.emit)
    assert hub.file_bytes_sent("w.bin") == 0


async def test_gated_when_let_in_then_here_and_not_for_peers(
    tmp_path: Path, hub: StandInHub
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        got = await get_hub(node.parts, node.request("hf:org/gated", token=ALICE), node.emit)
        assert set(contents(Path(got.path))) == {"w.bin"}
        file = hub_file(hub, "org/gated", "w.bin")
        assert node.peer.shelf.holdings([hub_cid(file)]) == ()
        assert node.peer.catalog.announce_counts()[0] == 0


async def test_names_when_there_is_no_such_thing_then_each_said_so(
    tmp_path: Path, hub: StandInHub
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        for target, said in (
            ("hf:org/none", "check the name"),
            ("hf:org/name@none", "revision"),
            ("hf:org/name/none", "has no none"),
        ):
            with pytest.raises(HubNotFound, match=said):
                await get_hub(node.parts, node.request(target), node.emit)
        hub.stop()
        with pytest.raises(OriginAway):
            await get_hub(node.parts, node.request("hf:org/unknown"), node.emit)


async def test_licence_when_denied_here_then_refused(tmp_path: Path, hub: StandInHub) -> None:
    async with hub_node(Room(tmp_path), "one", hub, licence_deny=("llama*",)) as node:
        with pytest.raises(LicenceRefused, match="llama3"):
            await get_hub(node.parts, node.request("hf:org/gated", token=ALICE), node.emit)


async def test_some_files_when_they_do_not_come_then_the_others_are_in_place_and_no_ref(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    hub.refuse(404, match="config.json")
    async with hub_node(Room(tmp_path), "one", hub) as node:
        with pytest.raises(Incomplete) as caught:
            await get_hub(node.parts, node.request(REPO), node.emit)
        assert caught.value.missing == ("config.json",)
        folder = node.cache / "models--org--name"
        assert BIG in contents(folder / "snapshots" / repo.sha)
        assert not (folder / "refs").exists()
        hub.heal()
        hub.log.clear()
        got = await get_hub(node.parts, node.request(REPO), node.emit)
        assert contents(Path(got.path)) == contents_of(repo)
        assert {log.file for log in hub.requests("/resolve/")} == {"config.json"}
        assert (folder / "refs" / "main").exists()


async def test_wrong_bytes_when_nothing_else_is_to_be_had_then_nothing_is_put(
    tmp_path: Path, hub: StandInHub
) -> None:
    hub.corrupt(match=BIG)
    async with hub_node(Room(tmp_path), "one", hub) as node:
        out = tmp_path / "model"
        with pytest.raises(Exception, match="another hash"):
            await get_hub(node.parts, node.request(f"{REPO}/{BIG}", out), node.emit)
        assert not out.exists()


async def test_cancel_when_only_this_get_wants_it_then_the_transfer_ends(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    hub.hold(after_bytes=MIB // 2, match=FIRST, times=-1)
    async with hub_node(Room(tmp_path), "one", hub) as node:
        file = hub_file(hub, "org/name", BIG)

        getting = asyncio.create_task(get_hub(node.parts, node.request(REPO), node.emit))
        await until(lambda: node.parts.files.on_its_way(file) is not None)
        getting.cancel()
        await asyncio.gather(getting, return_exceptions=True)
        assert node.parts.files.on_its_way(file) is None
        hub.heal()
        got = await get_hub(node.parts, node.request(REPO), node.emit)
        assert contents(Path(got.path)) == contents_of(repo)


async def test_progress_when_peers_deliver_then_they_are_shown(
    tmp_path: Path, hub: StandInHub
) -> None:
    room = Room(tmp_path)
    async with hub_node(room, "one", hub) as one, hub_node(room, "two", hub) as two:
        await get_hub(one.parts, one.request(REPO), one.emit)
        sent = len(hub.requests("/resolve/"))
        peers = (one.peer.address,)
        got = await get_hub(two.parts, two.request(REPO, peers=peers), two.emit)
        assert set(got.bytes_by_source) == {one.peer.source_id}
        assert len(hub.requests("/resolve/")) == sent
        assert isinstance(two.events[0], GetProgress)
        assert two.events[0].phase == "finding"


async def test_duplicate_content_comes_once(tmp_path: Path, hub: StandInHub) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        await get_hub(node.parts, node.request(REPO), node.emit)
    assert {log.file for log in hub.requests("/resolve/") if "safetensors" in log.file} == {FIRST}


async def test_origin_away_when_the_names_are_known_then_from_this_disk_with_a_warning(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    async with hub_node(Room(tmp_path), "one", hub, ref_ttl_s=0.0) as node:
        await get_hub(node.parts, node.request(REPO), node.emit)
        hub.stop()
        got = await get_hub(node.parts, node.request(REPO, tmp_path / "out"), node.emit)
        assert contents(Path(got.path)) == contents_of(repo)
        assert "stale" in node.notes


def sources_of(node: HubNode) -> set[str]:
    """Return every source that progress named."""
    return {
        source.source_id
        for event in node.events
        if isinstance(event, GetProgress)
        for source in event.sources
    }


async def test_progress_when_the_origin_is_slow_then_it_is_named_with_its_bytes(
    tmp_path: Path, hub: StandInHub
) -> None:
    hub.hold(after_bytes=MIB // 2, match=BIG, times=-1)
    async with hub_node(Room(tmp_path), "one", hub) as node:
        getting = asyncio.create_task(get_hub(node.parts, node.request(f"{REPO}/{BIG}"), node.emit))
        await until(lambda: bool(sources_of(node)))
        hub.heal()
        await getting
        assert sources_of(node) == {f"hub:{hub.host}"}


async def test_repo_is_one_download_whatever_the_number_of_its_files(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        got = await get_hub(node.parts, node.request(REPO), node.emit)
        (found,) = node.peer.catalog.downloads()
        assert (found.kind, found.target, found.root) == ("hub", REPO, got.cid)
        assert (found.outcome, found.size_bytes) == ("ok", got.size_bytes)
        assert found.received_bytes == sum(got.bytes_by_source.values())
        assert [use.kind for use in found.sources] == ["hub"]


async def test_repo_when_a_file_does_not_come_then_partial_and_the_rest_counted(
    tmp_path: Path, hub: StandInHub
) -> None:
    hub.refuse(404, match="part%201")
    async with hub_node(Room(tmp_path), "one", hub) as node:
        with pytest.raises(Incomplete):
            await get_hub(node.parts, node.request(REPO), node.emit)
        (found,) = node.peer.catalog.downloads()
        assert (found.outcome, found.error) == ("partial", "Incomplete")
        assert 3 * MIB <= found.received_bytes < found.size_bytes


async def test_repo_when_stopped_then_what_came_is_recorded(
    tmp_path: Path, hub: StandInHub
) -> None:
    hub.hold(after_bytes=2 * MIB, match="safetensors", times=-1)
    async with hub_node(Room(tmp_path), "one", hub) as node:
        work = asyncio.create_task(get_hub(node.parts, node.request(REPO), node.emit))
        recorder = node.parts.files.recorder
        await until(lambda: recorder.received_bytes()["hub"] >= MIB)
        assert [running.live()["target"] for running in recorder.running] == [REPO]
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        (found,) = node.peer.catalog.downloads()
        assert (found.outcome, found.error) == ("cancelled", "")
        assert MIB <= found.received_bytes < found.size_bytes
    hub.heal()


async def test_get_when_the_origin_takes_a_grant_back_then_its_no_and_offline_too(
    tmp_path: Path, hub: StandInHub
) -> None:
    hub.add_user(CAROL, "carol")
    hub.grant(CAROL, "org/gated")
    async with hub_node(Room(tmp_path), "one", hub) as node:
        request = node.request("hf:org/gated", token=CAROL)
        await node.parts.access.check(
            await node.parts.names.resolve(Repo("model", "org/gated"), "main", CAROL), CAROL
        )
        hub.revoke(CAROL, "org/gated")
        for _ in range(2):
            with pytest.raises(HubRefusal) as caught:
                await get_hub(node.parts, request, node.emit)
            assert (caught.value.status, caught.value.code) == (403, "GatedRepo")
            hub.stop()

"""`verify hf:…`: damage of all kinds, found and mended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrornode.mirror.hub.get import get_hub
from mirrornode.mirror.hub.placing import is_same_file
from mirrornode.mirror.hub.verify import HubVerified, verify_hub
from mirrornode.wire.hub import parse_hub_target
from support.hub_origin import Blob, StandInHub, running_hub
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

BIG = "model.safetensors"
FILES: dict[str, bytes | Blob] = {"config.json": b"{}", BIG: Blob(3_000_000, 1)}
REPO = "hf:org/name"


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with running_hub() as hub:
        hub.add_model("org/name", FILES)
        yield hub


@pytest.fixture
def repo(hub: StandInHub) -> HeldRepo:
    return hub.repos["model", "org/name"]


async def verify(node: HubNode, target: str = REPO) -> HubVerified:
    return await verify_hub(node.parts, parse_hub_target(target), "", node.cache, node.emit)


def outcome(found: HubVerified) -> list[tuple[str, bool]]:
    return [(problem["file"], problem["is_mended"]) for problem in found.problems]


async def test_verify_when_all_is_right_then_nothing_is_fetched(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        write_cache(node.cache, repo)
        record = (await verify(node)).to_record()
        assert record["ok"]
        assert (record["checked_files"], record["checked_bytes"]) == (2, 3_000_002)
        assert hub.requests("/resolve/") == []


async def test_verify_when_nothing_is_here_then_ok_and_counted(
    tmp_path: Path, hub: StandInHub
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        record = (await verify(node)).to_record()
        assert (record["ok"], record["absent_files"]) == (True, 2)


@pytest.mark.parametrize("keep_time", [True, False])
async def test_verify_when_store_and_cache_are_one_damaged_file_then_both_mended(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo, keep_time: bool
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        got = await get_hub(node.parts, node.request(REPO), node.emit)
        damage(blob_of(node.cache, repo, BIG), keep_time=keep_time)
        assert outcome(await verify(node)) == [(BIG, True)]
        assert contents(Path(got.path)) == contents_of(repo)
        kept = node.parts.files.find(hub_file(hub, "org/name", BIG))
        assert kept is not None
        assert is_same_file(kept.path, blob_of(node.cache, repo, BIG))
        assert outcome(await verify(node)) == []


async def test_verify_when_the_cache_is_damaged_and_the_store_right_then_mended_from_there(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        await get_hub(node.parts, node.request(REPO), node.emit)
        for path in FILES:
            blob = blob_of(node.cache, repo, path)
            blob.unlink()
            blob.write_bytes(b"wrong")
        hub.stop()
        assert sorted(outcome(await verify(node))) == [("config.json", True), (BIG, True)]
        snapshot = node.cache / "models--org--name" / "snapshots" / repo.sha
        assert contents(snapshot) == contents_of(repo)


async def test_verify_when_the_store_is_damaged_and_the_cache_right_then_mended_from_there(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        await get_hub(node.parts, node.request(REPO), node.emit)
        kept = node.parts.files.find(hub_file(hub, "org/name", BIG))
        assert kept is not None
        blob = blob_of(node.cache, repo, BIG)
        right = blob.read_bytes()
        blob.unlink()
        blob.write_bytes(right)
        damage(kept.path, keep_time=True)
        hub.stop()
        assert outcome(await verify(node)) == [(BIG, True)]


async def test_verify_when_a_peer_has_it_and_the_origin_is_away_then_mended_from_the_peer(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    room = Room(tmp_path)
    async with hub_node(room, "one", hub) as one, hub_node(room, "two", hub) as two:
        await two.peer.swarm.dial(one.peer.swarm.peer_id, one.peer.swarm.addresses())
        await get_hub(one.parts, one.request(REPO), one.emit)
        got = await get_hub(two.parts, two.request(REPO), two.emit)
        damage(blob_of(two.cache, repo, BIG))
        hub.stop()
        assert outcome(await verify(two)) == [(BIG, True)]
        assert contents(Path(got.path)) == contents_of(repo)


async def test_verify_when_no_right_copy_is_to_be_had_then_left_and_not_offered(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        await get_hub(node.parts, node.request(REPO), node.emit)
        damage(blob_of(node.cache, repo, BIG), keep_time=True)
        hub.corrupt(match="/resolve/")
        record = (await verify(node)).to_record()
        assert not record["ok"]
        assert [problem["is_mended"] for problem in record["problems"]] == [False]
        assert record["problems"][0]["why_not"]
        assert node.parts.files.find(hub_file(hub, "org/name", BIG)) is None


async def test_verify_when_a_users_folder_was_edited_then_left_as_it_is(
    tmp_path: Path, hub: StandInHub
) -> None:
    out = tmp_path / "out"
    async with hub_node(Room(tmp_path), "one", hub) as node:
        await get_hub(node.parts, node.request(REPO, out), node.emit)
        (out / "config.json").write_text("mine")
        damage(out / BIG, keep_time=True)
        found = await verify(node)
        assert outcome(found) == [(BIG, False)]
        assert "changed since" in node.notes
        assert (out / "config.json").read_text() == "mine"


async def test_verify_when_the_cache_has_an_older_commit_then_that_is_looked_at_too(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        snapshot = write_cache(node.cache, repo)
        before = contents_of(repo)
        damage(blob_of(node.cache, repo, BIG))
        repo.commit({BIG: Blob(10, 9)})
        assert outcome(await verify(node)) == [(BIG, True)]
        assert contents(snapshot) == before


async def test_verify_when_one_file_is_named_then_only_that(
    tmp_path: Path, hub: StandInHub, repo: HeldRepo
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        write_cache(node.cache, repo)
        for path in FILES:
            damage(blob_of(node.cache, repo, path))
        assert outcome(await verify(node, f"{REPO}/config.json")) == [("config.json", True)]

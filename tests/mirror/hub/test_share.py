"""Caches of the Hub's clients, shared in place: what of them, after how much reading."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrornode.mirror.hub.get import get_hub
from mirrornode.mirror.hub.share import CacheSharing
from mirrornode.mirror.hub.small_file import hub_cid
from mirrornode.store.announcements import sha256_multihash
from mirrornode.wire.hub import HubFile, Repo
from support.hub_origin import Blob, StandInHub, running_hub
from support.hub_parts import HubNode, blob_of, damage, hub_node, write_cache
from support.hub_repos import HeldRepo
from support.hub_room import hub_file
from support.room import Room
from support.waiting import until

BIG = "model.safetensors"
FILES: dict[str, bytes | Blob] = {"config.json": b"{}", BIG: Blob(3_000_000, 1)}


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with running_hub() as hub:
        hub.add_model("org/open", FILES)
        hub.add_model("org/gated", {"g.bin": Blob(70_000, 2)}, gated="auto")
        hub.add_model("org/private", {"p.bin": Blob(70_000, 3)}, private=True)
        yield hub


def is_found(node: HubNode, file: HubFile) -> bool:
    """Tell whether a peer that asks for the file is told that it is here."""
    return node.peer.shelf.holdings([hub_cid(file)]) != ()


def repo_of(hub: StandInHub, name: str) -> HeldRepo:
    return hub.repos["model", name]


async def test_share_when_the_repo_is_open_then_found_by_peers_and_announced(
    tmp_path: Path, hub: StandInHub
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        write_cache(node.cache, repo_of(hub, "org/open"))
        shared = (await CacheSharing(node.parts).share(node.cache, node.emit)).to_record()
        assert shared["repos"] == [{"repo": "org/open", "files": 2, "size_bytes": 3_000_002}]
        assert (shared["files"], shared["files_read"]) == (2, 2)
        assert shared["kept"] == {}
        assert shared["problems"] == []
        for path in FILES:
            assert is_found(node, hub_file(hub, "org/open", path))
        stored = node.peer.catalog.find_file(
            sha256_multihash(bytes.fromhex(hub_file(hub, "org/open", BIG).sha256))
        )
        assert stored is not None
        assert stored.path == blob_of(node.cache, repo_of(hub, "org/open"), BIG)
        assert not stored.is_managed
        assert node.peer.announced


async def test_share_when_run_again_then_reads_and_asks_nothing(
    tmp_path: Path, hub: StandInHub
) -> None:
    room = Room(tmp_path)
    async with hub_node(room, "one", hub) as node:
        write_cache(node.cache, repo_of(hub, "org/open"))
        first = await CacheSharing(node.parts).share(node.cache, node.emit)
    hub.stop()
    async with hub_node(room, "one", hub) as node:
        second = await CacheSharing(node.parts).share(node.cache, node.emit)
        assert second.files_read == 0
        assert second.repos == first.repos
        assert second.kept == {}
        # And its names mean something while the origin is away.
        named = await node.parts.names.resolve(Repo("model", "org/open"), "main", "")
        assert len(await node.parts.names.tree(named, "")) == 2


async def test_share_when_gated_or_private_or_unknown_then_kept_and_usable_here(
    tmp_path: Path, hub: StandInHub
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        write_cache(node.cache, repo_of(hub, "org/gated"))
        write_cache(node.cache, repo_of(hub, "org/private"))
        (node.cache / "models--org--private").rename(node.cache / "models--org--mine")
        write_cache(node.cache, repo_of(hub, "org/private"))
        shared = await CacheSharing(node.parts).share(node.cache, node.emit)
        assert shared.repos == []
        assert shared.kept["org/gated"] == "it is gated"
        assert "org/private" in shared.kept["org/private"]
        assert "org/mine" in shared.kept["org/mine"]
        catalog = node.peer.catalog
        assert catalog.announce_counts()[0] == 0
        for name, path in (("org/gated", "g.bin"), ("org/private", "p.bin")):
            file = hub_file(hub, name, path)
            assert not is_found(node, file)
            blob = node.parts.files.find(file)
            assert blob is not None
            assert not blob.is_open


async def test_share_when_a_gated_files_content_is_in_an_open_repo_too_then_shared_as_that(
    tmp_path: Path, hub: StandInHub
) -> None:
    hub.add_model("org/copy", {"same.bin": Blob(70_000, 2)})
    async with hub_node(Room(tmp_path), "one", hub) as node:
        for name in ("org/copy", "org/gated"):
            write_cache(node.cache, repo_of(hub, name))
        await CacheSharing(node.parts).share(node.cache, node.emit)
        assert is_found(node, hub_file(hub, "org/gated", "g.bin"))


async def test_share_when_damaged_then_reported_not_shared_and_read_once(
    tmp_path: Path, hub: StandInHub
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        write_cache(node.cache, repo_of(hub, "org/open"))
        blob = blob_of(node.cache, repo_of(hub, "org/open"), BIG)
        damage(blob, keep_time=True)
        sharing = CacheSharing(node.parts)
        for files_read in (2, 0):
            shared = await sharing.share(node.cache, node.emit)
            assert [(p.path, p.reason) for p in shared.problems] == [
                (blob, "is not what its name says")
            ]
            assert shared.files_read == files_read
        assert not is_found(node, hub_file(hub, "org/open", BIG))


async def test_share_when_the_origin_is_away_then_kept_until_it_answers(
    tmp_path: Path, hub: StandInHub
) -> None:
    room = Room(tmp_path)
    hub.stop()
    async with hub_node(room, "one", hub) as node:
        write_cache(node.cache, repo_of(hub, "org/open"))
        shared = await CacheSharing(node.parts).share(node.cache, node.emit)
        assert shared.repos == []
        assert "cannot be asked" in shared.kept["org/open"]
        assert not is_found(node, hub_file(hub, "org/open", BIG))
    hub.start()
    async with hub_node(room, "one", hub) as node:
        shared = await CacheSharing(node.parts).share(node.cache, node.emit)
        assert shared.repos[0].files == 2
        assert is_found(node, hub_file(hub, "org/open", BIG))


async def test_share_when_only_news_then_settled_repos_are_passed_over(
    tmp_path: Path, hub: StandInHub
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        write_cache(node.cache, repo_of(hub, "org/open"))
        sharing = CacheSharing(node.parts)
        await sharing.share(node.cache, node.emit)
        asked = len(hub.log)
        shared = await sharing.share(node.cache, node.emit, only_news=True)
        assert shared.repos == []
        assert len(hub.log) == asked
        repo_of(hub, "org/open").commit({"new.txt": b"new"})
        write_cache(node.cache / "other", repo_of(hub, "org/open"))
        merge(node.cache / "other", node.cache)
        shared = await sharing.share(node.cache, node.emit, only_news=True)
        assert shared.repos[0].files == 3
        assert is_found(node, hub_file(hub, "org/open", "new.txt"))


def merge(source: Path, target: Path) -> None:
    """Add what is new in one cache to another, as a client that fetches a newer commit."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir() and not path.is_symlink():
            place.mkdir(exist_ok=True)
        elif path.name == "main" or not (place.exists() or place.is_symlink()):
            path.replace(place)


async def test_keep_shared_when_a_cache_is_missing_then_the_others_are_shared(
    tmp_path: Path, hub: StandInHub
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        write_cache(node.cache, repo_of(hub, "org/open"))
        keeping = asyncio.create_task(
            CacheSharing(node.parts).keep_shared([tmp_path / "none", node.cache])
        )
        await until(lambda: is_found(node, hub_file(hub, "org/open", BIG)))
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_peer_when_it_asks_then_served_from_the_cache_in_place(
    tmp_path: Path, hub: StandInHub
) -> None:
    room = Room(tmp_path)
    async with hub_node(room, "one", hub) as one, hub_node(room, "two", hub) as two:
        await two.peer.swarm.dial(one.peer.swarm.peer_id, one.peer.swarm.addresses())
        write_cache(one.cache, repo_of(hub, "org/open"))
        await CacheSharing(one.parts).share(one.cache, one.emit)
        got = await get_hub(two.parts, two.request("hf:org/open", tmp_path / "out"), two.emit)
        assert set(got.bytes_by_source) == {one.peer.source_id}
        assert hub.file_bytes_sent(BIG) == 0
        assert not list((one.peer.catalog.home / "hub").rglob("*"))

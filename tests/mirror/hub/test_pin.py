"""`pin hf:…`: into the node's own store, and kept there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrornode.errors import TargetError
from mirrornode.mirror.hub.get import get_hub
from mirrornode.mirror.keep import Keeper
from mirrornode.mirror.keep_choice import LINKED, Limits
from mirrornode.mirror.keep_pins import Pinned, Pinning, PinRequest, unpin
from mirrornode.store.stamps import look
from support.hub_origin import Blob, StandInHub, running_hub
from support.hub_parts import HubNode, hub_node, write_cache
from support.room import Room

REPO = "hf:org/name"
SIZE = 100_000 + 70_000 + 2


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with running_hub() as hub:
        hub.add_model(
            "org/name",
            {"config.json": b"{}", "a/w.bin": Blob(100_000, 1), "b/w.bin": Blob(70_000, 2)},
        )
        yield hub


async def pin(node: HubNode, target: str = REPO, **more: int) -> Pinned:
    return await Pinning(node.peer.ports, node.parts).pin(PinRequest(target, **more), node.emit)  # type: ignore[arg-type]  # numbers only here


def collect(node: HubNode) -> int:
    """Free all that may go, long after it was used; return how many bytes went."""
    active = node.peer.ports.active
    active.uses.take()
    active.uses.take()
    return Keeper(node.peer.catalog, active, Limits(1)).collect(is_due=True).freed_bytes


def held(node: HubNode) -> int:
    """Return how many bytes of the Hub lie in the node's own store, as recorded."""
    folder = node.parts.files.folder
    blobs = [blob for blob in node.peer.catalog.hub_blobs() if folder in blob.path.parents]
    assert all(look(blob.path, blob.stamp) == "ok" for blob in blobs)
    return sum(blob.stamp.size_bytes for blob in blobs)


async def test_pin_when_not_here_then_fetched_and_kept_until_unpinned(
    tmp_path: Path, hub: StandInHub
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        pinned = await pin(node)
        assert (pinned.was_here, pinned.pin.size_bytes) == (False, SIZE)
        assert not node.cache.exists()
        assert (held(node), collect(node), held(node)) == (SIZE, 0, SIZE)
        assert (await pin(node)).was_here
        unpin(node.peer.catalog, REPO)
        assert (collect(node), held(node)) == (SIZE, 0)
        with pytest.raises(TargetError, match="is not pinned"):
            unpin(node.peer.catalog, REPO)


async def test_pin_when_only_a_folder_then_the_rest_may_go(tmp_path: Path, hub: StandInHub) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        await pin(node)
        await pin(node, f"{REPO}@main/a")
        unpin(node.peer.catalog, REPO)
        assert (collect(node), held(node)) == (SIZE - 100_000, 100_000)


async def test_pin_when_it_lies_in_the_users_cache_then_it_outlives_the_cache(
    tmp_path: Path, hub: StandInHub
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        write_cache(node.cache, hub.repos["model", "org/name"])
        await get_hub(node.parts, node.request(REPO), node.emit)  # finds all of it there
        assert held(node) == 0
        assert (await pin(node)).was_here
        unpin(node.peer.catalog, REPO)
        done = Keeper(node.peer.catalog, node.peer.ports.active, Limits(1)).collect(is_due=True)
        assert (done.held_bytes, done.used_bytes) == ({LINKED: SIZE}, 0)  # no room of ours
        shutil.rmtree(node.cache)
        assert (held(node), collect(node)) == (SIZE, SIZE)


async def test_pin_when_larger_than_allowed_then_nothing_is_fetched(
    tmp_path: Path, hub: StandInHub
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        with pytest.raises(TargetError, match="no room"):
            await pin(node, max_bytes=SIZE - 1)
        assert (held(node), node.peer.catalog.pins()) == (0, [])

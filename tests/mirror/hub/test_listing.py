"""What `ls hf:` tells of the repos that are known here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrornode.errors import TargetError
from mirrornode.mirror.hub.get import get_hub
from mirrornode.mirror.hub.listing import list_hub
from support.hub_origin import ALICE, Blob, StandInHub, running_hub
from support.hub_parts import blob_of, damage, hub_node
from support.room import Room

FILES: dict[str, bytes | Blob] = {"a.json": b"{}", "b.bin": Blob(70_000, 1)}


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with running_hub() as hub:
        hub.add_model("org/name", FILES, licence="mit")
        hub.add_model("org/gated", FILES, gated="manual", licence="llama3")
        hub.add_dataset("org/data", FILES, private=True)
        yield hub


async def test_list_when_some_files_are_here_then_so_many(tmp_path: Path, hub: StandInHub) -> None:
    repo = hub.repos["model", "org/name"]
    async with hub_node(Room(tmp_path), "one", hub) as node:
        await get_hub(node.parts, node.request("hf:org/name/b.bin"), node.emit)
        [record] = list_hub(node.peer.catalog)
        assert record.pop("seen_at") > 0
        assert record == {
            "repo": "org/name",
            "commit": repo.sha,
            "refs": ["main"],
            "files": 2,
            "files_here": 1,
            "size_bytes": 70_002,
            "bytes_here": 70_000,
            "licence": "mit",
            "gated": "",
            "private": False,
            "vouched_by": f"hub:{hub.host}",
        }


async def test_list_when_a_file_was_changed_then_it_does_not_count(
    tmp_path: Path, hub: StandInHub
) -> None:
    async with hub_node(Room(tmp_path), "one", hub) as node:
        await get_hub(node.parts, node.request("hf:org/name"), node.emit)
        damage(blob_of(node.cache, hub.repos["model", "org/name"], "b.bin"))
        [record] = list_hub(node.peer.catalog)
        assert (record["files_here"], record["bytes_here"]) == (1, 2)


async def test_list_when_asked_for_one_repo_then_its_revisions(
    tmp_path: Path, hub: StandInHub
) -> None:
    repo = hub.repos["model", "org/name"]
    old = repo.sha
    repo.tag("v1")
    async with hub_node(Room(tmp_path), "one", hub, ref_ttl_s=0.0) as node:
        for target in ("hf:org/name", "hf:org/name@v1", "hf:org/gated", "hf:datasets/org/data"):
            await get_hub(node.parts, node.request(target, token=ALICE), node.emit)
        new = repo.commit({"c.json": b"{}"})
        await get_hub(node.parts, node.request("hf:org/name"), node.emit)
        catalog = node.peer.catalog

        def commits(target: str) -> set[str]:
            return {record["commit"] for record in list_hub(catalog, target)}

        assert commits("hf:org/name") == {old, new}
        assert commits("hf:org/name@v1") == {old}
        assert commits("hf:org/name@main") == {new}
        assert commits(f"hf:org/name@{new}") == {new}
        assert commits("hf:org/none") == set()
        kinds = {r["repo"]: (r["gated"], r["private"]) for r in list_hub(catalog, "hf://")}
        assert kinds == {
            "org/name": ("", False),
            "org/gated": ("manual", False),
            "datasets/org/data": ("", True),
        }
        with pytest.raises(TargetError):
            list_hub(catalog, "hf:a/b/../c")
        with pytest.raises(TargetError, match=r"leave out /c\.json"):
            list_hub(catalog, "hf:org/name/c.json")

"""The IPFS gateway and the Hub endpoint on one listener: whose path is whose, and what stays in."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from mirrornode.content.cid import Cid
from mirrornode.content.file_dag import import_bytes
from mirrornode.content.recipe import UNIXFS_V1_2025
from mirrornode.mirror.hub.share import CacheSharing
from mirrornode.mirror.hub.small_file import hub_cid
from support.hub_endpoint import open_endpoint
from support.hub_origin import Blob, running_hub
from support.hub_parts import hub_node, write_cache
from support.hub_ports import FakeHub
from support.hub_room import hub_file
from support.planes import Shared, open_gateway, shelf_of
from support.room import Room


@pytest.fixture
def hub(tmp_path: Path) -> FakeHub:
    folder = tmp_path / "hub"
    folder.mkdir()
    hub = FakeHub(folder)
    hub.add("ipfs/some-model", {"config.json": b"of the hub"})
    hub.add("ipfs", {"config.json": b"an old one"})
    hub.add("org/name", {"config.json": b"of org"})
    return hub


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/ipfs/some-model/resolve/main/config.json", b"of the hub"),
        ("/ipfs/resolve/main/config.json", b"an old one"),
        ("/org/name/resolve/main/config.json", b"of org"),
    ],
)
async def test_hub_when_a_repo_is_called_ipfs_then_its_files_are_reached(
    hub: FakeHub, shared: Shared, path: str, body: bytes
) -> None:
    async with (
        open_endpoint(shelf_of(shared.catalog), hub.ports()) as url,
        aiohttp.ClientSession() as http,
        http.get(url + path) as answer,
    ):
        assert (answer.status, await answer.read()) == (200, body)
        # What the Hub serves is not for pages of other origins.
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_ipfs_when_the_hub_is_there_too_then_cids_are_content(
    hub: FakeHub, shared: Shared
) -> None:
    root = shared.model.root
    async with (
        open_endpoint(shelf_of(shared.catalog), hub.ports()) as url,
        aiohttp.ClientSession() as http,
    ):
        for path, status in (
            (f"/ipfs/{root}", 200),
            (f"/ipfs/{root}/resolve/main/config.json", 404),
            ("/ipfs/some-model", 400),
            ("/ipfs/some-model/tree/main", 400),
        ):
            async with http.get(url + path) as answer:
                assert answer.status == status
                assert answer.headers["Access-Control-Allow-Origin"] == "*"
        async with http.get(f"{url}/api/models/ipfs/some-model") as answer:
            assert answer.status == 200


async def test_ipfs_when_the_hub_has_a_prefix_then_all_below_ipfs_is_content(
    hub: FakeHub, shared: Shared
) -> None:
    async with (
        open_endpoint(shelf_of(shared.catalog), hub.ports(), prefix="/hub") as url,
        aiohttp.ClientSession() as http,
    ):
        path = "/ipfs/some-model/resolve/main/config.json"
        async with http.get(url + path) as answer:
            assert await answer.read() == b"of the hub"
        async with http.get(url.removesuffix("/hub") + path) as answer:
            assert answer.status == 400


async def test_ipfs_when_a_repo_is_gated_or_private_then_nothing_of_it_comes_out(
    tmp_path: Path,
) -> None:
    with running_hub() as hub:
        open_files = {"w.bin": Blob(3_000_000, 1)}
        hub.add_model("org/open", open_files)
        hub.add_model("org/gated", {"g.bin": Blob(3_000_000, 2)}, gated="auto")
        hub.add_model("org/private", {"p.bin": Blob(3_000_000, 3)}, private=True)
        async with hub_node(Room(tmp_path), "one", hub) as node:
            for name in ("org/open", "org/gated", "org/private"):
                write_cache(node.cache, hub.repos["model", name])
            await CacheSharing(node.parts).share(node.cache, node.emit)
            async with (
                open_gateway(node.peer.shelf) as url,
                aiohttp.ClientSession() as http,
            ):

                async def statuses(cid: Cid) -> set[int]:
                    found = set()
                    for query in ("", "?format=raw", "?format=car", "?format=tar"):
                        async with http.get(f"{url}/ipfs/{cid}{query}") as answer:
                            found.add(answer.status)
                    return found

                shared_cid = hub_cid(hub_file(hub, "org/open", "w.bin"))
                async with http.get(f"{url}/ipfs/{shared_cid}") as answer:
                    assert answer.status == 200
                stored = node.peer.catalog.find_file(shared_cid.multihash)
                assert stored is not None
                assert await statuses(stored.cid) == {200}
                for name, path in (("org/gated", "g.bin"), ("org/private", "p.bin")):
                    file = hub_file(hub, name, path)
                    blob = node.parts.files.find(file)
                    assert blob is not None  # it is on this machine
                    dag, leaves = import_bytes([blob.path.read_bytes()], UNIXFS_V1_2025)
                    for cid in (hub_cid(file), dag.root, leaves[1].cid):
                        assert await statuses(cid) == {404}

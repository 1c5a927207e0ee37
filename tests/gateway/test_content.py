"""Content over HTTP: blocks, ranges, conditions, and files that change under the server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from mirrornode.content.cid import Cid
from mirrornode.gateway.answers import PIECE_BYTES
from mirrornode.gateway.ipfs_routes import IpfsRoutes
from mirrornode.mirror.active import ActiveTransfers
from mirrornode.store.catalog import open_catalog
from mirrornode.transfer.journal import Journal
from mirrornode.transfer.outputs import lay_out
from mirrornode.transfer.pacing import Uploads
from mirrornode.transfer.session import TransferSession
from support.models import LEAF, model_of
from support.open_files import is_open_here
from support.planes import Shared, open_gateway, shelf_of
from support.shared_files import content, overwrite, record
from support.waiting import until

UNKNOWN = Cid.raw_sha256(b"z" * 32)


@pytest.fixture
async def client(shared: Shared) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application()
    IpfsRoutes(shelf_of(shared.catalog), Uploads()).add_to(app)
    async with TestClient(TestServer(app)) as opened:
        yield opened


Client = TestClient[web.Request, web.Application]


async def test_block_when_asked_raw_then_its_bytes(client: Client, shared: Shared) -> None:
    block = shared.model.file.map.inner[0]
    answer = await client.get(f"/ipfs/{block.cid}?format=raw")
    assert answer.status == 200
    assert await answer.read() == block.data
    assert answer.headers["Content-Type"] == "application/vnd.ipld.raw"
    assert answer.headers["ETag"] == f'"{block.cid}.raw"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "immutable" in answer.headers["Cache-Control"]


async def test_block_when_asked_by_accept_then_the_same(client: Client, shared: Shared) -> None:
    leaf = shared.model.file.map.leaf_cid(2)
    answer = await client.get(
        f"/ipfs/{leaf}", headers={"Accept": "application/vnd.ipld.raw, */*;q=0.1"}
    )
    assert await answer.read() == shared.model.data[2 * LEAF : 3 * LEAF]


async def test_block_when_it_is_the_empty_identity_then_there(client: Client) -> None:
    # SOURCE: trustless gateway specification, "bafkqaaa" as the probe every gateway answers.
    answer = await client.get("/ipfs/bafkqaaa?format=raw")
    assert (answer.status, await answer.read()) == (200, b"")
    head = await client.head("/ipfs/bafkqaaa?format=raw")
    assert head.status == 200


async def test_block_when_not_here_or_of_another_codec_then_404(
    client: Client, shared: Shared
) -> None:
    leaf = shared.model.file.map.leaf_cid(0)
    for cid in (UNKNOWN, Cid.v1(0x70, leaf.multihash)):
        assert (await client.get(f"/ipfs/{cid}?format=raw")).status == 404
        assert (await client.get(f"/ipfs/{cid}")).status == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("nonsense", 400),
        ("b" * 600, 400),
        (f"{UNKNOWN}?format=car", 404),
        (f"{UNKNOWN}?format=zip", 406),
        ("", 404),
    ],
)
async def test_request_when_it_cannot_be_answered_then_its_status(
    client: Client, path: str, status: int
) -> None:
    assert (await client.get(f"/ipfs/{path}")).status == status


async def test_file_when_asked_whole_then_all_bytes(client: Client, shared: Shared) -> None:
    answer = await client.get(f"/ipfs/{shared.model.root}")
    assert answer.status == 200
    assert await answer.read() == shared.model.data
    assert answer.headers["Accept-Ranges"] == "bytes"
    head = await client.head(f"/ipfs/{shared.model.root}")
    assert head.headers["Content-Length"] == str(len(shared.model.data))
    assert await head.read() == b""


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=10-2009", 10, 2010), ("bytes=-7", 10000, 10007),
     ("bytes=10000-", 10000, 10007), ("bytes=5-99999", 5, 10007)],
)  # fmt: skip
async def test_file_when_a_range_is_asked_then_206(
    client: Client, shared: Shared, header: str, start: int, stop: int
) -> None:
    answer = await client.get(f"/ipfs/{shared.model.root}", headers={"Range": header})
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/10007"
    assert await answer.read() == shared.model.data[start:stop]


async def test_file_when_the_range_is_outside_then_416(client: Client, shared: Shared) -> None:
    answer = await client.get(f"/ipfs/{shared.model.root}", headers={"Range": "bytes=10007-"})
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */10007")


@pytest.mark.parametrize("condition", ['"{}"', 'W/"{}"', '"x", "{}"', "*"])
async def test_file_when_it_is_known_already_then_304(
    client: Client, shared: Shared, condition: str
) -> None:
    headers = {"If-None-Match": condition.format(shared.model.root)}
    answer = await client.get(f"/ipfs/{shared.model.root}", headers=headers)
    assert (answer.status, await answer.read()) == (304, b"")
    other = await client.get(f"/ipfs/{shared.model.root}", headers={"If-None-Match": '"other"'})
    assert other.status == 200


def rewrite(path: Path) -> None:
    overwrite(path, b"x" * path.stat().st_size)


@pytest.mark.parametrize("change", [rewrite, os.unlink, lambda p: os.truncate(p, 5)])
async def test_file_when_it_changed_then_404_and_withdrawn(
    client: Client, shared: Shared, change: Callable[[Path], None]
) -> None:
    change(shared.path)
    assert (await client.get(f"/ipfs/{shared.model.root}")).status == 404
    assert shared.catalog.find_file(shared.model.root.multihash) is None
    leaf = shared.model.file.map.leaf_cid(0)
    assert (await client.get(f"/ipfs/{leaf}?format=raw")).status == 404
    # The structure is still here, and right.
    assert (await client.get(f"/ipfs/{shared.model.root}?format=raw")).status == 200


@pytest.mark.parametrize("change", ["truncate", "rewrite"])
async def test_file_when_it_changes_while_it_is_sent_then_the_connection_is_cut(
    tmp_path: Path, change: str
) -> None:
    # Sparse, and larger than what the sockets hold between them.
    size = 64 * PIECE_BYTES
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(size)
    with open_catalog(tmp_path / "home") as catalog:
        dag = record(catalog, path)
        async with open_gateway(shelf_of(catalog)) as url, aiohttp.ClientSession() as session:
            async with session.get(f"{url}/ipfs/{dag.root}") as answer:
                assert answer.headers["Content-Length"] == str(size)
                await answer.content.readexactly(PIECE_BYTES)
                if change == "truncate":
                    os.truncate(path, size // 2)
                else:
                    os.utime(path, ns=(0, 1))
                with pytest.raises(aiohttp.ClientPayloadError):
                    await answer.read()
            assert catalog.find_file(dag.root.multihash) is None


async def test_part_when_a_file_is_in_transfer_then_only_verified_runs_are_served(
    tmp_path: Path,
) -> None:
    model = model_of()
    with open_catalog(tmp_path / "home") as catalog:
        outputs = lay_out(model.manifest, tmp_path / "out.bin")
        done = bytearray(model.file.map.leaves)
        done[2:5] = b"\x01" * 3
        outputs[0].write(memoryview(model.data)[: 5 * LEAF], 0)
        session = TransferSession(
            model.manifest, outputs, done, Journal(catalog), resumed_bytes=0,
            on_progress=lambda _: None, check_whole=lambda _: None, on_finished=lambda _: None,
        )  # fmt: skip
        active = ActiveTransfers()
        active.add(session)
        statuses = []
        async with (
            open_gateway(shelf_of(catalog, active)) as url,
            aiohttp.ClientSession() as http,
        ):
            for header in ("bytes=2000-4999", "bytes=1999-2100", "bytes=4000-5000", ""):
                asked = {"Range": header} if header else {}
                async with http.get(f"{url}/ipfs/{model.root}", headers=asked) as answer:
                    statuses.append(answer.status)
                    if answer.status == 206:
                        assert await answer.read() == model.data[2000:5000]
            active.remove(session)
            async with http.get(f"{url}/ipfs/{model.root}") as answer:
                statuses.append(answer.status)
        outputs[0].close()
    assert statuses == [206, 404, 404, 404, 404]


async def test_gateway_when_the_name_is_not_its_own_then_403(shared: Shared) -> None:
    async with open_gateway(shelf_of(shared.catalog)) as url, aiohttp.ClientSession() as http:
        port = url.rpartition(":")[2]

        async def status(host: str) -> int:
            async with http.get(f"{url}/healthz", headers={"Host": host}) as answer:
                return answer.status

        own: Sequence[str] = (
            "127.0.0.1", f"127.0.0.1:{port}", f"localhost:{port}", "LOCALHOST", f"[::1]:{port}",
            "192.168.1.5",
        )  # fmt: skip
        foreign = (
            "evil.example.com",
            f"evil.example.com:{port}",
            "localhost.evil.com",
            "1.2.3.4.x",
        )
        assert [await status(host) for host in own] == [200] * len(own)
        assert [await status(host) for host in foreign] == [403] * len(foreign)


async def test_client_when_it_leaves_in_the_middle_then_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(content(1000) * 100_000)
    with open_catalog(tmp_path / "home") as catalog:
        dag = record(catalog, path)
        async with open_gateway(shelf_of(catalog)) as url:
            async with (
                aiohttp.ClientSession() as http,
                http.get(f"{url}/ipfs/{dag.root}") as answer,
            ):
                await answer.content.readexactly(10)
                assert is_open_here(path)
            await until(lambda: not is_open_here(path))

"""Files over the Hub endpoint: headers that clients need, ranges, files that are still arriving."""

from __future__ import annotations

import asyncio
import os
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from mirrornode.content.cid import Cid
from mirrornode.errors import CidMismatch, LicenceRefused, OriginAway, SourceGone
from mirrornode.gateway.hub_headers import may_tell_size
from support.hub_endpoint import open_endpoint
from support.hub_ports import FakeHub, PartialBody
from support.hub_repos import Blob, Content
from support.planes import Shared, shelf_of
from support.waiting import until

NAME = "org/name"
CONFIG = b'{"a": 1}'
AWKWARD = "sub dir/part 1 +%ä.bin"


@pytest.fixture
def hub(tmp_path: Path) -> FakeHub:
    folder = tmp_path / "hub"
    folder.mkdir()
    hub = FakeHub(folder)
    files: dict[str, Content] = {
        "config.json": CONFIG,
        "model.safetensors": Blob(300_000, 1),
        "empty.txt": b"",
        AWKWARD: Blob(1000, 2),
    }
    repo = hub.add(NAME, files)
    repo.commit({"new.txt": b"new"}, ref="feature/x")
    hub.add("gpt2", {"config.json": CONFIG})
    hub.add("org/data", {"a.csv": b"1,2"}, type="dataset")
    hub.add("org/app", {"app.py": b"pass"}, type="space")
    hub.add("org/gated", {"w.bin": b"secret"}, gated="manual", licence="llama3")
    hub.add("org/private", {"w.bin": b"secret"}, private=True)
    return hub


@pytest.fixture
async def url(hub: FakeHub, shared: Shared) -> AsyncIterator[str]:
    async with open_endpoint(shelf_of(shared.catalog), hub.ports()) as opened:
        yield opened


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


def raw(text: str) -> URL:
    """A URL that is sent as it stands."""
    return URL(text, encoded=True)


def weights(hub: FakeHub) -> bytes:
    return hub.repos["model", NAME].find("main").files["model.safetensors"].place.read_bytes()  # type: ignore[union-attr]  # main is there


async def test_head_when_the_file_is_in_lfs_then_all_that_clients_need(
    hub: FakeHub, url: str, http: aiohttp.ClientSession
) -> None:
    repo = hub.repos["model", NAME]
    stored = repo.commits[repo.sha].files["model.safetensors"]
    where = f"{url}/{NAME}/resolve/main/model.safetensors"
    async with http.head(where, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.status == 200
        headers = answer.headers
    assert headers["ETag"] == headers["X-Linked-Etag"] == f'"{stored.sha256}"'
    assert b64decode(headers["Digest"].removeprefix("SHA-256=")).hex() == stored.sha256
    assert headers["Content-Length"] == headers["X-Linked-Size"] == "300000"
    assert headers["X-Repo-Commit"] == repo.sha
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Cache-Control"] == "public, max-age=10"
    assert 'filename="model.safetensors"' in headers["Content-Disposition"]
    assert "Content-Encoding" not in headers
    assert not hub.opened  # nothing is fetched for a HEAD


async def test_head_when_the_file_is_small_then_its_git_hash(
    hub: FakeHub, url: str, http: aiohttp.ClientSession
) -> None:
    repo = hub.repos["model", NAME]
    async with http.head(f"{url}/{NAME}/resolve/{repo.sha}/config.json") as answer:
        assert answer.headers["ETag"] == f'"{repo.commits[repo.sha].files["config.json"].git_oid}"'
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert "X-Linked-Etag" not in answer.headers


@pytest.mark.parametrize(
    ("path", "data"),
    [
        (f"/{NAME}/resolve/main/config.json", CONFIG),
        (f"/{NAME}/raw/main/config.json", CONFIG),
        ("/gpt2/resolve/main/config.json", CONFIG),
        ("/datasets/org/data/resolve/main/a.csv", b"1,2"),
        ("/spaces/org/app/resolve/main/app.py", b"pass"),
        (f"/{NAME}/resolve/feature%2Fx/new.txt", b"new"),
        (f"/{NAME}/resolve/main/empty.txt", b""),
        (f"/{NAME}/resolve/main/config.json?download=true", CONFIG),
    ],
)
async def test_get_when_named_in_any_way_then_its_bytes(
    url: str, http: aiohttp.ClientSession, path: str, data: bytes
) -> None:
    async with http.get(raw(url + path)) as answer:
        assert (answer.status, await answer.read()) == (200, data)
        assert answer.headers["Content-Length"] == str(len(data))


async def test_get_when_the_name_is_awkward_then_found_and_named_safely(
    hub: FakeHub, url: str, http: aiohttp.ClientSession
) -> None:
    path = f"{url}/{NAME}/resolve/main/sub%20dir/part%201%20%2B%25%C3%A4.bin"
    async with http.get(raw(path)) as answer:
        assert (answer.status, len(await answer.read())) == (200, 1000)
        assert "part%201%20%2B%25%C3%A4.bin" in answer.headers["Content-Disposition"]
        assert 'filename="part 1 +__.bin"' in answer.headers["Content-Disposition"]


async def test_raw_when_the_file_is_in_lfs_then_its_pointer(
    hub: FakeHub, url: str, http: aiohttp.ClientSession
) -> None:
    repo = hub.repos["model", NAME]
    stored = repo.commits[repo.sha].files["model.safetensors"]
    async with http.get(f"{url}/{NAME}/raw/main/model.safetensors") as answer:
        assert await answer.read() == stored.pointer
        assert answer.headers["ETag"] == f'"{stored.git_oid}"'
        assert "X-Linked-Etag" not in answer.headers
    assert not hub.opened


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=10-2009", 10, 2010), ("bytes=-7", 299_993, 300_000),
     ("bytes=200000-", 200_000, 300_000)],
)  # fmt: skip
async def test_get_when_a_range_is_asked_then_206(
    hub: FakeHub, url: str, http: aiohttp.ClientSession, header: str, start: int, stop: int
) -> None:
    where = f"{url}/{NAME}/resolve/main/model.safetensors"
    async with http.get(where, headers={"Range": header}) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/300000"
        assert answer.headers["Content-Length"] == str(stop - start)
        assert await answer.read() == weights(hub)[start:stop]


async def test_get_when_the_range_is_outside_then_416(
    hub: FakeHub, url: str, http: aiohttp.ClientSession
) -> None:
    where = f"{url}/{NAME}/resolve/main/model.safetensors"
    async with http.get(where, headers={"Range": "bytes=300000-"}) as answer:
        assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */300000")
        assert answer.headers["X-Repo-Commit"] == hub.repos["model", NAME].sha
    other = {"Range": "bytes=5-", "If-Range": '"other"'}
    async with http.get(where, headers=other) as answer:
        assert (answer.status, len(await answer.read())) == (200, 300_000)


async def test_get_when_it_is_known_already_then_304(
    hub: FakeHub, url: str, http: aiohttp.ClientSession
) -> None:
    repo = hub.repos["model", NAME]
    etag = repo.commits[repo.sha].files["config.json"].etag
    where = f"{url}/{NAME}/resolve/main/config.json"
    for condition in (f'"{etag}"', f'W/"{etag}"', f'"x", "{etag}"'):
        async with http.get(where, headers={"If-None-Match": condition}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
            assert answer.headers["X-Repo-Commit"] == repo.sha
    async with http.get(where, headers={"If-None-Match": '"other"'}) as answer:
        assert answer.status == 200
    assert hub.opened == ["config.json"]


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        (f"/{NAME}/resolve/main/none.json", "", 404, "EntryNotFound"),
        (f"/{NAME}/resolve/none/config.json", "", 404, "RevisionNotFound"),
        ("/org/none/resolve/main/config.json", "", 401, "RepoNotFound"),
        ("/org/gated/resolve/main/w.bin", "", 401, "GatedRepo"),
        ("/org/gated/resolve/main/w.bin", "hf_bob", 403, "GatedRepo"),
        # Who may not have the files is not told which there are.
        ("/org/gated/resolve/main/none", "hf_bob", 403, "GatedRepo"),
        ("/org/private/resolve/main/w.bin", "", 401, "RepoNotFound"),
        ("/org/private/resolve/main/w.bin", "hf_bob", 404, "RepoNotFound"),
    ],
)
async def test_request_when_refused_then_what_clients_go_by(
    hub: FakeHub, url: str, http: aiohttp.ClientSession, path: str, token: str, status: int,
    code: str,
) -> None:  # fmt: skip
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    for method in ("HEAD", "GET"):
        async with http.request(method, url + path, headers=headers) as answer:
            assert (answer.status, answer.headers["X-Error-Code"]) == (status, code)
            assert answer.headers["X-Error-Message"]
            if code == "EntryNotFound":
                assert answer.headers["X-Repo-Commit"] == hub.repos["model", NAME].sha
    assert not hub.opened


async def test_gated_file_when_granted_then_served_and_kept_out_of_shared_caches(
    hub: FakeHub, url: str, http: aiohttp.ClientSession
) -> None:
    hub.granted.add("hf_alice")
    sha = hub.repos["model", "org/gated"].sha
    alice = {"Authorization": "bearer  hf_alice"}
    async with http.get(f"{url}/org/gated/resolve/{sha}/w.bin", headers=alice) as answer:
        assert await answer.read() == b"secret"
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert answer.headers["Vary"] == "Authorization"
        assert "licence llama3" in answer.headers["X-HF-Warning"]


async def test_file_when_the_licence_is_not_for_this_node_then_403_with_the_reason(
    hub: FakeHub, url: str, http: aiohttp.ClientSession
) -> None:
    hub.granted.add("hf_alice")
    hub.refused_licences, hub.refusal = {"llama3"}, LicenceRefused("llama3 is denied here")
    alice = {"Authorization": "Bearer hf_alice"}
    async with http.head(f"{url}/org/gated/resolve/main/w.bin", headers=alice) as answer:
        assert (answer.status, answer.headers["X-Error-Code"]) == (403, "GatedRepo")
        assert answer.headers["X-Error-Message"] == "llama3 is denied here"


@pytest.mark.parametrize(
    ("warning", "vouched_by", "shown"),
    [
        ("", "hub:hub.example", []),
        ("stale since 12:00", "hub:hub.example", [f"names {NAME}; stale since 12:00"]),
        ("", "peer:12D3Koo", [f"names {NAME}; {NAME} is what peer 12D3Koo says, not the Hub"]),
    ],
)
async def test_named_when_stale_or_from_a_peer_then_the_user_is_warned(
    hub: FakeHub, url: str, http: aiohttp.ClientSession, warning: str, vouched_by: str,
    shown: list[str],
) -> None:  # fmt: skip
    hub.warning, hub.vouched_by = warning, vouched_by
    async with http.head(f"{url}/{NAME}/resolve/main/config.json") as answer:
        assert answer.headers.getall("X-HF-Warning", []) == shown
    sha = hub.repos["model", NAME].sha
    async with http.head(f"{url}/{NAME}/resolve/{sha}/config.json") as answer:
        is_kept = "immutable" in answer.headers["Cache-Control"]
        assert is_kept is not vouched_by.startswith("peer:")


@pytest.mark.parametrize(
    ("size", "agent", "told"),
    [
        (50_000_000_000, "hf_hub/2.4.0", True),
        (50_000_000_001, "unknown/None; hf_hub/2.4.0; python/3.11", False),
        (60_000_000_000, "hf_hub/1.31.0", False),
        (60_000_000_000, "hf_hub/1.30.9", True),
        (60_000_000_000, "hf_hub/0.36.2", True),
        (60_000_000_000, "curl/8", True),
    ],
)
def test_size_when_the_file_is_huge_then_newer_clients_are_not_told(
    size: int, agent: str, told: bool
) -> None:
    assert may_tell_size(size, agent) is told


@pytest.fixture
def partial(hub: FakeHub, tmp_path: Path) -> PartialBody:
    body = PartialBody(tmp_path / "partial", weights(hub))
    hub.bodies["model.safetensors"] = body
    return body


WEIGHTS = f"/{NAME}/resolve/main/model.safetensors"
# It gives up after 10 s of silence; a proxy may not pass on what ends it.
HUB_CLIENT = "unknown/None; hf_hub/2.4.0; python/3.11"
BEHIND_A_PROXY = {"User-Agent": HUB_CLIENT, "Via": "1.1 nginx"}


async def test_get_when_the_file_is_arriving_then_sent_as_it_arrives(
    hub: FakeHub, url: str, http: aiohttp.ClientSession, partial: PartialBody
) -> None:
    await partial.arrive(100)
    async with http.get(url + WEIGHTS) as answer:
        assert answer.headers["Content-Length"] == "300000"
        got = await answer.content.readexactly(100)
        await until(lambda: partial.waiting == 1)
        await partial.arrive(200_000)
        got += await answer.content.readexactly(199_900)
        await partial.arrive(300_000)
        assert got + await answer.read() == weights(hub)
    await until(lambda: partial.users == 0)


async def test_get_when_the_first_byte_is_late_then_the_head_is_not(
    hub: FakeHub, shared: Shared, http: aiohttp.ClientSession, partial: PartialBody
) -> None:
    shelf = shelf_of(shared.catalog)
    async with (
        open_endpoint(shelf, hub.ports(), answer_timeout_s=0.2) as url,
        http.get(url + WEIGHTS, headers={"Range": "bytes=5-"}) as answer,
    ):
        assert (answer.status, answer.headers["Content-Length"]) == (206, "299995")
        await partial.arrive(300_000)
        assert await answer.read() == weights(hub)[5:]


async def test_get_when_the_client_can_be_kept_waiting_then_no_head_before_the_first_byte(
    hub: FakeHub, shared: Shared, http: aiohttp.ClientSession, partial: PartialBody
) -> None:
    shelf = shelf_of(shared.catalog)
    agent = {"User-Agent": HUB_CLIENT, "Range": "bytes=299990-"}
    loop = asyncio.get_running_loop()
    async with open_endpoint(shelf, hub.ports(), answer_timeout_s=0.3) as url:

        async def ask() -> tuple[int, bytes]:
            async with http.get(url + WEIGHTS, headers=agent) as answer:
                return answer.status, await answer.read()

        asking = asyncio.create_task(ask())
        await until(lambda: partial.waiting == 1)
        past_deadline = loop.time() + 0.4
        await until(lambda: loop.time() > past_deadline)
        await partial.fail(SourceGone("gone"))
        assert (await asking)[0] == 502  # later it would have been a cut connection


async def test_closed_range_when_the_file_is_arriving_then_sent_once_it_is_proven(
    hub: FakeHub, url: str, http: aiohttp.ClientSession, partial: PartialBody
) -> None:
    await partial.arrive(299_999)  # all but what is held back until the hash is right

    async def ask() -> tuple[int, bytes]:
        async with http.get(url + WEIGHTS, headers={"Range": "bytes=5-9"}) as answer:
            return answer.status, await answer.read()

    asking = asyncio.create_task(ask())
    await until(lambda: partial.waiting == 1)
    assert not asking.done()
    await partial.arrive(300_000)
    assert await asking == (206, weights(hub)[5:10])


@pytest.mark.parametrize("header", ["bytes=0-0", "bytes=5-9", "bytes=0-299998"])
async def test_closed_range_when_the_proof_takes_too_long_then_504_without_a_byte(
    hub: FakeHub, shared: Shared, http: aiohttp.ClientSession, partial: PartialBody, header: str
) -> None:
    await partial.arrive(299_999)
    shelf = shelf_of(shared.catalog)
    async with (
        open_endpoint(shelf, hub.ports(), answer_timeout_s=0.05) as url,
        http.get(url + WEIGHTS, headers={"Range": header, **BEHIND_A_PROXY}) as answer,
    ):
        assert (answer.status, answer.headers["Retry-After"]) == (504, "1")
        assert "ask again" in answer.headers["X-Error-Message"]
        assert weights(hub)[5:10] not in await answer.read()
    assert partial.users == 0


async def test_closed_range_when_the_hash_is_wrong_then_an_error_without_a_byte(
    hub: FakeHub, url: str, http: aiohttp.ClientSession, partial: PartialBody
) -> None:
    await partial.arrive(299_999)
    cid = Cid.raw_sha256(bytes(32))
    await partial.fail(CidMismatch(cid, "what was sent has another hash"))
    async with http.get(url + WEIGHTS, headers={"Range": "bytes=5-9"}) as answer:
        assert answer.status == 502
        assert weights(hub)[5:10] not in await answer.read()


async def test_get_when_the_transfer_fails_before_a_byte_then_a_status(
    url: str, http: aiohttp.ClientSession, partial: PartialBody
) -> None:
    await partial.fail(OriginAway("nobody has it"))
    async with http.get(url + WEIGHTS) as answer:
        assert (answer.status, answer.headers["X-Error-Message"]) == (504, "nobody has it")
    assert partial.users == 0


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=5-9"])
async def test_get_when_the_origin_refuses_what_it_had_granted_then_its_no(
    hub: FakeHub, url: str, http: aiohttp.ClientSession, tmp_path: Path, header: str
) -> None:
    body = PartialBody(tmp_path / "gated", b"secret, and more of it")
    hub.add("org/gated", {"w.bin": b"secret, and more of it"}, gated="manual")
    hub.bodies["w.bin"] = body
    hub.granted.add("alice")
    headers = {"Authorization": "Bearer alice", "Range": header}

    async def ask() -> tuple[int, str | None]:
        async with http.get(f"{url}/org/gated/resolve/main/w.bin", headers=headers) as answer:
            return answer.status, answer.headers.get("X-Error-Code")

    asking = asyncio.create_task(ask())
    await until(lambda: body.waiting == 1)
    hub.granted.clear()
    await body.fail(SourceGone("answered 403"))
    assert await asking == (403, "GatedRepo")


async def test_get_when_the_transfer_fails_in_the_middle_then_the_connection_is_cut(
    hub: FakeHub, url: str, http: aiohttp.ClientSession, partial: PartialBody
) -> None:
    await partial.arrive(100)
    async with http.get(url + WEIGHTS) as answer:
        assert await answer.content.readexactly(100) == weights(hub)[:100]
        await partial.fail(SourceGone("gone"))
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    await until(lambda: partial.users == 0)


async def test_get_when_a_client_leaves_then_the_others_are_served_on(
    hub: FakeHub, url: str, http: aiohttp.ClientSession, partial: PartialBody
) -> None:
    await partial.arrive(1)
    async with aiohttp.ClientSession() as hasty:
        leaver = await hasty.get(url + WEIGHTS)
        async with http.get(url + WEIGHTS) as answer:
            await until(lambda: partial.users == 2 and partial.waiting == 2)
            leaver.close()
            await hasty.close()
            await until(lambda: partial.users == 1)
            await partial.arrive(300_000)
            assert await answer.read() == weights(hub)


async def test_resume_when_what_was_sent_may_be_wrong_then_all_of_it_again(
    hub: FakeHub, url: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    body = PartialBody(tmp_path / "partial", weights(hub), restarts_ranges=True)
    hub.bodies["model.safetensors"] = body
    await body.arrive(300_000)
    statuses = []
    for header in ("bytes=100-", "bytes=100-199", "bytes=0-"):
        async with http.get(url + WEIGHTS, headers={"Range": header}) as answer:
            statuses.append((answer.status, len(await answer.read())))
    assert statuses == [(200, 300_000), (206, 100), (206, 300_000)]


async def test_file_when_it_changes_while_it_is_sent_then_the_connection_is_cut(
    hub: FakeHub, url: str, http: aiohttp.ClientSession
) -> None:
    repo = hub.add("org/big", {"w.bin": Blob(64 << 20, 3)})
    place = repo.commits[repo.sha].files["w.bin"].place
    async with http.get(f"{url}/org/big/resolve/main/w.bin") as answer:
        await answer.content.readexactly(1 << 20)
        os.utime(place, ns=(0, 1))
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_names_when_they_take_too_long_then_504_in_time(
    hub: FakeHub, shared: Shared, http: aiohttp.ClientSession
) -> None:
    hub.patience = asyncio.Event()
    shelf = shelf_of(shared.catalog)
    async with open_endpoint(shelf, hub.ports(), answer_timeout_s=0.05) as url:
        for path in (WEIGHTS, f"/api/models/{NAME}"):
            async with http.get(url + path) as answer:
                assert answer.status == 504
                assert "0.05 s" in answer.headers["X-Error-Message"]
                assert "X-Error-Code" not in answer.headers

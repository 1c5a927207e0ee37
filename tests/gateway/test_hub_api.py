"""The API face of the Hub endpoint: infos, trees and their pages, what is passed on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from mirrornode.errors import LicenceRefused, OriginAway
from mirrornode.gateway.hub_api import MAX_BODY_BYTES, MAX_PATHS, PAGE_RECORDS
from mirrornode.sources.asking_chain import HEADER
from mirrornode.sources.hub_origin import OriginAnswer
from support.hub_endpoint import open_endpoint
from support.hub_ports import FakeHub
from support.hub_repos import Blob, Content
from support.planes import Shared, shelf_of

NAME = "org/name"
API = f"/api/models/{NAME}"


@pytest.fixture
def hub(tmp_path: Path) -> FakeHub:
    folder = tmp_path / "hub"
    folder.mkdir()
    hub = FakeHub(folder)
    files: dict[str, Content] = {
        "config.json": b"{}",
        "w.safetensors": Blob(3000, 1),
        "sub/a b.txt": b"a",
    }
    repo = hub.add(NAME, files, licence="mit")
    repo.commit({"new.txt": b"new"}, ref="feature/x")
    hub.add("gpt2", {"config.json": b"{}"})
    hub.add("org/data", {"a.csv": b"1,2"}, type="dataset")
    hub.add("org/gated", {"w.bin": b"secret"}, gated="manual")
    hub.add("org/private", {"w.bin": b"secret"}, private=True)
    return hub


@pytest.fixture
async def url(hub: FakeHub, shared: Shared) -> AsyncIterator[str]:
    async with open_endpoint(shelf_of(shared.catalog), hub.ports()) as opened:
        yield opened


def answer_of(
    json: object = None, *, status: int = 200, headers: Mapping[str, str] | None = None,
    error_message: str = "",
) -> OriginAnswer:  # fmt: skip
    """What the origin says."""
    return OriginAnswer(status, headers or {}, json, "", error_message)


class Caller:
    """Asks the endpoint and reads JSON."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url

    async def get(self, path: str, token: str = "") -> tuple[int, Any, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        where = path if path.startswith("http") else self.url + path
        async with self.http.get(URL(where, encoded=True), headers=headers) as answer:
            return answer.status, await answer.json(), answer.headers

    async def post(self, path: str, **more: Any) -> tuple[int, Any, Any]:
        async with self.http.post(self.url + path, **more) as answer:
            return answer.status, await answer.json(), answer.headers


@pytest.fixture
async def call(url: str) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as http:
        yield Caller(http, url)


@pytest.mark.parametrize(
    ("path", "name"),
    [(API, NAME), ("/api/models/gpt2", "gpt2"), ("/api/datasets/org/data", "org/data")],
)
async def test_info_when_asked_then_id_commit_and_all_files(
    hub: FakeHub, call: Caller, path: str, name: str
) -> None:
    status, info, headers = await call.get(path)
    kind = "dataset" if "datasets" in path else "model"
    repo = hub.repos[kind, name]
    assert (status, info["id"], info["sha"]) == (200, name, repo.sha)
    assert [s["rfilename"] for s in info["siblings"]] == list(repo.commits[repo.sha].files)
    assert headers["X-Repo-Commit"] == repo.sha
    assert headers["Cache-Control"] == "public, max-age=10"


async def test_revision_when_its_name_has_a_slash_then_found(hub: FakeHub, call: Caller) -> None:
    status, info, _ = await call.get(f"{API}/revision/feature%2Fx")
    assert status == 200
    assert "new.txt" in [s["rfilename"] for s in info["siblings"]]
    _, again, headers = await call.get(f"{API}/revision/{info['sha']}")
    assert again["sha"] == info["sha"]
    assert "immutable" in headers["Cache-Control"]


@pytest.mark.parametrize("value", ["true", "True"])
async def test_info_when_blobs_are_asked_then_sizes_and_hashes(
    hub: FakeHub, call: Caller, value: str
) -> None:
    _, info, _ = await call.get(f"{API}?blobs={value}")
    stored = hub.repos["model", NAME].commits[info["sha"]].files["w.safetensors"]
    sibling = next(s for s in info["siblings"] if s["rfilename"] == "w.safetensors")
    assert sibling["lfs"]["sha256"] == stored.sha256
    assert (sibling["size"], sibling["blobId"]) == (3000, stored.git_oid)
    assert not hub.passed


async def test_info_when_more_is_asked_then_the_origin_or_what_is_known(
    hub: FakeHub, call: Caller
) -> None:
    target = f"{API}?expand=likes&expand=tags"
    hub.answers[target] = answer_of(json={"id": NAME, "likes": 3})
    assert (await call.get(target, "hf_t"))[1] == {"id": NAME, "likes": 3}
    assert hub.passed == [(target, "hf_t", "GET", b"", "")]
    hub.answers.clear()
    assert (await call.get(target))[1]["sha"] == hub.repos["model", NAME].sha


async def test_private_repo_when_not_granted_then_it_does_not_exist(
    hub: FakeHub, call: Caller
) -> None:
    for path in ("", "/revision/main", "/tree/main", "/auth-check"):
        status, _, headers = await call.get(f"/api/models/org/private{path}")
        assert (status, headers["X-Error-Code"]) == (401, "RepoNotFound")
    status, _, _ = await call.post(
        "/api/models/org/private/paths-info/main", data={"paths": "w.bin"}
    )
    assert status == 401
    hub.granted.add("hf_alice")
    assert (await call.get("/api/models/org/private", "hf_alice"))[0] == 200


async def test_gated_repo_when_not_granted_then_listed_but_not_admitted(
    hub: FakeHub, call: Caller
) -> None:
    status, info, headers = await call.get("/api/models/org/gated")
    assert (status, info["gated"]) == (200, "manual")
    assert headers["Cache-Control"] == "private, no-store"
    status, _, headers = await call.get("/api/models/org/gated/auth-check", "hf_bob")
    assert (status, headers["X-Error-Code"]) == (403, "GatedRepo")
    hub.granted.add("hf_alice")
    assert (await call.get("/api/models/org/gated/auth-check", "hf_alice"))[0] == 200


async def test_tree_when_a_folder_is_asked_then_its_records(hub: FakeHub, call: Caller) -> None:
    _, records, headers = await call.get(f"{API}/tree/main")
    shown = [(record["type"], record["path"]) for record in records]
    assert shown == [("directory", "sub"), ("file", "config.json"), ("file", "w.safetensors")]
    assert "Link" not in headers
    _, records, _ = await call.get(f"{API}/tree/main/sub?recursive=True&expand=False")
    assert [record["path"] for record in records] == ["sub/a b.txt"]
    status, _, headers = await call.get(f"{API}/tree/main/none")
    assert (status, headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert headers["X-Repo-Commit"] == hub.repos["model", NAME].sha


async def test_tree_when_it_has_pages_then_links_lead_to_this_endpoint(
    hub: FakeHub, shared: Shared
) -> None:
    files = {f"d x/f{number:05}": b"" for number in range(2 * PAGE_RECORDS + 3)}
    sha = hub.add("org/many", files).sha
    async with (
        aiohttp.ClientSession() as http,
        open_endpoint(shelf_of(shared.catalog), hub.ports(), prefix="/art/hub") as url,
    ):
        call = Caller(http, url)
        paths = []
        where = f"{url}/api/models/org/many/tree/main/d%20x?recursive=true"
        hub.repos["model", "org/many"].commit({"d x/later": b""})
        hub.repos["model", "org/many"].ref_of["refs/heads/main"] = hub.repos[
            "model", "org/many"
        ].commits[sha]
        while where:
            status, records, headers = await call.get(where)
            assert status == 200
            paths += [record["path"] for record in records]
            # A page is of the commit of the first, whatever main has become.
            hub.repos["model", "org/many"].commit({"d x/later": b"x"})
            link = headers.get("Link", "")
            assert not link or link.startswith(f"<{url}/api/models/org/many/tree/{sha}/d%20x?")
            where = link.partition(">")[0].removeprefix("<")
    assert paths == sorted(files)


@pytest.mark.parametrize("query", ["cursor=ZXhhbXBsZQ", "limit=-1", "cursor=at-x", "limit=1e9"])
async def test_tree_when_the_page_is_not_ours_then_400(call: Caller, query: str) -> None:
    assert (await call.get(f"{API}/tree/main?{query}"))[0] == 400


async def test_tree_when_expanded_then_the_origin_with_its_links_bent_to_us(
    hub: FakeHub, call: Caller
) -> None:
    target = f"{API}/tree/main?expand=true"
    link = f'<https://hub.example{API}/tree/main?expand=true&cursor=abc>; rel="next"'
    hub.answers[target] = answer_of(headers={"link": link}, json=[{"path": "x"}])
    _, records, headers = await call.get(target)
    assert records == [{"path": "x"}]
    assert headers["Link"] == f'<{call.url}{API}/tree/main?expand=true&cursor=abc>; rel="next"'
    hub.answers.clear()
    assert len((await call.get(target))[1]) == 3
    # The next page of an origin that went away is not ours to make up.
    assert (await call.get(f"{target}&cursor=abc"))[0] == 504


async def test_paths_info_when_asked_as_form_or_json_then_the_known_ones(
    hub: FakeHub, call: Caller
) -> None:
    form = [("paths", "config.json"), ("paths", "none"), ("paths", "sub"), ("expand", "false")]
    _, records, _ = await call.post(f"{API}/paths-info/main", data=form)
    assert [record["path"] for record in records] == ["config.json", "sub"]
    asked = {"paths": ["w.safetensors"], "expand": False}
    _, records, _ = await call.post(f"{API}/paths-info/main", json=asked)
    assert records[0]["lfs"]["size"] == 3000
    assert not hub.passed
    hub.answers[f"{API}/paths-info/main"] = answer_of(json=[{"path": "x", "lastCommit": {}}])
    _, records, _ = await call.post(f"{API}/paths-info/main", json={**asked, "expand": True})
    assert records[0]["path"] == "x"
    assert hub.passed[0][2:] == (
        "POST", json.dumps({**asked, "expand": True}).encode(), "application/json"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"paths": [1]}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"\xff\xfe", "application/x-www-form-urlencoded", 400),
        (b"expand=true", "application/x-www-form-urlencoded", 400),
        (b"&".join([b"paths=a"] * (MAX_PATHS + 1)), "application/x-www-form-urlencoded", 400),
        (b"paths=" + b"a" * MAX_BODY_BYTES, "application/x-www-form-urlencoded", 413),
    ],
)
async def test_paths_info_when_the_body_is_nonsense_then_refused(
    call: Caller, body: bytes, content_type: str, status: int
) -> None:
    headers = {"Content-Type": content_type}
    answer = await call.post(f"{API}/paths-info/main", data=body, headers=headers)
    assert answer[0] == status


async def test_passed_on_when_the_origin_answers_then_its_answer_and_its_refusal(
    hub: FakeHub, call: Caller
) -> None:
    refs = f"{API}/refs?include_prs=1"
    hub.answers[refs] = answer_of(json={"branches": []}, headers={"x-hf-warning": "names x; stale"})
    status, value, headers = await call.get(refs)
    assert (status, value, headers["X-HF-Warning"]) == (200, {"branches": []}, "names x; stale")
    hub.answers["/api/whoami-v2"] = answer_of(
        status=401, error_message="Invalid credentials in Authorization header"
    )
    status, _, headers = await call.get("/api/whoami-v2", "hf_bad")
    assert status == 401
    assert headers["X-Error-Message"] == "Invalid credentials in Authorization header"
    assert "X-Error-Code" not in headers
    assert [item[:2] for item in hub.passed] == [(refs, ""), ("/api/whoami-v2", "hf_bad")]


async def test_passed_on_when_the_origin_is_away_then_504(call: Caller) -> None:
    for path in (f"{API}/refs", f"{API}/commits/main", "/api/whoami-v2"):
        status, value, _ = await call.get(path)
        assert status == 504
        assert "cannot be reached" in value["error"]


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/agent-harnesses", "/api/kernels/org/name", "/api/collections/x",
     f"{API}/xet-read-token/main", f"{API}/discussions", "/org/name/blob/main/x", "//x/y"],
)  # fmt: skip
async def test_path_when_it_is_nothing_of_ours_then_404_in_json(call: Caller, path: str) -> None:
    status, value, _ = await call.get(path)
    assert (status, list(value)) == (404, ["error"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/repos/create"),
        ("POST", f"{API}/commit/main"),
        ("POST", f"{API}/preupload/main"),
        ("PUT", f"/{NAME}/resolve/main/config.json"),
        ("DELETE", API),
        ("POST", f"/{NAME}.git/info/lfs/objects/batch"),
        ("GET", f"{API}/paths-info/main"),
    ],
)
async def test_method_when_it_would_change_the_hub_then_405(
    call: Caller, method: str, path: str
) -> None:
    async with call.http.request(method, call.url + path, data=b"x") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] in ("GET, HEAD", "POST")
        assert "Hub itself" in answer.headers["X-Error-Message"]


async def test_endpoint_when_the_host_is_not_ours_then_403(call: Caller) -> None:
    async with call.http.get(call.url + API, headers={"Host": "evil.example"}) as answer:
        assert answer.status == 403


async def test_gateway_when_it_has_the_endpoint_then_content_is_still_there(
    call: Caller, shared: Shared
) -> None:
    async with call.http.get(f"{call.url}/ipfs/{shared.model.root}") as answer:
        assert await answer.read() == shared.model.data
    async with call.http.get(f"{call.url}/healthz") as answer:
        assert answer.status == 200


async def test_question_when_it_came_from_this_node_then_508_and_nobody_is_asked(
    hub: FakeHub, shared: Shared
) -> None:
    own, other = "a" * 16, "b" * 16
    shelf = shelf_of(shared.catalog)
    async with (
        open_endpoint(shelf, hub.ports(), own_name=own) as url,
        aiohttp.ClientSession() as http,
    ):
        for path in (API, f"/{NAME}/resolve/main/config.json", "/api/whoami-v2"):
            for chain in (own, f"{own}, {other}", ", ".join([other] * 9)):
                async with http.get(url + path, headers={HEADER: chain}) as answer:
                    assert answer.status == 508
                    assert "origin of its own origins" in answer.headers["X-Error-Message"]
        assert (hub.passed, hub.opened) == ([], [])
        async with http.get(url + API, headers={HEADER: other}) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    "path",
    ["/api/models/org/gated", "/api/models/org/gated/revision/main",
     "/api/models/org/gated/revision/main?blobs=true", "/api/models/org/gated?expand=likes",
     "/api/models/org/gated/tree/main?recursive=true", "/api/models/org/gated/tree/main?expand=1",
     "/api/models/org/gated/refs", "/api/models/org/gated/commits/main",
     "/api/models/org/gated/auth-check", "/org/gated/resolve/main/w.bin",
     "/org/gated/raw/main/w.bin"],
)  # fmt: skip
async def test_licence_when_it_is_not_for_this_node_then_403_with_the_reason_on_all_routes(
    hub: FakeHub, call: Caller, path: str
) -> None:
    hub.granted.add("hf_alice")
    hub.repos["model", "org/gated"].licence = "llama3"
    hub.refused_licences, hub.refusal = {"llama3"}, LicenceRefused("llama3 is denied here")
    status, said, headers = await call.get(path, "hf_alice")
    assert (status, headers["X-Error-Code"]) == (403, "GatedRepo")
    assert headers["X-Error-Message"] == said["error"] == "llama3 is denied here"
    where = "/api/models/org/gated/paths-info/main"
    status, _, headers = await call.post(where, json={"paths": ["w.bin"]})
    assert (status, headers["X-Error-Message"]) == (403, "llama3 is denied here")
    assert hub.passed == []


async def test_licence_when_the_repo_is_not_known_then_the_answers_are_as_without_rules(
    hub: FakeHub, call: Caller
) -> None:
    hub.refused_licences, hub.refusal = {"llama3"}, LicenceRefused("llama3 is denied here")
    assert (await call.get("/api/models/org/none"))[0] == 401
    hub.fault = OriginAway("away")
    hub.answers[f"{API}/refs"] = answer_of({"branches": []})
    assert (await call.get(f"{API}/refs"))[:2] == (200, {"branches": []})

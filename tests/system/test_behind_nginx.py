"""docs/examples/nginx.conf as it is, with a real nginx before a real node."""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.hub_origin import ALICE, Blob, StandInHub, running_hub
from support.nodes import Nodes, RunningNode, nodes_in
from support.waiting import until_sync

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "nginx.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
CLIENT = "127.77.2.3"
MIB = 1 << 20
SIZE = 9 * MIB + 7  # two slices and a bit

MAIN = """daemon off;
error_log stderr;
pid {folder}/nginx.pid;
{user}
worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/mirrornode.conf;
}}
"""


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Site:
    """A node, its Hub, and nginx in front."""

    hub: StandInHub
    nodes: Nodes
    node: RunningNode
    port: int
    folder: Path

    def get(
        self,
        path: str,
        *,
        direct: bool = False,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        port = urlsplit(self.node.gateway).port if direct else self.port
        # Directly only proxies ask, and they name a client; clients have an address of their own.
        connection = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=60, source_address=("127.0.0.1" if direct else CLIENT, 0)
        )
        named = {"X-Forwarded-For": CLIENT} if direct else {}
        try:
            connection.request(method, path, headers={**named, **(headers or {})})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()},
                          answer.read())  # fmt: skip
        finally:
            connection.close()

    def cached_files(self) -> set[Path]:
        """Return what nginx keeps."""
        return {path for path in (self.folder / "cache").rglob("*") if path.is_file()}

    def served_bytes(self) -> int:
        """Return what the node has sent of files to HTTP clients."""
        text = self.get("/metrics", direct=True).body.decode()
        found = re.findall(r'mirrornode_served_bytes_total\{face="[^"]+"\} ([0-9.e+]+)', text)
        assert found
        return int(sum(map(float, found)))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all tests, each of which has files of its own; the last one kills the node."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    tmp_path = tmp_path_factory.mktemp("site")
    with running_hub() as hub, nodes_in(tmp_path) as nodes:
        hub.mode = "redirect"
        hub.add_model("org/open", {
            "m.bin": Blob(SIZE, 1), "wrong.bin": Blob(SIZE, 3), "kept.bin": Blob(MIB, 4),
            "c.json": b'{"a": 1}'})  # fmt: skip
        hub.add_model("org/gated", {"g.bin": Blob(MIB, 2)}, gated="manual")
        home = nodes.home("node")
        home.mkdir()
        settings = (
            '[gateway]\ntrusted_proxies = ["127.0.0.1"]\nallow = ["127.0.0.0/8"]\n'
            'names = ["models.lan"]\n'
        )
        (home / "config.toml").write_text(f'{settings}[[origin]]\nurl = "{hub.url}"\n')
        node = nodes.serve("node")
        port, folder = free_port(), tmp_path / "nginx"
        folder.mkdir()
        text = EXAMPLE.read_text(encoding="utf-8")
        for old, new in (
            ("listen 8080;", f"listen 127.0.0.1:{port};"),
            ("server 127.0.0.1:8090;", f"server 127.0.0.1:{urlsplit(node.gateway).port};"),
            ("/var/cache/nginx/mirrornode", str(folder / "cache")),
        ):
            assert text.count(old) == 1
            text = text.replace(old, new)
        (folder / "mirrornode.conf").write_text(text, encoding="utf-8")
        # Started by root, its worker could not read below a private folder as another user.
        user = "user root;" if folder.stat().st_uid == 0 else ""
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user), encoding="utf-8")
        with (folder / "errors.log").open("wb") as errors:
            nginx = subprocess.Popen(
                [NGINX, "-p", folder, "-c", folder / "nginx.conf"], stderr=errors
            )
        try:
            until_sync(lambda: nginx.poll() is not None or is_open(port))
            assert nginx.poll() is None, (folder / "errors.log").read_text()
            yield Site(hub, nodes, node, port, folder)
        finally:
            nginx.terminate()
            nginx.wait(timeout=20)


def is_open(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_file_of_a_commit_when_a_second_client_asks_then_its_bytes_come_from_nginx(
    site: Site,
) -> None:
    repo = site.hub.repos["model", "org/open"]
    path = f"/org/open/resolve/{repo.sha}/m.bin"
    content = repo.ref_of["refs/heads/main"].files["m.bin"].place.read_bytes()
    head = site.get(path, method="HEAD")
    assert head.status == 200
    assert int(head.headers["content-length"]) == SIZE
    assert head.headers["etag"] == site.get(path, direct=True, method="HEAD").headers["etag"]
    first = site.get(path)
    assert (first.status, first.body == content) == (200, True)
    assert "immutable" in first.headers["cache-control"]
    ranges = ((0, SIZE), (0, 1), (4 * MIB - 1, 4 * MIB + 2), (SIZE - 3, SIZE))
    before, sent = site.served_bytes() - SIZE, 0
    for times in range(2):
        for start, stop in ranges:
            part = site.get(path, headers={"Range": f"bytes={start}-{stop - 1}"})
            assert (part.status, part.body == content[start:stop]) == (206, True)
            assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
            assert (part.headers["x-cache-status"] == "HIT") >= bool(times)
        sent = sent or site.served_bytes()
    assert sent - before == 2 * SIZE  # once as a whole, once in slices
    second = site.get(path, headers={"User-Agent": "another", "Authorization": "Bearer hf_x"})
    assert (second.status, second.body == content) == (200, True)
    assert second.headers["x-repo-commit"] == repo.sha
    assert site.get(path, headers={"If-None-Match": first.headers["etag"]}).status == 304
    assert site.get(path, headers={"Range": f"bytes={SIZE}-{SIZE}"}).status == 416
    assert site.served_bytes() == sent
    # The rest of a file comes from the node, which knows whether the start was right.
    rest = site.get(path, headers={"Range": f"bytes={SIZE - 5}-"})
    assert (rest.status, rest.body) == (206, content[-5:])
    assert site.served_bytes() == sent + 5


def test_file_when_the_origin_sent_a_wrong_one_then_nginx_keeps_and_mends_nothing(
    site: Site,
) -> None:
    repo = site.hub.repos["model", "org/open"]
    path = f"/org/open/resolve/{repo.sha}/wrong.bin"
    content = repo.ref_of["refs/heads/main"].files["wrong.bin"].place.read_bytes()
    before = site.cached_files()
    site.hub.corrupt(match="wrong.bin", at=5)
    with contextlib.suppress(http.client.IncompleteRead):
        assert len(site.get(path).body) < SIZE
    part = site.get(path, headers={"Range": "bytes=0-9"})
    assert part.status >= 500
    assert site.cached_files() == before
    site.hub.heal()
    # The node lets such a file rest, unless a person asks for it.
    out = site.folder / "mended.bin"
    assert site.node.run("get", f"hf:org/open@{repo.sha}/wrong.bin", "-o", out).code == 0
    # Who has a wrong start is given all of it, whatever was asked and had in between.
    for _ in range(2):
        whole = site.get(path)
        assert (whole.status, whole.body == content) == (200, True)
        again = site.get(path, headers={"Range": f"bytes={MIB}-"})
        assert (again.status, again.body == content) == (200, True)


def test_file_of_a_branch_when_it_moves_then_the_new_one_is_given_soon(site: Site) -> None:
    path = "/org/open/resolve/main/c.json"
    assert site.get(path).body == b'{"a": 1}'
    cached = site.get(path)
    assert cached.headers["x-cache-status"] == "HIT"
    assert cached.headers["cache-control"] == "public, max-age=10"
    info = site.get("/api/models/org/open/revision/main")
    assert info.headers["cache-control"] == "public, max-age=10"


def test_file_of_a_gated_repo_when_one_had_it_then_nginx_gives_it_to_nobody(site: Site) -> None:
    repo = site.hub.repos["model", "org/gated"]
    before = site.cached_files()
    for revision in (repo.sha, "main"):
        path = f"/org/gated/resolve/{revision}/g.bin"
        for method in ("HEAD", "GET"):
            may = {"Authorization": f"Bearer {ALICE}"}
            had = site.get(path, method=method, headers=may)
            assert had.status == 200
            assert had.headers["cache-control"] == "private, no-store"
            assert site.get(path, method=method).status == 401
            assert site.get(path, method=method, headers=may).headers["x-cache-status"] == "MISS"
    assert site.cached_files() == before


def test_ipfs_when_a_second_client_asks_then_its_bytes_come_from_nginx(
    site: Site, tmp_path: Path
) -> None:
    own = tmp_path / "own.bin"
    own.write_bytes(bytes(range(256)) * (SIZE // 256))
    content = own.read_bytes()
    cid = site.node.run("add", own, "--json").record["cid"]
    path = f"/ipfs/{cid}"
    assert site.get(path, headers={"Range": "bytes=7-300"}).body == content[7:301]
    first = site.get(path)
    assert first.body == content
    sent = site.served_bytes()
    assert site.get(path).body == content
    tail = site.get(path, headers={"Range": "bytes=-5"})
    assert (tail.status, tail.body) == (206, content[-5:])
    condition = {"Range": "bytes=0-4", "If-Range": first.headers["etag"]}
    assert site.get(path, headers=condition).status == 206
    assert len(site.get(path, headers={**condition, "If-Range": '"other"'}).body) == len(content)
    assert site.served_bytes() == sent
    head = site.get(path, method="HEAD")
    assert (head.status, int(head.headers["content-length"])) == (200, len(content))
    raw = site.get(f"{path}?format=raw", headers={"Accept": "application/vnd.ipld.raw"})
    assert raw.headers["content-type"] == "application/vnd.ipld.raw"
    car = site.get(path, headers={"Accept": "application/vnd.ipld.car"})
    assert car.headers["content-type"].startswith("application/vnd.ipld.car")
    # A stranger to the node stays one behind nginx; by a name of its own nobody gets in.
    assert site.get(path, headers={"Host": "models.lan"}).body == content
    assert site.get("/metrics", headers={"Host": "evil.example"}).status == 403
    assert site.get("/metrics").headers["cache-control"] == "no-store"


def test_client_when_nginx_names_it_then_the_nodes_own_rules_hold(site: Site) -> None:
    # nginx adds the address it sees behind what a client claims, so a claim helps nobody.
    assert site.get("/metrics", headers={"X-Forwarded-For": "8.8.8.8"}).status == 200
    assert site.get("/metrics", direct=True, headers={"X-Forwarded-For": ""}).status == 401
    named = {"X-Forwarded-For": "8.8.8.8"}
    assert site.get("/metrics", direct=True, headers=named).status == 401


def test_file_when_the_node_is_away_then_nginx_still_has_it(site: Site) -> None:
    path = f"/org/open/resolve/{site.hub.repos['model', 'org/open'].sha}/kept.bin"
    first, head = site.get(path), site.get(path, method="HEAD")
    assert first.status == head.status == 200
    site.node.kill()
    assert site.get(path).body == first.body
    assert site.get(path, method="HEAD").headers["etag"] == first.headers["etag"]

"""The Hub's own clients at a gateway that asks for a token, with and without one of the Hub."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.hub_clients.environments import VERSIONS, Client, NotInstalled, installed
from interop.hub_clients.world import environment
from support.hub_origin import ALICE, StandInHub, running_hub
from support.nodes import Nodes, RunningNode, nodes_in

TEAM = "mn_the-token-of-the-team"
FETCH = """
import sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[StandInHub]:
    with running_hub() as hub:
        hub.add_model("org/open", {"c.json": b"open"})
        hub.add_model("org/gated", {"c.json": b"gated"}, gated="manual")
        yield hub


@pytest.fixture(scope="module")
def node(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with nodes_in(tmp_path_factory.mktemp("nodes")) as nodes:
        yield started(nodes, hub)


def started(nodes: Nodes, hub: StandInHub) -> RunningNode:
    home = nodes.home("node")
    home.mkdir()
    entry = f"team:{hashlib.sha256(TEAM.encode()).hexdigest()}\n"
    (home / "tokens").write_text(entry, encoding="utf-8")
    settings = f'[gateway]\ntoken_file = "tokens"\n[[origin]]\nurl = "{hub.url}"\n'
    (home / "config.toml").write_text(settings, encoding="utf-8")
    return nodes.serve("node")


@pytest.fixture(params=VERSIONS)
def client(request: pytest.FixtureRequest) -> Client:
    try:
        return installed(request.param)
    except NotInstalled as exc:
        pytest.skip(f"huggingface_hub is not here: {exc}")


def test_client_when_it_shows_the_gateways_token_then_served_and_the_hub_never_sees_it(
    client: Client, node: RunningNode, hub: StandInHub, tmp_path: Path
) -> None:
    def fetch(repo: str, name: str, endpoint: str, token: str = "") -> str:
        shown = {"HF_TOKEN": token} if token else {}
        finished = subprocess.run(
            [client.python, "-I", "-c", FETCH, repo],
            env={**environment(endpoint, tmp_path / name), **shown},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        if finished.returncode:
            return finished.stderr.strip().splitlines()[-1]
        return (Path(finished.stdout.split()[-1]) / "c.json").read_text()

    with_login = node.gateway.replace("http://", f"http://me:{TEAM}@")
    assert fetch("org/open", "login", with_login) == "open"
    assert fetch("org/gated", "both", node.gateway, f"{TEAM}:{ALICE}") == "gated"
    assert fetch("org/gated", "basic", f"{with_login.replace('@', f'%3A{ALICE}@')}") == "gated"
    assert fetch("org/open", "none", node.gateway) not in ("open", "gated")
    assert fetch("org/gated", "only", node.gateway, ALICE) not in ("open", "gated")
    assert {logged.token for logged in hub.log} <= {"", ALICE}
    assert not [logged for logged in hub.log if "mn_" in str(dict(logged.headers))]

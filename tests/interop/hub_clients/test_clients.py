"""The real clients of the Hub, straight at a Hub and through a node: the same, step by step.

A client whose environment cannot be made here is skipped, with the reason.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interop.hub_clients.environments import VERSIONS, Client, NotInstalled, installed
from interop.hub_clients.world import FILES, LARGE_BYTES, Results, furnish, run, run_steps
from support.hub_origin import StandInHub, running_hub
from support.hub_parts import contents_of
from support.hub_repos import HeldRepo
from support.nodes import Nodes, RunningNode
from support.recording_proxy import Recording, recording_proxy
from support.waiting import until_sync

pytestmark = pytest.mark.timeout(240)  # the first run installs the client

# The stand-in has no route for uploads; a node that knows an open repo asks nobody for its names,
# and so does not see that a token is invalid.
DIFFERENT = {"upload", "invalid token, info"}
# For that reason a HEAD succeeds here, and the GET after it does not: this version makes other
# exceptions of the two.
ALSO_DIFFERENT = {"0.24.5": {"invalid token"}}
# What reached a client must not even name these.
NEVER = ("xet", "huggingface.co")
# What a node that has served all steps can still do without its origin.
OFFLINE = (
    "snapshot", "snapshot of a tag", "snapshot of some", "snapshot to a folder", "file, awkward",
    "file of a branch", "file of a space", "file of an old repo", "file of a renamed repo",
    "info", "info with sizes", "list", "list of many", "tree", "paths", "refs", "commits",
    "file system: ls", "file system: ranges", "gated, anonymous", "gated, no grant",
    "gated, granted", "private, granted", "auth, granted", "auth, no grant", "no file",
)  # fmt: skip


@pytest.fixture(scope="session", params=VERSIONS)
def client(request: pytest.FixtureRequest) -> Client:
    """Each version of the client."""
    try:
        return installed(request.param)
    except NotInstalled as exc:
        pytest.skip(f"huggingface_hub is not here: {exc}")


@asynccontextmanager
async def node_over(hub: StandInHub, nodes: Nodes) -> AsyncIterator[Recording]:
    """Run a node over a Hub that shows all its hard sides; its clients are listened to."""
    hub.mode, hub.with_xet, hub.resolve_cache = "redirect", True, True
    home = nodes.home("node")
    home.mkdir()
    (home / "config.toml").write_text(f'[[origin]]\nurl = "{hub.url}"\n')
    node = await asyncio.to_thread(nodes.serve, "node")
    async with recording_proxy(node.gateway) as recording:
        yield recording
        _check_traffic(hub, recording)


def _check_traffic(hub: StandInHub, recording: Recording) -> None:
    for word in (*NEVER, hub.cdn_host):
        assert not recording.holding(word)
    # Compressed answers have no length that a client could check.
    assert not recording.holding("content-encoding")
    assert not hub.tokens_seen_by(hub.cdn_host)


def outcome(results: Results) -> dict[str, object]:
    """Return what may be compared: results, and classes of exceptions."""
    return {name: got.get("raised", got.get("got")) for name, got in results.items()}


async def test_every_step_when_through_the_node_then_as_at_the_hub(
    client: Client, nodes: Nodes, tmp_path: Path
) -> None:
    with running_hub() as hub:
        furnish(hub)
        hub.add_model("org/elsewhere", {"config.json": b"{}"})
        direct = await run_steps(client, hub.url, tmp_path / "direct")
        own = await run_steps(client, hub.url, tmp_path, ["later: file in the own cache"])
        hub.log.clear()
        async with node_over(hub, nodes) as recording:
            results = await run_steps(client, recording.url, tmp_path / "through")
            # People are told the origin's name, but no link leads there.
            assert not recording.holding(hub.url)
            through, expected = outcome(results), outcome(direct)
            assert "only reads" in results["upload"]["message"]
            assert "Invalid credentials" in results["invalid token"]["message"]
            for name in DIFFERENT | ALSO_DIFFERENT.get(client.version, set()):
                del through[name], expected[name]
            differing = [name for name in expected if through[name] != expected[name]]
            assert not differing, {name: results[name] for name in differing}
            # One content of two names came once; ends of runs may have been asked for twice.
            sent = [hub.file_bytes_sent(f"{name}.safetensors") for name in ("model", "copy")]
            assert LARGE_BYTES <= sum(sent) < 2 * LARGE_BYTES
            hub.stop()
            offline = await run_steps(client, recording.url, tmp_path / "offline", OFFLINE)
            assert outcome(offline) == {name: expected[name] for name in OFFLINE}
            unknown = ("later: new repo", "later: file of a new repo")
            stopped = await run_steps(client, recording.url, tmp_path, (*unknown, *own))
    # The node has never heard of that repo either, and the client has what it needs.
    assert {name: stopped[name]["got"] for name in own} == {name: own[name]["got"] for name in own}
    for name in unknown:
        assert stopped[name]["raised"] == "RepositoryNotFoundError"
        assert "cannot be asked" in stopped[name]["message"]


async def test_command_when_it_downloads_then_all_files(
    client: Client, nodes: Nodes, tmp_path: Path
) -> None:
    with running_hub() as hub:
        furnish(hub)
        async with node_over(hub, nodes) as recording:
            out = tmp_path / "out"
            command = [str(client.downloader), "download", "org/name", "--local-dir", str(out)]
            await run(command, recording.url, tmp_path / "home")
            assert (out / "model.safetensors").stat().st_size == LARGE_BYTES
            assert (out / "sub dir" / "part 1 +%.bin").is_file()


async def test_team_when_one_has_fetched_then_all_versions_get_it_without_the_origin(
    nodes: Nodes, tmp_path: Path
) -> None:
    clients = _all_installed()
    # Reads in the middle of a file that is not here yet, then all of it.
    steps = ("file system: ranges", "snapshot")
    with running_hub() as hub:
        expected = _expected(hub.add_model("org/name", FILES))
        hub.mode = "redirect"
        one = await _start(nodes, hub, "one")
        two = await _start(nodes, hub, "two", one.address)
        first = await run_steps(clients[0], one.gateway, tmp_path / "first", steps)
        sent = {path: hub.file_bytes_sent(path) for path in FILES}
        assert LARGE_BYTES <= sum(sent.values()) < 2 * LARGE_BYTES
        second = await run_steps(clients[-1], two.gateway, tmp_path / "second", steps)
        assert {path: hub.file_bytes_sent(path) for path in FILES} == sent
        hub.stop()
        third = await asyncio.gather(
            *(run_steps(client, two.gateway, tmp_path / client.version, steps)
              for client in clients)
        )  # fmt: skip
    for results in (first, second, *third):
        assert outcome(results) == expected


def _expected(repo: HeldRepo) -> dict[str, object]:
    """Return what the two steps get."""
    files = contents_of(repo)
    large = files["model.safetensors"]
    parts = (large[:10], large[1_000_000:1_100_000], large[-7:])
    return {
        "file system: ranges": [hashlib.sha256(part).hexdigest() for part in parts],
        "snapshot": {
            "commit": repo.sha,
            "files": {path: hashlib.sha256(data).hexdigest() for path, data in files.items()},
        },
    }


def _all_installed() -> list[Client]:
    """Return the clients of all versions that can be had."""
    clients = []
    reasons = []
    for version in VERSIONS:
        try:
            clients.append(installed(version))
        except NotInstalled as exc:
            reasons.append(str(exc))
    if not clients:
        pytest.skip(f"huggingface_hub is not here: {'; '.join(reasons)}")
    return clients


async def _start(nodes: Nodes, hub: StandInHub, name: str, *bootstrap: str) -> RunningNode:
    home = nodes.home(name)
    home.mkdir()
    (home / "config.toml").write_text(f'[[origin]]\nurl = "{hub.url}"\n')
    node = await asyncio.to_thread(nodes.serve, name, bootstrap=bootstrap)

    def is_connected() -> bool:
        return len(node.run("peers", "--json").stdout.splitlines()) >= len(bootstrap)

    await asyncio.to_thread(until_sync, is_connected)
    return node

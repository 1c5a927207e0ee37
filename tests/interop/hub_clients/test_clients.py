"""The real clients of the Hub, straight at a Hub and through a node: the same, step by step.

A client whose environment cannot be made here is skipped, with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interop.hub_clients.environments import VERSIONS, Client, NotInstalled, installed
from interop.hub_clients.world import LARGE_BYTES, Results, furnish, run, run_steps
from support.hub_origin import StandInHub, running_hub
from support.nodes import Nodes
from support.recording_proxy import Recording, recording_proxy

pytestmark = pytest.mark.timeout(240)  # the first run installs the client

# The stand-in has no route for uploads; a node that knows an open repo asks nobody for its names,
# and so does not see that a token is invalid.
DIFFERENT = {"upload", "invalid token, info"}
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
        direct = await run_steps(client, hub.url, tmp_path / "direct")
        hub.log.clear()
        async with node_over(hub, nodes) as recording:
            results = await run_steps(client, recording.url, tmp_path / "through")
            # People are told the origin's name, but no link leads there.
            assert not recording.holding(hub.url)
            through, expected = outcome(results), outcome(direct)
            assert "only reads" in results["upload"]["message"]
            for name in DIFFERENT:
                del through[name], expected[name]
            differing = [name for name in expected if through[name] != expected[name]]
            assert not differing, {name: results[name] for name in differing}
            # One content of two names came once; ends of runs may have been asked for twice.
            sent = [hub.file_bytes_sent(f"{name}.safetensors") for name in ("model", "copy")]
            assert LARGE_BYTES <= sum(sent) < 2 * LARGE_BYTES
            hub.stop()
            offline = await run_steps(client, recording.url, tmp_path / "offline", OFFLINE)
            assert outcome(offline) == {name: expected[name] for name in OFFLINE}
            stopped = await run_steps(client, recording.url, tmp_path, ["later: new repo"])
    unknown = stopped["later: new repo"]
    assert unknown["raised"] == "RepositoryNotFoundError"
    assert "cannot be asked" in unknown["message"]


async def test_command_when_it_downloads_then_all_files(
    client: Client, nodes: Nodes, tmp_path: Path
) -> None:
    with running_hub() as hub:
        furnish(hub)
        async with node_over(hub, nodes) as recording:
            out = tmp_path / "out"
            command = [str(client.command("hf")), "download", "org/name", "--local-dir", str(out)]
            await run(command, recording.url, tmp_path / "home")
            assert (out / "model.safetensors").stat().st_size == LARGE_BYTES
            assert (out / "sub dir" / "part 1 +%.bin").is_file()

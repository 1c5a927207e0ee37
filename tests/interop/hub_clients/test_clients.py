"""The real clients of the Hub, straight at a Hub and through this node: the same, step by step.

A client whose environment cannot be made here is skipped, with the reason.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interop.hub_clients.environments import VERSIONS, Client, NotInstalled, installed
from interop.hub_clients.world import LARGE_BYTES, Results, furnish, run, run_steps
from mirrornode.mirror.active import ActiveTransfers
from mirrornode.mirror.shelf import Shelf
from mirrornode.store.catalog import open_catalog
from support.hub_endpoint import open_endpoint
from support.hub_origin import StandInHub, running_hub
from support.hub_ports import RelayedHub
from support.recording_proxy import Recording, recording_proxy

pytestmark = pytest.mark.timeout(240)  # the first run installs the client

MIRROR_ONLY = {"upload"}  # the stand-in has no such route
# What reached a client must not even name these.
NEVER = ("xet", "huggingface.co")


@pytest.fixture(scope="session", params=VERSIONS)
def client(request: pytest.FixtureRequest) -> Client:
    """Each version of the client."""
    try:
        return installed(request.param)
    except NotInstalled as exc:
        pytest.skip(f"huggingface_hub is not here: {exc}")


@asynccontextmanager
async def mirror_of(hub: StandInHub, home: Path) -> AsyncIterator[Recording]:
    """Run the endpoint over a Hub that shows all its hard sides; clients are listened to."""
    hub.mode, hub.with_xet, hub.resolve_cache = "redirect", True, True
    with open_catalog(home) as catalog:
        shelf = Shelf(catalog, ActiveTransfers())
        async with (
            open_endpoint(shelf, RelayedHub.of(hub).ports()) as endpoint,
            recording_proxy(endpoint) as recording,
        ):
            yield recording


def outcome(results: Results) -> dict[str, object]:
    """Return what may be compared: results, and classes of exceptions."""
    return {name: got.get("raised", got.get("got")) for name, got in results.items()}


async def test_every_step_when_through_the_node_then_as_at_the_hub(
    client: Client, tmp_path: Path
) -> None:
    with running_hub(folder=tmp_path) as hub:
        furnish(hub)
        direct = await run_steps(client, hub.url, tmp_path / "direct")
        hub.log.clear()
        async with mirror_of(hub, tmp_path / "node") as recording:
            results = await run_steps(client, recording.url, tmp_path / "through")
        through = outcome(results)
        expected = outcome(direct)
        for name in MIRROR_ONLY:
            expected.pop(name)
            through.pop(name)
        assert through == expected
        assert "only reads" in results["upload"]["message"]
        _check_traffic(hub, recording)


def _check_traffic(hub: StandInHub, recording: Recording) -> None:
    for word in (*NEVER, hub.host, hub.cdn_host):
        assert not recording.holding(word)
    assert not hub.tokens_seen_by(hub.cdn_host)
    # Compressed answers have no length that a client could check.
    assert not recording.holding("content-encoding")


async def test_command_when_it_downloads_then_all_files(client: Client, tmp_path: Path) -> None:
    with running_hub(folder=tmp_path) as hub:
        furnish(hub)
        async with mirror_of(hub, tmp_path / "node") as recording:
            out = tmp_path / "out"
            command = [str(client.command("hf")), "download", "org/name", "--local-dir", str(out)]
            await run(command, recording.url, tmp_path / "home")
            assert (out / "model.safetensors").stat().st_size == LARGE_BYTES
            assert (out / "sub dir" / "part 1 +%.bin").is_file()
            _check_traffic(hub, recording)


async def test_origin_when_it_is_away_then_the_reason_is_told(
    client: Client, tmp_path: Path
) -> None:
    with running_hub(folder=tmp_path) as hub:
        furnish(hub)
        async with mirror_of(hub, tmp_path / "node") as recording:
            hub.stop()
            results = await run_steps(client, recording.url, tmp_path, ["no repo, snapshot"])
    assert results["no repo, snapshot"]["raised"] == "RepositoryNotFoundError"
    assert "cannot be reached" in results["no repo, snapshot"]["message"]

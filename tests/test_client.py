"""The script API without a daemon: both clients have the same calls, and they do the work here."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from mirrornode import AsyncClient, Client
from mirrornode.config import Config, SwarmConfig
from mirrornode.errors import TargetError
from mirrornode.events import AddProgress, Event


def calls_of(kind: type) -> set[str]:
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name for name, _ in found if not name.startswith("_")}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(home=tmp_path / "home", swarm=SwarmConfig(mdns=False))


def test_clients_have_the_same_calls() -> None:
    assert calls_of(AsyncClient) == calls_of(Client)


async def test_async_client_when_no_daemon_runs_then_it_works_here(
    config: Config, tmp_path: Path
) -> None:
    client = AsyncClient(config=config)
    model = tmp_path / "model.bin"
    model.write_bytes(bytes(range(256)) * 8192)
    events: list[Event] = []
    (added,) = await client.add([model], progress=events.append)
    assert isinstance(events[0], AddProgress)
    copy = tmp_path / "copy.bin"
    await client.get(added.cid, copy)
    assert copy.read_bytes() == model.read_bytes()
    pinned = await client.pin(added.cid, name="kept")
    assert pinned["was_here"]
    assert [(pin["target"], pin["name"]) for pin in await client.pins()] == [(added.cid, "kept")]
    assert (await client.unpin(added.cid))["unpinned"] == [[added.cid, "kept"]]
    assert (await client.unshare(copy))["files"] == 1
    assert (await client.gc(dry_run=True))["freed_bytes"] == 0
    assert [record["outcome"] for record in await client.history(limit=1)] == ["ok"]
    assert (await client.status())["roots"] == len(await client.ls())
    assert await client.alerts() == await client.syncs() == await client.publications() == []
    assert (await client.verify(added.cid))["ok"] > 0


async def test_async_client_when_a_call_is_wrong_then_its_error_comes(config: Config) -> None:
    client = AsyncClient(config=config)
    with pytest.raises(TargetError):
        await client.get("no such target")
    with pytest.raises(TargetError):
        await client.test_alerts()

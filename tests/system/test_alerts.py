"""Mirrors that fail under load, with real processes: told of once, gone round, and taken back."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mirrornode import Client
from support.nodes import Nodes
from support.paced_server import PacedServer, paced_server
from support.waiting import until_sync
from support.webhook_server import WebhookServer, webhook_server

KIB = 1 << 10
MIB = 1 << 20
FAST, STEADY, SLOW = 12e6, 2.5e6, 0.25e6  # bytes a second
MakeFile = Callable[[str, int], Path]


@pytest.fixture
def hook() -> Iterator[WebhookServer]:
    with webhook_server() as server:
        yield server


def slow_down(mirror: PacedServer) -> None:
    mirror.rate_bytes_per_s = SLOW


def refuse(mirror: PacedServer) -> None:
    mirror.refuses = True


def repair(mirror: PacedServer) -> None:
    mirror.rate_bytes_per_s, mirror.refuses = FAST, False


@pytest.mark.parametrize("fault", [slow_down, refuse])
def test_mirror_when_it_fails_under_load_then_the_next_and_back_when_it_has_proven_itself(
    nodes: Nodes,
    make_file: MakeFile,
    tmp_path: Path,
    hook: WebhookServer,
    fault: Callable[[PacedServer], None],
) -> None:
    home, web = nodes.home("taker"), tmp_path / "web"
    client, cids = Client(home), []
    for number in range(7):
        name = f"m{number}"
        model = make_file(f"{name}/{name}.bin", 4 * MIB).parent
        cids.append(client.add([model], chunker=f"size-{256 * KIB}")[0].cid)
        web.mkdir(exist_ok=True)
        (model / f"{name}.bin").rename(web / f"{name}.bin")
    with paced_server(web, FAST) as first, paced_server(web, STEADY) as second:
        (home / "config.toml").write_text(f"""
            [alerts]
            slow_after_s = 0.3
            rest_s = 5
            calm_s = 0
            [[mirror]]
            url = "{first.url}"
            [[mirror]]
            url = "{second.url}"
            [[webhook]]
            url = "{hook.url}"
        """)
        taker = nodes.serve("taker")

        def alerts() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = client.status()["alerts"]
            return found

        def get(number: int) -> int:
            """Fetch a model; return what the first mirror sent of it."""
            before = first.sent_bytes
            client.get(cids[number], tmp_path / f"out{number}")
            return first.sent_bytes - before

        assert get(0) > 0
        fault(first)
        for number in (1, 2, 3):
            assert alerts() == []
            get(number)
        until_sync(lambda: alerts() != [])
        assert get(4) == 0  # by the next best alone
        (alert,) = alerts()
        assert (alert["rule"], alert["key"]) == ("slow", first.url)
        with urllib.request.urlopen(f"{taker.gateway}/metrics") as answer:
            assert 'mirrornode_alerts{rule="slow"} 1.0' in answer.read().decode()
        repair(first)
        until_sync(lambda: "on trial" in alerts()[0]["text"])
        assert get(5) > 0
        assert len(alerts()) == 1  # one is not enough
        assert get(6) > 0
        until_sync(lambda: len(hook.posts) == 2)
        assert alerts() == []
        tested = taker.run("alerts", "test", "--json")
        assert (tested.code, tested.record["answer"]) == (0, "answered 200")
        assert hook.bodies[2]["event"] == "test"
    told = [(body["event"], body["rule"], body["key"]) for body in hook.bodies[:2]]
    assert told == [("fired", "slow", first.url), ("recovered", "slow", first.url)]
    assert hook.bodies[0]["peer_id"] == taker.ready["peer_id"]
    assert [one["outcome"] for one in client.history()] == ["ok"] * 7
    log = taker.log.read_text()
    assert "alert fired rule=slow" in log
    assert "verysecret" not in log + taker.run("status", "--json").stdout

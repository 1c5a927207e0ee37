"""The history with real processes: what a user, a scrape and a crash leave of downloads."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families as parse

from support.nodes import Nodes, RunningNode, run, start
from support.paced_server import paced_server

MIB = 1 << 20
MakeFile = Callable[[str, int], Path]


def history(node: RunningNode, *options: str) -> list[dict[str, Any]]:
    done = node.run("history", "--json", *options)
    assert done.code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def scrape(node: RunningNode) -> dict[tuple[str, ...], float]:
    """Return the samples of a node's metrics by name and values of labels."""
    with urllib.request.urlopen(f"{node.gateway}/metrics") as answer:
        text = answer.read().decode()
    return {
        (sample.name, *sample.labels.values()): float(sample.value)
        for family in parse(text)
        for sample in family.samples
    }


def add(node: RunningNode, path: Path) -> str:
    done = node.run("add", path, "--json")
    assert done.code == 0, done.stderr
    return str(done.record["cid"])


def test_downloads_of_a_daemon_are_in_its_history_status_and_metrics(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    seed, taker = nodes.serve("seed"), nodes.serve("taker")
    size = 9 * MIB + 7
    cid = add(seed, make_file("model.bin", size))
    got = taker.run("get", cid, "-o", tmp_path / "out.bin", "--json", "--peer", seed.address)
    assert got.code == 0, got.stderr
    nothing = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    missed = taker.run("get", nothing, "-o", tmp_path / "no.bin", "--json", "--timeout", "0.5")
    assert missed.code == 10
    failed, done = history(taker)
    assert (done["target"], done["outcome"], done["size_bytes"]) == (cid, "ok", size)
    (source,) = done["sources"]
    assert source["source_id"] == f"peer:{seed.ready['peer_id']}"
    assert source["received_bytes"] == got.record["bytes_by_source"][source["source_id"]]
    assert (failed["outcome"], failed["error"]) == ("failed", "NoProviders")
    assert [record["id"] for record in history(taker, "--failed", "--since", "1h")] == [
        failed["id"]
    ]
    day = taker.run("status", "--json").record["last_day"]
    assert day["outcomes"] == {"ok": 1, "failed": 1}
    assert day["received_bytes"] == source["received_bytes"]
    numbers = scrape(taker)
    assert numbers["mirrornode_downloads_total", "get", "ok"] == 1
    assert numbers["mirrornode_received_bytes_total", "peer"] == source["received_bytes"]
    assert numbers["mirrornode_success_ratio", "hour"] == 0.5
    assert scrape(seed)["mirrornode_served_bytes_total", "peer_plane"] >= size


def test_download_when_its_daemon_is_killed_then_the_history_says_so(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    model = make_file("model.bin", 40 * MIB)
    added = run(nodes.home("taker"), "add", model, "--json")
    away = model.with_suffix(".away")
    model.rename(away)
    cid = str(added.record["cid"])
    with paced_server(away, 8e6) as server:
        taker = nodes.serve("taker")
        target = ("get", cid, "-o", tmp_path / "out.bin", "--mirror", server.url, "--no-mdns")
        command = start(nodes.home("taker"), *target)
        assert server.wait_sent(4 * MIB, 60)
        (running,) = history(taker)
        assert running["outcome"] == "running"
        (live,) = taker.run("status", "--json").record["transfers"]
        assert live["target"] == cid
        command.kill()  # first, so that it does not go on by itself
        taker.kill()
        command.communicate()
    # Without a daemon, and with the next one.
    done = run(nodes.home("taker"), "history", "--json")
    assert done.code == 0, done.stderr
    assert done.record["outcome"] in ("failed", "cancelled")
    again = nodes.serve("taker")
    (found,) = history(again)
    assert found["id"] == running["id"]
    assert found["error"] == ("NodeKilled" if found["outcome"] == "failed" else "")
    with sqlite3.connect(nodes.home("taker") / "catalog.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []

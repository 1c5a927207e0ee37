"""Names that move, between real nodes: published here, fetched there, moved, restarted."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mirrornode import Client
from mirrornode.errors import TargetError
from support.nodes import Nodes, RunningNode, run
from support.waiting import until_sync

MakeFile = Callable[[str, int], Path]
MIB = 1 << 20


def _publish(node: RunningNode, path: Path) -> dict[str, Any]:
    client = Client(node.home)
    return client.publish(client.add([path])[0].cid, key="models")


def _knows_peers(node: RunningNode, count: int) -> bool:
    return bool(Client(node.home).status()["dht_peers"] >= count)


def test_name_when_it_moves_then_a_second_get_fetches_only_what_changed(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    boot = nodes.serve("boot")
    one = nodes.serve("one", bootstrap=[boot.address])
    two = nodes.serve("two", bootstrap=[boot.address])
    make_file("model/weights.bin", 8 * MIB)
    make_file("model/config.json", 3000)
    until_sync(lambda: _knows_peers(one, 2) and _knows_peers(two, 2))
    first = _publish(one, tmp_path / "model")
    assert first["new_key"] is True
    assert (first["sequence"], first["kept_by"]) == (0, 2)
    name = str(first["name"])

    got = Client(two.home).get(f"ipns://{name}", tmp_path / "out")
    assert f"/ipfs/{got.cid}" == first["path"]
    assert (tmp_path / "out/config.json").stat().st_size == 3000

    make_file("model/config.json", 3100)
    second = _publish(one, tmp_path / "model")
    assert (second["sequence"], second["new_key"], second["name"]) == (1, False, name)
    got = Client(two.home).get(f"/ipns/{name}", tmp_path / "out")
    assert f"/ipfs/{got.cid}" == second["path"]
    assert got.resumed_bytes == 8 * MIB
    assert sum(got.bytes_by_source.values()) < MIB
    assert (tmp_path / "out/config.json").read_bytes() == (
        tmp_path / "model/config.json"
    ).read_bytes()

    # The node that knows it is gone: the others still do. And the output is called by the name.
    one.kill()
    home = nodes.home("third")
    third = run(
        home, "get", f"ipns://{name}/config.json", "--json", "--no-mdns", "--timeout", "40",
        "--bootstrap", boot.address, cwd=tmp_path,
    )  # fmt: skip
    assert third.code == 0, third.stderr
    assert Path(third.record["path"]) == tmp_path / "config.json"
    with urllib.request.urlopen(f"{two.gateway}/routing/v1/ipns/{name}", timeout=30) as answer:
        assert answer.headers["Content-Type"] == "application/vnd.ipfs.ipns-record"
        assert len(answer.read()) > 200


def test_publisher_when_killed_then_it_goes_on_where_it_was(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    boot = nodes.serve("boot")
    one = nodes.serve("one", bootstrap=[boot.address])
    until_sync(lambda: _knows_peers(one, 1))
    _publish(one, make_file("a.bin", 2000))
    moved = _publish(one, make_file("b.bin", 2000))
    one.kill()
    listed = run(one.home, "publish", "--list", "--json")
    assert listed.record["sequence"] == 1
    before = listed.record["published_at"]
    boot.stop()
    boot = nodes.serve("boot")  # it has forgotten everything
    again = nodes.serve("one", bootstrap=[boot.address])
    until_sync(lambda: _names_of(again)[0]["published_at"] != before)
    assert _names_of(again)[0]["kept_by"] == 1
    done = run(
        nodes.home("taker"), "get", f"ipns://{moved['name']}", "-o", tmp_path / "out.bin",
        "--json", "--no-mdns", "--bootstrap", boot.address, "--timeout", "40",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert (tmp_path / "out.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()
    client = Client(again.home)
    assert client.get("ipns://models", tmp_path / "own.bin").cid == done.record["cid"]
    client.unpublish("models")
    assert _names_of(again) == []
    with pytest.raises(TargetError):
        client.unpublish("models")


def _names_of(node: RunningNode) -> list[dict[str, Any]]:
    names: list[dict[str, Any]] = Client(node.home).status()["names"]
    return names


def test_get_when_nobody_knows_the_name_then_not_found(nodes: Nodes, tmp_path: Path) -> None:
    name = "k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w"
    done = run(nodes.home("lone"), "get", f"ipns://{name}", "--json", "--no-mdns", cwd=tmp_path)
    assert done.code == 10
    assert "nobody reachable has a record" in done.stderr

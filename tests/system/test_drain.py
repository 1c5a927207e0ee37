"""SIGTERM with real processes: what is under way is finished, nothing new is begun."""

from __future__ import annotations

import filecmp
import http.client
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.nodes import Nodes, RunningNode, start
from support.waiting import until_sync

MIB = 1 << 20
BIG_BYTES = 48 * MIB + 5  # more than the sockets between two processes hold
MakeFile = Callable[[str, int], Path]


def _status(node: RunningNode, path: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(node.gateway).netloc, timeout=20)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def _begin(node: RunningNode, path: Path) -> tuple[http.client.HTTPResponse, bytes]:
    """Add a file, ask for it and read only its beginning: the answer stays under way."""
    added = node.run("add", path, "--json")
    assert added.code == 0, added.stderr
    connection = http.client.HTTPConnection(urlsplit(node.gateway).netloc, timeout=60)
    connection.request("GET", f"/ipfs/{added.record['cid']}")
    response = connection.getresponse()
    assert response.status == 200
    return response, response.read(1000)


def test_serve_when_sigterm_then_a_slow_reader_is_finished_and_new_ones_are_turned_away(
    nodes: Nodes, make_file: MakeFile
) -> None:
    node = _serve(nodes, "60")
    path = make_file("model.bin", BIG_BYTES)
    assert _status(node, "/readyz") == 200
    response, head = _begin(node, path)
    node.process.send_signal(signal.SIGTERM)
    until_sync(lambda: _status(node, "/readyz") == 503)
    assert _status(node, "/healthz") == 200
    assert _status(node, "/ipfs/bafkqaaa") == 503
    refused = node.run("add", path, "--json")
    assert (refused.code, refused.record["error"]["kind"]) == (11, "NodeEnding")
    assert head + response.read() == path.read_bytes()
    assert node.process.wait(timeout=30) == 0
    assert "waiting up to 60 s for 1 answer over HTTP" in node.log.read_text()


def test_serve_when_a_second_sigterm_then_it_ends_at_once_in_order(
    nodes: Nodes, make_file: MakeFile
) -> None:
    node = _serve(nodes, "600")
    response, _ = _begin(node, make_file("model.bin", BIG_BYTES))
    node.process.send_signal(signal.SIGTERM)
    until_sync(lambda: _status(node, "/readyz") == 503)
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(timeout=60) == 0
    assert "broken off: 1 answer over HTTP" in node.log.read_text()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()


def test_serve_when_sigterm_then_a_peer_gets_the_rest_of_its_file(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    seed = _serve(nodes, "60", "--upload-limit", "4MB")
    path = make_file("model.bin", 8 * MIB)
    cid = str(seed.run("add", path, "--json").record["cid"])
    arguments = ["get", cid, "-o", str(tmp_path / "out.bin"), "--json", "--no-mdns"]
    taker = start(nodes.home("taker"), *arguments, "--peer", seed.address)
    until_sync(lambda: seed.run("status", "--json").record["served_bytes"] > MIB)
    seed.process.send_signal(signal.SIGTERM)
    out, err = taker.communicate(timeout=60)
    assert taker.returncode == 0, err
    assert out
    assert filecmp.cmp(path, tmp_path / "out.bin", shallow=False)
    assert seed.process.wait(timeout=30) == 0
    assert "for 1 upload" in seed.log.read_text()


def _serve(nodes: Nodes, drain_s: str, *options: str) -> RunningNode:
    """Start a node that drains for so long."""
    home = nodes.home("node")
    home.mkdir()
    (home / "config.toml").write_text(f"[service]\ndrain_s = {drain_s}\n")
    return nodes.serve("node", *options)

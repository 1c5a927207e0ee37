"""`mirrornode doctor` as a program: with and without a node, in broken surroundings."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from support.http_files import file_server
from support.nodes import Finished, Nodes, run


def _levels(done: Finished) -> dict[str, str]:
    order = ("ok", "warning", "problem")
    found: dict[str, str] = {}
    for finding in done.record["findings"]:
        level = max(found.get(finding["check"], "ok"), finding["level"], key=order.index)
        found[finding["check"]] = level
    return found


def _settings(home: Path, origin: str, gateway: str) -> None:
    home.mkdir()
    (home / "config.toml").write_text(
        f'[[origin]]\nurl = "{origin}"\n[gateway]\naddress = "{gateway}"\n[swarm]\nmdns = false\n'
    )


def test_doctor_with_and_without_a_node(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    home = nodes.home("node")
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with file_server({"": b"hello"}) as origin:
        _settings(home, origin.url, "127.0.0.1:0")
        before = run(home, "doctor", "--json")
        node = nodes.serve("node")
        monkeypatch.setenv("HF_ENDPOINT", node.gateway)
        after = node.run("doctor", "--json")
    assert "Traceback" not in before.stderr + after.stderr
    assert before.code in (0, 1)  # port 4101 and the others may be taken on this machine
    without, with_node = _levels(before), _levels(after)
    assert (without["node"], with_node["node"]) == ("warning", "ok")
    assert [with_node[name] for name in ("HF_ENDPOINT", "origin", "ca")] == ["ok"] * 3
    text = next(f["text"] for f in after.record["findings"] if f["check"] == "HF_ENDPOINT")
    assert "this node" in text


def test_doctor_when_much_is_broken_then_all_of_it_is_told_and_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _settings(home, f"https://127.0.0.1:{port}", f"127.0.0.1:{port}")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        done = run(home, "doctor", "--json")
        for_people = run(home, "doctor")
    assert (done.code, for_people.code) == (1, 1)
    assert "Traceback" not in done.stderr + for_people.stderr
    levels = _levels(done)
    problems = {f"port {port}", "ca", "origin", "HF_ENDPOINT"}
    assert {name for name in problems if levels[name] == "problem"} == problems
    steps: list[dict[str, Any]] = done.record["findings"]
    assert all(f["next_step"] for f in steps if f["level"] == "problem")
    assert not (home / "catalog.sqlite").exists()

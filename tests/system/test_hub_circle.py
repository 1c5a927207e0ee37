"""Nodes that are their own or each other's origin, with real processes."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

from support.hub_origin import running_hub
from support.nodes import Nodes, run

CONFIG = b'{"a": 1}'
FILE = "/org/name/resolve/main/config.json"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(nodes: Nodes, name: str, port: int, *origins: str) -> None:
    home = nodes.home(name)
    home.mkdir()
    (home / "config.toml").write_text("".join(f'[[origin]]\nurl = "{url}"\n' for url in origins))
    nodes.serve(name, "--gateway", f"127.0.0.1:{port}")


def get(port: int) -> tuple[int, bytes, str]:
    """Return status, body and error message of the file at a node."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{FILE}", timeout=30) as answer:
            return answer.status, answer.read(), ""
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, b"", exc.headers["X-Error-Message"]


def test_serve_when_an_origin_is_its_own_gateway_then_refused(nodes: Nodes) -> None:
    home, port = nodes.home("one"), free_port()
    home.mkdir()
    (home / "config.toml").write_text(f'[[origin]]\nurl = "http://localhost:{port}/"\n')
    ended = run(home, "serve", "--no-mdns", "--gateway", f"127.0.0.1:{port}")
    assert ended.code == 2
    assert "is this node itself" in ended.stderr


def test_nodes_when_each_is_the_others_origin_then_told_and_the_next_origin_is_asked(
    nodes: Nodes,
) -> None:
    one, two = free_port(), free_port()
    with running_hub() as hub:
        hub.add_model("org/name", {"config.json": CONFIG})
        start(nodes, "one", one, f"http://127.0.0.1:{two}")
        start(nodes, "two", two, f"http://127.0.0.1:{one}", hub.url)
        assert get(one) == (200, CONFIG, "")
        assert len(hub.requests("/resolve/", method="GET")) == 1


def test_nodes_when_they_have_no_other_origin_then_a_clear_error(nodes: Nodes) -> None:
    one, two = free_port(), free_port()
    start(nodes, "one", one, f"http://127.0.0.1:{two}")
    start(nodes, "two", two, f"http://127.0.0.1:{one}")
    status, _, message = get(two)
    assert status == 504
    # The other one was told, and that comes through to who asked.
    assert f"127.0.0.1:{one} cannot be asked (no origin answers" in message
    assert "leads back to this node" in message

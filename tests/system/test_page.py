"""The page of real nodes in real processes: a live download, and what their owner does there."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from support.nodes import Nodes, RunningNode, start
from support.paced_server import paced_server

MIB = 1 << 20
MakeFile = Callable[[str, int], Path]


class Feed:
    """The live feed of a node, read line by line; `sections` holds what it told last."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self._answer = answer
        self.sections: dict[str, Any] = {}

    def until(self, condition: Callable[[Mapping[str, Any]], bool]) -> None:
        """Read on until what was told fulfils a condition; the test's own timeout bounds it."""
        while not condition(self.sections):
            line = self._answer.readline()
            assert line, "the feed ended"
            if line.startswith(b'data: {"') and b'"may_change"' not in line:
                self.sections.update(json.loads(line.removeprefix(b"data: ")))


@contextmanager
def feed_of(node: RunningNode, token: str = "") -> Iterator[Feed]:
    """Open the feed for the length of the block."""
    parts = urlsplit(node.gateway)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with closing(http.client.HTTPConnection(parts.netloc)) as connection:
        connection.request("GET", "/ui/events", headers=headers)
        yield Feed(connection.getresponse())


def call(node: RunningNode, what: str, token: str, **fields: Any) -> int:
    """Call something of the page and return the status of the answer."""
    request = urllib.request.Request(
        f"{node.gateway}/ui/{what}",
        json.dumps(fields).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        return exc.code


def test_page_shows_a_download_and_its_owner_stops_it(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    seed, taker = nodes.serve("seed"), nodes.serve("taker")
    size = 40 * MIB
    model = make_file("model.bin", size)
    added = seed.run("add", model, "--json")
    assert added.code == 0, added.stderr
    cid = str(added.record["cid"])
    token = (taker.home / "gateway.token").read_text().strip()
    with feed_of(taker, token) as feed, paced_server(model, 2 * MIB) as server:
        feed.until(lambda told: told.get("transfers", {}).get("rows") == [])
        command = start(
            taker.home, "get", cid, "-o", tmp_path / "out.bin", "--json",
            "--mirror", server.url, "--peer", seed.address, "--download-limit", "4MB",
        )  # fmt: skip
        feed.until(
            lambda told: any(
                one["id"] and any(source["received_bytes"] for source in one["sources"])
                for one in told["transfers"]["rows"]
            )
        )
        (row,) = feed.sections["transfers"]["rows"]
        assert row["target"] == cid
        assert call(taker, "cancel", "x" * 40, id=row["id"]) == 403
        assert call(taker, "cancel", token, id=row["id"]) == 200
        _, errors = command.communicate(timeout=60)
        assert command.returncode == 130, errors
        feed.until(lambda told: told["transfers"]["rows"] == [])
        feed.until(
            lambda told: any(
                one["outcome"] == "cancelled" for one in told.get("downloads", {}).get("rows", ())
            )
        )
        links = {link["id"]: link for link in feed.sections["links"]["rows"]}
        assert links[f"peer:{seed.ready['peer_id']}"]["is_connected"]
        feed.until(lambda told: any(link["rtt_s"] for link in told["links"]["rows"]))


def test_owner_pins_on_the_page_and_the_giver_sees_whom_it_fed(
    nodes: Nodes, make_file: MakeFile
) -> None:
    seed = nodes.serve("seed")
    taker = nodes.serve("taker", bootstrap=[seed.address])
    size = 3 * MIB
    cid = str(seed.run("add", make_file("model.bin", size), "--json").record["cid"])
    token = (taker.home / "gateway.token").read_text().strip()
    with feed_of(seed) as giving, feed_of(taker) as taking:
        assert call(taker, "pin", token, target=cid, name="kept") == 200
        taking.until(
            lambda told: any(
                one["target"] == cid and one["state"] == "ok" and one["pins"]
                for one in told.get("shared", {}).get("rows", ())
            )
        )
        (row,) = taking.sections["shared"]["rows"]
        assert row["pins"] == [{"target": cid, "name": "kept"}]
        assert row["holders"] == [{"peer_id": seed.ready["peer_id"], "state": "gave"}]
        fed = f"peer:{taker.ready['peer_id']}"
        giving.until(
            lambda told: any(
                link["id"] == fed and link["out_bytes"] >= size
                for link in told.get("links", {}).get("rows", ())
            )
        )
    assert call(taker, "unpin", token, target=cid) == 200
    assert taker.run("pin", "--list", "--json").stdout == ""


def test_open_page_does_not_keep_a_node_from_ending(nodes: Nodes) -> None:
    node = nodes.serve("node")
    with feed_of(node) as feed:
        feed.until(lambda told: "node" in told)
        assert node.stop() == 0

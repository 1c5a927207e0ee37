"""`[log] requests = false` over a day of use: nobody who has the home, the log or the metrics
learns who asked this node, or for what.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mirrornode.content.cid import Cid
from mirrornode.wire.peer_id import peer_id_to_bytes
from support.http_files import file_server
from support.hub_origin import ALICE, BOB, Blob, StandInHub, running_hub
from support.nodes import Nodes, RunningNode, nodes_in
from support.waiting import until_sync

MIB = 1 << 20
CLIENT = "127.77.2.3"  # the address of the programs that ask the gateway
PEER = "127.66.1.9"  # where the other node listens
NAME = "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8"
FAR = "k51qzi5uqu5djdczd6zw0grmo23j2vkj9uzvujencg15s5rlkq0ss4ivll8wqw"

# Everything that a client asked for, as it would be found written.
ASKED = (
    "acme", "orchid", "zebra", "heron", "otter", "nowhere", "wrong-turn", "lost-branch",
    "%2Fescaped", "magpie", NAME, FAR, ALICE, BOB,
)  # fmt: skip


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with running_hub() as hub:
        hub.mode = "redirect"
        hub.add_model("acme/orchid", {"zebra.bin": Blob(3 * MIB, 1), "c.json": b"{}"})
        hub.add_model("acme/heron", {"otter.bin": Blob(MIB, 2)}, gated="manual")
        yield hub


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with nodes_in(tmp_path) as nodes:
        yield nodes


def ask(
    node: RunningNode, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> tuple[int, bytes]:
    """Ask the gateway from an address of our own; 0 when it broke off."""
    parts = urlsplit(node.gateway)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(
        parts.hostname, parts.port, timeout=60, source_address=(CLIENT, 0)
    )
    try:
        connection.request(method, path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (http.client.HTTPException, ConnectionError):
        return 0, b""
    finally:
        connection.close()


def private_node(nodes: Nodes, hub: StandInHub) -> RunningNode:
    """Start a node that keeps no requests and whose every logger says all it can."""
    home = nodes.home("private")
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(
        f'[log]\nrequests = false\n[[origin]]\nurl = "{hub.url}"\n', encoding="utf-8"
    )
    loud = ("MIRRORNODE_DEBUG=1", "LIBP2P_DEBUG=DEBUG", f"LIBP2P_DEBUG_FILE={home}/libp2p.log")
    return nodes.serve("private", prefix=("env", *loud))


def found_in(folder: Path, words: Mapping[str, bytes]) -> list[str]:
    """Return which words lie in which files."""
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name == "config.toml":
            continue
        name, content = os.fsencode(path.relative_to(folder)), path.read_bytes()
        found += [
            f"{word} in {path.name}"
            for word, written in words.items()
            if written in content or written in name
        ]
    return found


def test_home_when_clients_asked_all_day_then_nothing_tells_who_or_what(
    nodes: Nodes, hub: StandInHub, tmp_path: Path
) -> None:
    own = tmp_path / "own.bin"
    own.write_bytes(b"own" * 700_000)
    absent = Cid(1, 0x55, b"\x12\x20" + hashlib.sha256(b"absent").digest())
    node = private_node(nodes, hub)
    cid = node.run("add", own, "--json").record["cid"]

    # Peers: one fetches from us, and we from it.
    other = nodes.serve("other", listen=f"/ip4/{PEER}/tcp/0", bootstrap=[node.address])
    got = other.run("get", cid, "-o", tmp_path / "got.bin", "--json")
    assert got.code == 0, got.stderr
    theirs = tmp_path / "theirs.bin"
    theirs.write_bytes(b"theirs" * 300_000)
    their_cid = other.run("add", theirs, "--json").record["cid"]
    mine = node.run("get", their_cid, "-o", tmp_path / "mine.bin", "--json")
    assert mine.code == 0, mine.stderr

    # Programs at the gateway: what is here, what is not, what is nowhere, and nonsense.
    assert ask(node, f"/ipfs/{cid}")[0] == 200
    assert ask(node, f"/ipfs/{cid}", {"Range": "bytes=5-9"})[1] == b"nowno"
    assert ask(node, f"/ipfs/{absent}")[0] == 404
    assert ask(node, f"/ipfs/{cid}/wrong-turn")[0] == 404
    assert ask(node, "/wrong-turn/a/b/c")[0] == 404
    assert ask(node, f"/routing/v1/providers/{absent}")[0] == 200
    ask(node, f"/routing/v1/ipns/{NAME}", {"Accept": "application/vnd.ipfs.ipns-record"})
    assert ask(node, "/magpie%2Fescaped", method="POST")[0] == 405
    # The Hub: had, shown, refused, failed.
    assert ask(node, "/api/models/acme/orchid/revision/main")[0] == 200
    assert ask(node, "/acme/orchid/resolve/main/zebra.bin")[0] == 200
    assert ask(node, "/acme/orchid/resolve/main/magpie.bin")[0] == 404
    assert ask(node, "/acme/orchid/resolve/lost-branch/zebra.bin")[0] == 404
    assert ask(node, "/acme/nowhere/resolve/main/zebra.bin")[0] in (401, 404)
    assert ask(node, "/api/models/acme/orchid/refs")[0] == 200
    for token, status in ((ALICE, 200), (BOB, 403)):
        bearer = {"Authorization": f"Bearer {token}"}
        assert ask(node, "/acme/heron/resolve/main/otter.bin", bearer)[0] == status
    hub.garble(match="nowhere")
    ask(node, "/api/models/acme/nowhere")
    hub.heal()
    hub.cut(after_bytes=1000, match="c.json", times=1)
    ask(node, "/acme/orchid/resolve/main/c.json")

    log_of_use = node.log.read_bytes()
    metrics = ask(node, "/metrics")[1]
    assert b"mirrornode_content_requests_total" in metrics
    words = {word: word.encode() for word in ASKED}
    peer_id = other.ready["peer_id"]
    words |= {
        "client": CLIENT.encode(),
        "peer": PEER.encode(),
        "peer id": peer_id.encode(),
        "peer id, binary": peer_id_to_bytes(peer_id),
        "absent": str(absent).encode(),
        "absent, binary": absent.multihash,
    }
    assert found_in(node.home, words) == []
    assert [word for word, written in words.items() if written in metrics] == []
    # What we share is in the catalog, but nobody learns that it was asked for.
    shared = {word: word.encode() for word in (cid, their_cid, "own.bin")}
    assert [word for word, written in shared.items() if written in log_of_use + metrics] == []
    told = node.run("history", "--json").stdout + node.run("status", "--json").stdout
    assert [word for word, written in words.items() if written in told.encode()] == []
    assert log_of_use.count(b"(not kept)") > 20  # there was something to say
    assert (node.home / "libp2p.log").stat().st_size > 1000

    assert node.stop() == 0
    assert found_in(node.home, words) == []

    # After a restart names are asked for again, bytes are not.
    again = private_node(nodes, hub)
    sent_before = hub.file_bytes_sent("zebra.bin")
    status, body = ask(again, "/acme/orchid/resolve/main/zebra.bin")
    assert (status, len(body)) == (200, 3 * MIB)
    assert hub.file_bytes_sent("zebra.bin") == sent_before
    assert again.stop() == 0
    assert found_in(again.home, words) == []


def test_home_when_its_owner_asked_by_hand_then_nothing_is_left_but_what_is_kept(
    nodes: Nodes, hub: StandInHub, tmp_path: Path
) -> None:
    node = private_node(nodes, hub)
    with file_server({}) as server:
        mirror = f"{server.url}/magpie/"
        assert node.run("mirrors", mirror).code == 0
        absent = Cid(1, 0x55, b"\x12\x20" + hashlib.sha256(b"absent").digest())
        tried = node.run("get", str(absent), "-o", tmp_path / "none", "--mirror", mirror,
                         "--timeout", "0.5")  # fmt: skip
        assert tried.code == 10, tried.stderr
    for arguments in (("sync", "hf:acme/orchid"), ("unpin", "hf:acme/orchid")):
        done = node.run(*arguments)
        assert done.code == 0, done.stderr
    assert node.run("sync", "hf:acme/nowhere").code != 0
    assert len(node.run("sync", "--list", "--json").stdout.splitlines()) == 2  # until it ends
    metrics = ask(node, "/metrics")[1]
    words = {word: word.encode() for word in ASKED}
    words |= {"absent": str(absent).encode(), "absent, binary": absent.multihash,
              "mirror": server.url.encode()}  # fmt: skip
    log = node.log.read_bytes()
    assert [word for word, written in words.items() if written in metrics + log] == []
    assert node.stop() == 0
    assert found_in(node.home, words) == []


def test_home_when_requests_are_kept_no_longer_then_the_old_ones_are_gone(
    nodes: Nodes, hub: StandInHub
) -> None:
    home = nodes.home("private")
    home.mkdir()
    (home / "config.toml").write_text(f'[[origin]]\nurl = "{hub.url}"\n', encoding="utf-8")
    before = nodes.serve("private")
    assert ask(before, "/acme/orchid/resolve/main/zebra.bin")[0] == 200
    until_sync(lambda: len(json.loads(before.run("history", "--json").stdout or "[]")) > 0)
    assert before.stop() == 0
    words = {word: word.encode() for word in ASKED}
    assert found_in(home, words)  # so the search finds what is there
    (home / "test.log").unlink()
    after = private_node(nodes, hub)
    assert found_in(home, words) == []
    assert after.stop() == 0

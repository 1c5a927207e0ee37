"""The chain of `sync`: origin, sync server, intranet mirror, developer, each a host of its own.

The origin is on the sync server's loopback, so nobody else has a route to it.
"""

from __future__ import annotations

import json
import random
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mirrornode.client import Client
from mirrornode.config import load_config
from support.forked import Process
from support.hub_origin import Blob, StandInHub, running_hub
from support.hub_parts import contents_of
from support.namespaces import Host, inside, received_bytes, three_hosts
from support.nodes import Nodes, RunningNode, start
from support.waiting import until_sync

MIB = 1 << 20
REPO = "org/name"
TARGET = "hf:org/name"
KEPT, CHANGED = "kept.safetensors", "changed.safetensors"
PORT, PLANE, GATEWAY = 4101, 4102, 8090
HELD_AFTER = 2 * MIB
SIZE = 6 * MIB
ENOUGH = 3 * MIB  # received, so that some leaves are whole
NAMES = ("server", "mirror", "developer")
SLOW = ("--upload-limit", "3MB")  # so that there is a middle of what others fetch


@dataclass
class Chain:
    """The three nodes; each can be started again as it was."""

    nodes: Nodes
    hub: StandInHub
    hosts: tuple[Host, Host, Host]
    out: Path
    running: dict[str, RunningNode]

    def start(self, name: str, *options: str) -> RunningNode:
        host = self.hosts[NAMES.index(name)]
        self.running[name] = self.nodes.serve(
            name, "--gateway", f"0.0.0.0:{GATEWAY}", *options, prefix=host.prefix,
            listen=f"/ip4/0.0.0.0/tcp/{PORT}", peer_plane=f"0.0.0.0:{PLANE}",
        )  # fmt: skip
        return self.running[name]

    def configure(self, name: str, text: str) -> None:
        home = self.nodes.home(name)
        home.mkdir()
        (home / "config.toml").write_text(text)

    def sync(self, name: str, *arguments: str) -> dict[str, Any]:
        """Run all that a node's settings say, and return the report."""
        done = self.running[name].run("sync", "--json", *arguments)
        assert done.code == 0, done.stdout + done.stderr
        return done.record

    def kill_in_run(self, victim: str, *, of: str) -> None:
        """Kill a node in the middle of what a run of one of them fetches, and end that."""
        run = self.killed_in_run(victim, of=of)
        run.kill()  # nobody waits for its sources to come back, nor goes on without a daemon
        run.communicate(timeout=60)

    def killed_in_run(self, victim: str, *, of: str) -> Process:
        """Kill a node in the middle of what a run of one of them fetches, and return the run."""
        node = self.running[of]
        host = self.hosts[NAMES.index(of)]
        before = received_bytes(host)
        run = start(node.home, "sync", "--json", prefix=node.prefix)
        until_sync(lambda: received_bytes(host) - before >= ENOUGH or run.poll() is not None)
        assert self.state(of)["outcome"] == "running"
        self.running[victim].kill()
        return run

    def state(self, name: str) -> dict[str, Any]:
        return Client(config=load_config(self.running[name].home, {})).syncs()[0]

    def is_right(self) -> bool:
        """Tell whether the developer's folder is what the origin has now."""
        expected = contents_of(self.hub.repos["model", REPO])
        found = {
            str(path.relative_to(self.out)): path.read_bytes()
            for path in self.out.rglob("*")
            if path.is_file()
        }
        return found == expected


def with_one_leaf_changed(size_bytes: int, leaf: int, mark: int) -> bytes:
    """Return the bytes of `Blob(size_bytes, 2)` with another leaf."""
    with tempfile.TemporaryDirectory() as folder:
        Blob(size_bytes, 2).write(Path(folder) / "blob")
        content = bytearray((Path(folder) / "blob").read_bytes())
    content[leaf * MIB : (leaf + 1) * MIB] = random.Random(mark).randbytes(MIB)
    return bytes(content)


@pytest.fixture
def chain(nodes: Nodes, tmp_path: Path) -> Iterator[Chain]:
    with three_hosts() as hosts, running_hub(folder=tmp_path) as hub:
        hub.stop()
        inside(hosts[0], hub.start)
        hub.add_model(
            REPO,
            {
                "config.json": b"{}",
                "old.txt": b"goes",
                KEPT: Blob(6 * MIB, 1),
                CHANGED: Blob(8 * MIB, 2),
            },
            licence="mit",
        )
        made = Chain(nodes, hub, hosts, tmp_path / "out", {})
        made.configure(
            "server",
            f'[[origin]]\nurl = "{hub.url}"\n'
            f'[[sync]]\ntarget = "{TARGET}@main"\nevery = "1h"\n[hub]\nref_ttl_s = 3600\n',
        )
        server = made.start("server")
        to_server = next(a for a in server.ready["listen"] if hosts[0].address in a)
        made.configure(
            "mirror",
            f'origin = []\n[[sync]]\ntarget = "pins:{to_server}"\nevery = "1h"\ndelete = true\n',
        )
        until_sync(lambda: made.state("server")["outcome"] == "ok")
        made.start("mirror")
        made.configure(
            "developer",
            f'origin = []\n[[sync]]\ntarget = "{TARGET}@main"\nevery = "1h"\ndelete = true\n'
            f'from_node = "http://10.213.9.2:{GATEWAY}"\nout = "{made.out}"\n',
        )
        until_sync(lambda: made.state("mirror")["outcome"] == "ok")
        made.start("developer")
        until_sync(lambda: made.state("developer")["outcome"] == "ok")
        yield made


def test_chain_when_the_origin_has_a_new_commit_then_only_what_changed_crosses_each_hop(
    chain: Chain,
) -> None:
    assert chain.is_right()
    assert chain.hub.file_bytes_sent(KEPT) == 6 * MIB
    repo = chain.hub.repos["model", REPO]
    repo.commit(
        {CHANGED: with_one_leaf_changed(8 * MIB, 3, 7), "old.txt": None, "new/new.txt": b"came"}
    )
    seen = {host.name: received_bytes(host) for host in chain.hosts[1:]}
    sent = chain.hub.file_bytes_sent(CHANGED)
    told = chain.sync("server", "--dry-run")
    assert (told["added"], told["changed"], told["removed"]) == (
        ["new/new.txt"], [CHANGED], ["old.txt"],
    )  # fmt: skip
    assert (told["fetched_bytes"], told["missing_bytes"]) == (0, 8 * MIB + 4)
    assert chain.hub.file_bytes_sent(CHANGED) == sent
    at_server = chain.sync("server", "--delete")
    assert at_server["root"] == f"{TARGET}@{repo.sha}"
    assert at_server["fetched_bytes"] == 8 * MIB + 4
    assert chain.hub.file_bytes_sent(KEPT) == 6 * MIB  # not once more
    at_mirror = chain.sync("mirror")
    assert MIB <= at_mirror["fetched_bytes"] < 1.5 * MIB, at_mirror
    assert len(at_mirror["unpinned"]) == 1
    at_developer = chain.sync("developer")
    assert MIB <= at_developer["fetched_bytes"] < 1.5 * MIB, at_developer
    assert at_developer["deleted"] == ["old.txt"]
    assert chain.is_right()
    for host in chain.hosts[1:]:
        assert MIB <= received_bytes(host) - seen[host.name] < 2 * MIB
    # A client of the Hub on the developer's host asks the mirror and is told of the new commit.
    url = f"http://10.213.9.2:{GATEWAY}/api/models/{REPO}/revision/main"
    asked = inside(chain.hosts[2], lambda: json.load(urllib.request.urlopen(url, timeout=30)))
    assert asked["sha"] == repo.sha
    rows = chain.running["mirror"].run("history", "--json").stdout.splitlines()
    runs = [row for row in map(json.loads, rows) if row["kind"] == "sync"]
    assert [(row["outcome"], row["target"][:5]) for row in runs] == [("ok", "pins:")] * 2
    assert runs[0]["received_bytes"] == at_mirror["fetched_bytes"]


def test_chain_when_a_node_is_killed_in_any_run_then_it_goes_on_and_arrives(chain: Chain) -> None:
    repo = chain.hub.repos["model", REPO]
    # The sync server, while the origin sends.
    repo.commit({CHANGED: Blob(SIZE, 3)})
    sent = chain.hub.file_bytes_sent(CHANGED)
    held = chain.hub.hold(after_bytes=HELD_AFTER, match=CHANGED)
    server = chain.running["server"]
    run = start(server.home, "sync", "--json", prefix=server.prefix)
    until_sync(lambda: chain.hub.file_bytes_sent(CHANGED) - sent >= HELD_AFTER)
    assert chain.state("server")["outcome"] == "running"
    server.kill()
    held.set()
    run.communicate(timeout=60)
    chain.start("server", *SLOW)
    # What was killed is due at once: nobody has to ask for it.
    until_sync(lambda: str(chain.state("server")["root"]).endswith(repo.sha))
    # The mirror, while it fetches.
    chain.kill_in_run("mirror", of="mirror")
    chain.start("mirror", *SLOW)
    until_sync(lambda: chain.state("mirror")["outcome"] == "ok")
    # The developer, while it fetches.
    chain.kill_in_run("developer", of="developer")
    chain.start("developer")
    until_sync(lambda: str(chain.state("developer")["root"]).endswith(repo.sha))
    assert chain.is_right()
    # Those who are fetched from, while others fetch.
    repo.commit({CHANGED: Blob(SIZE, 4)})
    chain.sync("server")
    chain.kill_in_run("server", of="mirror")
    chain.start("server", *SLOW)
    assert chain.sync("mirror")["fetched_bytes"] < SIZE
    run = chain.killed_in_run("mirror", of="developer")
    chain.start("mirror")
    out, errors = run.communicate(timeout=90)
    assert run.returncode == 0, out + errors  # one run, which met the node that was back
    assert chain.is_right()
    for node in chain.running.values():
        assert node.run("verify").code == 0

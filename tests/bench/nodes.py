"""mirrornode processes for the benchmark: mDNS off, ended by their own pid."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from bench.network import LOOPBACK, Room
from bench.servers import Server, ServerFailed
from mirrornode.routing.find import FRESH_S

COMMAND = Path(sys.executable).with_name("mirrornode")
TIMEOUT_S = 60.0
IDLE_TIMEOUT_S = 300.0
IDLE_PERCENT = 15.0  # of one core; an idle node with a few peers stays below


class Node(Server):
    """`mirrornode serve` with a home of its own.

    `host` is the address that others reach it under; in a `room`, its address there.
    """

    def __init__(
        self,
        home: Path,
        *,
        plain: bool = False,
        bootstrap: Sequence[str] = (),
        host: str = LOOPBACK,
        room: Room | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home
        words: list[str | Path] = [COMMAND, "serve", "--json", "--no-mdns", "--home", home]
        words += ["--listen", f"/ip4/{host}/tcp/0", "--gateway", f"{LOOPBACK}:0"]
        words += ["--peer-plane", f"{host}:0"]
        if plain:
            words += ["--peer-plane", "plain"]
        for address in bootstrap:
            words += ["--bootstrap", address]
        settings = {**os.environ, **env} if env else None
        super().__init__(words, home.with_suffix(".log"), room=room, env=settings)
        self._started_s = time.monotonic()
        self.address = str(self.ready["listen"][0])
        self.peer_id = str(self.ready["peer_id"])

    def add(self, path: Path) -> str:
        """Share a path and return its CID."""
        return str(self.verb("add", path)[0]["cid"])

    def wait_connected(self, *nodes: Node) -> None:
        """Wait until the node is connected to all of these."""
        deadline_s = time.monotonic() + TIMEOUT_S
        missing = {node.peer_id for node in nodes}
        while missing := missing - {peer["peer_id"] for peer in self.verb("peers")}:
            if time.monotonic() > deadline_s:
                raise ServerFailed(f"{self.home.name} found no {missing}: {self.log_tail()}")

    def wait_idle(self) -> None:
        """Wait until the work that follows an `add` is over: background hashes, announcing.

        What is timed afterwards is a node at rest, not the end of its own start.
        """
        deadline_s = time.monotonic() + IDLE_TIMEOUT_S
        process = psutil.Process(self.pid)
        while True:
            busy_percent = process.cpu_percent(interval=0.5)
            announcements = self.verb("status")[0]["announcements"]
            if busy_percent < IDLE_PERCENT and announcements["ok"] == announcements["total"]:
                return
            if time.monotonic() > deadline_s:
                raise ServerFailed(f"{self.home.name} does not come to rest: {announcements}")

    def wait_settled(self) -> None:
        """Wait until it is at rest and has run for so long that it expects no first peers more."""
        self.wait_idle()
        time.sleep(max(0.0, self._started_s + FRESH_S - time.monotonic()))

    def verb(self, *words: str | Path) -> list[dict[str, Any]]:
        """Run a verb against this node and return its JSON lines."""
        done = subprocess.run(
            [COMMAND, *words, "--home", self.home, "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=IDLE_TIMEOUT_S,
        )
        if done.returncode:
            raise ServerFailed(f"mirrornode {words[0]}: {done.stderr.strip()}")
        return [json.loads(line) for line in done.stdout.splitlines()]

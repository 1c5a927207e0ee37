"""mirrornode processes for the benchmark: loopback only, mDNS off, ended by their own pid."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

COMMAND = Path(sys.executable).with_name("mirrornode")
TIMEOUT_S = 60.0
IDLE_TIMEOUT_S = 300.0
IDLE_PERCENT = 15.0  # of one core; an idle node with a few peers stays below


class NodeFailed(Exception):
    """A node did not start or did not do as told."""


class Node:
    """`mirrornode serve` with a home of its own; a context manager."""

    def __init__(self, home: Path, *, plain: bool = False, bootstrap: str = "") -> None:
        self.home = home
        self._log = home.with_suffix(".log")
        argv: list[str | Path] = [COMMAND, "serve", "--json", "--no-mdns", "--home", home]
        argv += ["--listen", "/ip4/127.0.0.1/tcp/0", "--gateway", "127.0.0.1:0"]
        argv += ["--peer-plane", "127.0.0.1:0"]
        if plain:
            argv += ["--peer-plane", "plain"]
        if bootstrap:
            argv += ["--bootstrap", bootstrap]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log)
        try:
            self.address = self._wait_ready()["listen"][0]
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def stop(self) -> None:
        """End the process in order; kill it when it does not."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def add(self, path: Path) -> str:
        """Share a path and return its CID."""
        return str(self.verb("add", path)[0]["cid"])

    def wait_connected(self) -> None:
        """Wait until the node is connected to a peer."""
        deadline = time.monotonic() + TIMEOUT_S
        while not self.verb("peers"):
            if time.monotonic() > deadline:
                raise NodeFailed(f"{self.home.name} found no peer:\n{self._log.read_text()}")

    def wait_idle(self) -> None:
        """Wait until the work that follows an `add` is over: background hashes, announcing.

        What is timed afterwards is a node at rest, not the end of its own start.
        """
        deadline = time.monotonic() + IDLE_TIMEOUT_S
        process = psutil.Process(self.pid)
        while True:
            busy_percent = process.cpu_percent(interval=0.5)
            announcements = self.verb("status")[0]["announcements"]
            if busy_percent < IDLE_PERCENT and announcements["ok"] == announcements["total"]:
                return
            if time.monotonic() > deadline:
                raise NodeFailed(f"{self.home.name} does not come to rest: {announcements}")

    def verb(self, *argv: str | Path) -> list[dict[str, Any]]:
        """Run a verb against this node and return its JSON lines."""
        done = subprocess.run(
            [COMMAND, *argv, "--home", self.home, "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NodeFailed(f"{argv[0]}: {done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def _wait_ready(self) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        readable, _, _ = select.select([stdout], [], [], TIMEOUT_S)
        ready: dict[str, Any] = json.loads((stdout.readline() if readable else b"") or b"{}")
        if "listen" not in ready:
            raise NodeFailed(f"a node did not start:\n{self._log.read_text()}")
        return ready

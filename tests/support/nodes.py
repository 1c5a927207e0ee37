"""Real nodes in real processes for the system tests: started, asked, killed, cleaned up."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from support.forked import Process, fork_server
from support.netns import EXEC

READY_TIMEOUT_S = 60.0
COMMAND = (sys.executable, "-m", "mirrornode_cli")


def environment(home: Path) -> dict[str, str]:
    """Return an environment in which nothing of the user's own settings is left."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MIRRORNODE_")}
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        kept.pop(name, None)
    return {**kept, "MIRRORNODE_HOME": str(home), "NO_COLOR": "1"}


@dataclass(frozen=True)
class Finished:
    """A command that has ended; `record` is the last JSON line of its output."""

    code: int
    stdout: str
    stderr: str

    @property
    def record(self) -> dict[str, Any]:
        lines = [line for line in self.stdout.splitlines() if line.strip()]
        parsed: dict[str, Any] = json.loads(lines[-1])
        return parsed


def run(
    home: Path,
    *arguments: str | Path,
    timeout_s: float = 90.0,
    cwd: Path | None = None,
    prefix: Sequence[str] = (),
) -> Finished:
    """Run one command to its end."""
    process = start(home, *arguments, cwd=cwd, prefix=prefix)
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    assert process.returncode is not None
    return Finished(process.returncode, stdout, stderr)


def start(
    home: Path,
    *arguments: str | Path,
    cwd: Path | None = None,
    prefix: Sequence[str] = (),
    is_fresh: bool = False,
) -> Process:
    """Start a command and return its process; its output is piped.

    Args:
        prefix: Words of a command that runs it.
        is_fresh: Whether it has to start as a user's does, with nothing imported; else only what a
            prefix runs does, unless that is just another network.
    """
    return _start(home, map(str, arguments), cwd, prefix, is_fresh=is_fresh)


def _start(
    home: Path,
    arguments: Iterable[str],
    cwd: Path | None,
    prefix: Sequence[str],
    stderr: IO[bytes] | None = None,
    *,
    is_fresh: bool = False,
) -> Process:
    network = prefix[-1] if tuple(prefix[:-1]) == EXEC else ""
    if sys.platform == "linux" and (network or not prefix) and not is_fresh:
        return fork_server().start([*arguments], environment(home), cwd, stderr, network)
    return subprocess.Popen(
        [*prefix, *COMMAND, *arguments],
        env=environment(home),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=stderr or subprocess.PIPE,
        text=True,
    )


@dataclass
class RunningNode:
    """A daemon that has said READY."""

    home: Path
    process: Process
    ready: dict[str, Any]
    log: Path
    prefix: Sequence[str] = field(default=())

    @property
    def address(self) -> str:
        """A multiaddr on loopback, else the first one."""
        listen: list[str] = self.ready["listen"]
        return next((a for a in listen if "/127.0.0.1/" in a), listen[0])

    @property
    def gateway(self) -> str:
        return str(self.ready["gateway"])

    def run(self, *arguments: str | Path, timeout_s: float = 90.0) -> Finished:
        """Run a command against this node's home."""
        return run(self.home, *arguments, timeout_s=timeout_s, prefix=self.prefix)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


class Nodes:
    """Starts nodes below one folder and ends them all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[RunningNode] = []

    def home(self, name: str) -> Path:
        return self._folder / name

    def serve(
        self,
        name: str,
        *options: str,
        bootstrap: Sequence[str] = (),
        mdns: bool = False,
        prefix: Sequence[str] = (),
        listen: str = "/ip4/127.0.0.1/tcp/0",
        peer_plane: str = "127.0.0.1:0",
    ) -> RunningNode:
        """Start a daemon and wait for its READY line."""
        home = self.home(name)
        home.mkdir(exist_ok=True)
        arguments = ["serve", "--json", "--gateway", "127.0.0.1:0", *options]
        if listen:
            arguments += ["--listen", listen]
        if peer_plane:
            arguments += ["--peer-plane", peer_plane]
        if not mdns:
            arguments.append("--no-mdns")
        for address in bootstrap:
            arguments += ["--bootstrap", address]
        log = home / "test.log"
        with log.open("ab") as errors:
            process = _start(home, arguments, None, prefix, errors)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.wait()
            raise AssertionError(f"{name} did not start: {log.read_text()}")
        node = RunningNode(home, process, json.loads(line), log, prefix)
        self._running.append(node)
        return node

    def close(self) -> None:
        for node in self._running:
            if node.process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    node.stop()
            if node.process.stdout is not None:
                node.process.stdout.close()


@contextlib.contextmanager
def nodes_in(folder: Path) -> Iterator[Nodes]:
    """Yield a starter of nodes below `folder`; all end with the block."""
    nodes = Nodes(folder)
    try:
        yield nodes
    finally:
        nodes.close()

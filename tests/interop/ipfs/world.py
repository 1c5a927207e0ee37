"""Where the implementations meet: two hosts on a cable, ours on one, the others on the other.

Kubo and Helia are started once and stay; of ours every row of the suite opens a node of its own, so
that nobody is connected to it yet. Nothing here reaches another network: there is none.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interop.ipfs import environments
from interop.ipfs.drive import Driver
from support.namespaces import Host, two_hosts
from support.nodes import COMMAND, Finished, environment, run

PROGRAMS = Path(__file__).with_name("programs")
WAIT_S = 20.0
PORT = 4001
KUBO, HELIA = "Kubo", "Helia"


class NotPossible(Exception):
    """A row cannot be played with this implementation; says why."""


@dataclass
class Ours:
    """One node of this project."""

    world: World
    home: Path
    peer_id: str
    addresses: list[str]
    gateway: str

    @property
    def address(self) -> str:
        return self.addresses[0]

    def call(self, verb: str, **arguments: object) -> Any:
        """Ask the node for something that the command line does not do."""
        return self.world.driver("mirrornode").call(verb, node=self.home, **arguments)

    def run(self, *arguments: str | Path, timeout_s: float = 60.0) -> Finished:
        """Run a command of the command line against the node."""
        return run(self.home, *arguments, timeout_s=timeout_s)

    def add(self, path: Path, *options: str) -> str:
        """Share a file and return its CID."""
        done = self.run("add", path, "--json", *options)
        assert done.code == 0, done.stderr
        return str(done.record["cid"])

    def cids(self, paths: Sequence[Path], *options: str) -> list[str]:
        """Return the CIDs that files would have; nothing is shared."""
        done = self.run("add", *paths, "--only-hash", "--json", *options)
        assert done.code == 0, done.stderr
        return [json.loads(line)["cid"] for line in done.stdout.splitlines()]

    def get(self, cid: str, out: Path) -> None:
        """Fetch a CID into a file or folder."""
        done = self.run("get", cid, "-o", out, "--json")
        assert done.code == 0, done.stderr[-2000:]


@dataclass
class Theirs:
    """One node of another implementation; `kind` is KUBO or HELIA."""

    world: World
    kind: str
    name: str
    peer_id: str = ""
    addresses: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.addresses[0]

    def call(self, verb: str, **arguments: object) -> Any:
        """Ask the node for something."""
        return self.world.driver(self.kind).call(verb, node=self.name, **arguments)

    def knows(self, peer_id: str) -> bool:
        """Tell whether it is connected to a peer."""
        return peer_id in self.call("peers")


class World:
    """Everything that runs; `close` ends it all."""

    def __init__(self, folder: Path, ours: Host, theirs: Host) -> None:
        self.folder = folder
        self._hosts = {"mirrornode": ours, KUBO: theirs, HELIA: theirs}
        self._drivers: dict[str, Driver] = {}
        self._residents: dict[str, Theirs] = {}
        self._ours: list[Ours] = []
        self._count = 0

    def close(self) -> None:
        for driver in self._drivers.values():
            driver.close()

    def driver(self, kind: str) -> Driver:
        """Return the program that runs the nodes of an implementation, started if need be.

        Raises:
            NotPossible: It is not installed.
        """
        if kind not in self._drivers:
            try:
                command, cwd = _command(kind)
            except environments.NotInstalled as exc:
                raise NotPossible(str(exc)) from exc
            prefix = self._hosts[kind].prefix
            log = self.folder / f"{kind}.log"
            home = self.folder / f"{kind}-home"
            home.mkdir()
            variables = {**environment(home), "HOME": str(home)}
            # Kubo's library leaves a log where it is started.
            self._drivers[kind] = Driver(
                [*prefix, *command], log, cwd=cwd or home, environment=variables
            )
        return self._drivers[kind]

    def version(self, kind: str) -> str:
        """Return what the table calls an implementation."""
        if kind == HELIA:
            packages = environments.javascript()
            return f"Helia {packages.version('helia')}, js-libp2p {packages.version('libp2p')}"
        kubo = self.theirs(KUBO)
        known = self.ours_connected(kubo).call("known", peer_id=kubo.peer_id)
        return f"Kubo {known['agent'].split('/')[1]}"

    def theirs(self, kind: str) -> Theirs:
        """Return the one node of an implementation that is always there.

        Raises:
            NotPossible: It is not installed.
        """
        if kind not in self._residents:
            self._residents[kind] = self.open_theirs(kind)
        return self._residents[kind]

    def open_theirs(self, kind: str, **options: object) -> Theirs:
        """Start one more node of an implementation."""
        name = str(self.path(kind.lower()))
        listen = f"/ip4/{self._hosts[kind].address}/tcp/{PORT + self._count}"
        if kind == KUBO:
            said = self.driver(kind).call("open", repository=name, listen=listen, **options)
        else:
            said = self.driver(kind).call("open", node=name, listen=listen, **options)
        return Theirs(self, kind, name, said["peer_id"], said["addresses"])

    def open_http(self, **options: object) -> Theirs:
        """Start a Helia without libp2p."""
        name = str(self.path("helia-http"))
        self.driver(HELIA).call("open_http", node=name, **options)
        return Theirs(self, HELIA, name)

    def ours(self) -> Ours:
        """Start a node of this project that nobody knows yet."""
        home = self.path("node")
        host = self._hosts["mirrornode"].address
        said = self.driver("mirrornode").call(
            "open", node=home, listen=f"/ip4/{host}/tcp/0", host=host
        )
        ours = Ours(self, home, said["peer_id"], said["addresses"], said["gateway"])
        self._ours.append(ours)
        return ours

    def close_ours(self) -> None:
        """End all nodes of this project, which the residents would ask for every block."""
        while self._ours:
            self._ours.pop().call("close")

    def ours_connected(self, *others: Theirs) -> Ours:
        """Start a node of this project and connect it, by dialling."""
        ours = self.ours()
        for other in others:
            ours.call("connect", address=other.address)
        return ours

    def path(self, name: str) -> Path:
        """Return a path that nothing has used."""
        self._count += 1
        return self.folder / f"{self._count:03}-{name}"

    def make_file(self, size_bytes: int) -> Path:
        """Write a file that nobody else has."""
        path = self.path("file.bin")
        path.write_bytes(random.Random(str(path)).randbytes(size_bytes))
        return path

    def make_folder(self, entries: int) -> Path:
        """Write a folder of files of a few bytes whose names are long."""
        folder = self.path("folder")
        folder.mkdir()
        for number in range(entries):
            (folder / f"{number:06}-{'long-name-' * 22}").write_text(f"{folder.name} {number}")
        return folder


def contents_of(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file in a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return as soon as `condition()` is true; AssertionError says what never came."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


@contextlib.contextmanager
def open_world(folder: Path) -> Iterator[World]:
    """Make the hosts and run what is asked for on them; skips where there can be no hosts."""
    with two_hosts() as (ours, theirs):
        for host, other in ((ours, theirs), (theirs, ours)):
            # As in any LAN: without it programs have no interface for multicast.
            route = ["ip", "-n", host.name, "route", "add", "default", "via", other.address]
            subprocess.run(route, check=True, capture_output=True)
        world = World(folder, ours, theirs)
        try:
            yield world
        finally:
            world.close()


def _command(kind: str) -> tuple[Sequence[str | Path], Path | None]:
    if kind == KUBO:
        return [environments.kubo().python, "-I", PROGRAMS / "kubo_driver.py"], None
    if kind == HELIA:
        packages = environments.javascript()
        # Packages are looked for beside the script.
        script = packages.folder / "helia_driver.mjs"
        script.write_bytes((PROGRAMS / "helia_driver.mjs").read_bytes())
        return [packages.node, script], packages.folder
    return [COMMAND[0], PROGRAMS / "node_driver.py"], None

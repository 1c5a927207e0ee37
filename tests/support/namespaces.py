"""Network namespaces joined by a cable (veth), for tests that need two hosts."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Host:
    """One namespace; `prefix` goes before a command that runs in it."""

    name: str
    address: str

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Yield two hosts on one cable, with addresses and nothing else; skips where not allowed."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    tag = f"mn{os.getpid() % 100000}"
    hosts = Host(f"{tag}a", "10.213.7.1"), Host(f"{tag}b", "10.213.7.2")
    made: list[str] = []
    try:
        try:
            for host in hosts:
                _ip("netns", "add", host.name)
                made.append(host.name)
            cable = [f"{tag}va", f"{tag}vb"]
            _ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
            for host, end in zip(hosts, cable, strict=True):
                _ip("link", "set", end, "netns", host.name)
                _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", end)
                _ip("-n", host.name, "link", "set", "lo", "up")
                _ip("-n", host.name, "link", "set", end, "up")
        except subprocess.CalledProcessError as exc:
            pytest.skip(f"network namespaces are not allowed here: {exc.stderr!r}")
        yield hosts
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@contextlib.contextmanager
def one_host(*addresses: str) -> Iterator[Host]:
    """Yield a host that has these addresses and reaches nobody else; skips where not allowed."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    host = Host(f"mnh{os.getpid() % 100000}", addresses[0])
    try:
        _ip("netns", "add", host.name)
    except subprocess.CalledProcessError as exc:
        pytest.skip(f"network namespaces are not allowed here: {exc.stderr!r}")
    try:
        _ip("-n", host.name, "link", "set", "lo", "up")
        for address in addresses:
            _ip("-n", host.name, "addr", "add", f"{address}/32", "dev", "lo")
        yield host
    finally:
        subprocess.run(["ip", "netns", "del", host.name], check=False, capture_output=True)

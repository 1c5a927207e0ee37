"""Network namespaces joined by a cable (veth), for tests that need two hosts."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import pytest

from support.netns import EXEC, enter_network

NEAR, FAR = "near", "far"  # the ends of a cable of `three_hosts`: towards the first, the last host

T = TypeVar("T")


@dataclass(frozen=True)
class Host:
    """One namespace; `prefix` goes before a command that runs in it."""

    name: str
    address: str

    @property
    def prefix(self) -> tuple[str, ...]:
        return (*EXEC, self.name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def three_hosts() -> Iterator[tuple[Host, Host, Host]]:
    """Yield three hosts in a row: only the one in the middle has a cable to each of the others.

    The addresses are 10.213.8.1, then 10.213.8.2 and 10.213.9.2, then 10.213.9.1; the host in the
    middle is named by its first. Skips where that is not allowed.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    tag = f"mn{os.getpid() % 100000}"
    hosts = (
        Host(f"{tag}s", "10.213.8.1"),
        Host(f"{tag}m", "10.213.8.2"),
        Host(f"{tag}d", "10.213.9.1"),
    )
    cables = (
        ((hosts[0], "10.213.8.1", FAR), (hosts[1], "10.213.8.2", NEAR)),
        ((hosts[1], "10.213.9.2", FAR), (hosts[2], "10.213.9.1", NEAR)),
    )
    made: list[str] = []
    try:
        try:
            for host in hosts:
                _ip("netns", "add", host.name)
                made.append(host.name)
                _ip("-n", host.name, "link", "set", "lo", "up")
            for one, other in cables:
                (host, _, end), (other_host, _, other_end) = one, other
                _ip("-n", host.name, "link", "add", end, "type", "veth", "peer", "name", other_end,
                    "netns", other_host.name)  # fmt: skip
                for there, address, name in (one, other):
                    _ip("-n", there.name, "addr", "add", f"{address}/24", "dev", name)
                    _ip("-n", there.name, "link", "set", name, "up")
        except subprocess.CalledProcessError as exc:
            pytest.skip(f"network namespaces are not allowed here: {exc.stderr!r}")
        yield hosts
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def received_bytes(host: Host) -> int:
    """Return what has come to a host of `three_hosts` over the cable from the one before it."""
    shown = subprocess.run(
        ["ip", "-n", host.name, "-s", "-j", "link", "show", NEAR],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(json.loads(shown.stdout)[0]["stats64"]["rx"]["bytes"])


def inside(host: Host, work: Callable[[], T]) -> T:
    """Run `work` in a thread that is on that host: its sockets stay there."""

    def there() -> T:
        enter_network(host.name)
        return work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(there).result()


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

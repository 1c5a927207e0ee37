"""mDNS: the TXT record in both directions, and two machines that find each other."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.swarm import mdns
from mirrornode.swarm.addresses import InterfaceAddress
from mirrornode.swarm.mdns import MAX_ADDRESSES, decode_txt, encode_txt, open_mdns

# SOURCE: libp2p/specs peer-ids/peer-ids.md, test vectors
PEER = "12D3KooWLU2znyJMtDiHArqAGbZn8CgUGp92kxDBtefftEEaHSZS"
LAN = f"/ip4/192.168.1.5/tcp/4101/p2p/{PEER}"
LOOPBACK = f"/ip4/127.0.0.1/tcp/4101/p2p/{PEER}"


def txt(*strings: str) -> bytes:
    return b"".join(bytes((len(each),)) + each.encode() for each in strings)


def test_encode_txt_when_several_addresses_then_one_string_each() -> None:
    second = f"/ip6/fd00::1/tcp/4101/p2p/{PEER}"
    assert encode_txt([LAN, second]) == txt(f"dnsaddr={LAN}", f"dnsaddr={second}")


def test_encode_txt_when_only_loopback_then_it_is_announced() -> None:
    assert encode_txt([LAN, LOOPBACK]) == txt(f"dnsaddr={LAN}")
    assert encode_txt([LOOPBACK]) == txt(f"dnsaddr={LOOPBACK}")
    assert encode_txt([]) == b""


def test_decode_txt_when_kubo_announces_then_dialable_addresses_are_kept() -> None:
    # SOURCE: libp2p/specs discovery/mdns.md, "Response"; the mix is what go-libp2p sends
    record = txt(
        f"dnsaddr=/ip4/192.168.1.5/udp/4001/quic-v1/p2p/{PEER}",
        f"dnsaddr={LAN}",
        f"dnsaddr=/ip6/fe80::1/tcp/4001/p2p/{PEER}",
        "dnsaddr=/ip4/192.168.1.5/tcp/4101",
        "other=1",
    )
    assert decode_txt(record, []) == {PEER: [LAN]}


@pytest.mark.parametrize(
    ("address", "is_kept"),
    [
        ("10.1.2.3", True),
        ("127.0.0.1", True),
        ("100.64.0.1", True),  # carrier NAT space, also used by overlay networks
        ("8.8.8.8", False),
        ("131.130.1.77", True),  # public, but in the network of our interface
        ("0.0.0.0", False),
        ("224.0.0.251", False),
    ],
)
def test_decode_txt_when_address_is_not_local_then_left_out(address: str, is_kept: bool) -> None:
    ours = InterfaceAddress("eth0", ipaddress.ip_address("131.130.1.5"), 24)
    record = txt(f"dnsaddr=/ip4/{address}/tcp/1/p2p/{PEER}")
    assert bool(decode_txt(record, [ours])) is is_kept


def test_decode_txt_when_there_is_too_much_then_bounded() -> None:
    record = txt(*(f"dnsaddr=/ip4/10.0.0.{n}/tcp/1/p2p/{PEER}" for n in range(200)))
    assert len(decode_txt(record, [])[PEER]) == MAX_ADDRESSES


@given(st.binary(max_size=600))
def test_decode_txt_when_anything_then_never_raises(record: bytes) -> None:
    decode_txt(record, [])


class FixedAddresses:
    """A node that says what a test tells it to."""

    def __init__(self, *addresses: str) -> None:
        self.peer_id = PEER
        self._addresses = list(addresses)

    def addresses(self) -> list[str]:
        return self._addresses


async def test_open_mdns_when_network_is_not_usable_then_warns_once_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = asyncio.Event()

    def refuse(*args: object, **options: object) -> None:
        asked.set()
        raise OSError(19, "No such device")

    monkeypatch.setattr(mdns, "AsyncZeroconf", refuse)
    with caplog.at_level(logging.WARNING):
        async with open_mdns(FixedAddresses(LAN), lambda peer_id, addresses: None):
            await asked.wait()
    assert caplog.text.count("mdns is not possible here") == 1


# -- two machines ---------------------------------------------------------------------------------

NODE_PROGRAM = """
import asyncio, sys
from mirrornode.config import SwarmConfig
from mirrornode.swarm.identity import Identity
from mirrornode.swarm.mdns import open_mdns
from mirrornode.swarm.node import open_swarm

async def main():
    opening = open_swarm(SwarmConfig(), Identity.generate())
    async with opening as swarm, asyncio.TaskGroup() as tasks:
        swarm.on_peer(lambda link: print("connected", link.peer_id, link.address, flush=True))

        def found(peer_id, addresses):
            print("found", peer_id, *addresses, flush=True)
            tasks.create_task(swarm.dial(peer_id, addresses))

        async with open_mdns(swarm, found):
            print("ready", swarm.peer_id, flush=True)
            await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def two_machines() -> Iterator[tuple[str, str]]:
    """Two network namespaces joined by one cable, 10.77.0.1 and 10.77.0.2."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    names = (f"mn{os.getpid()}a", f"mn{os.getpid()}b")
    try:
        try:
            for name in names:
                ip("netns", "add", name)
            ip("link", "add", names[0], "type", "veth", "peer", "name", names[1])
        except subprocess.CalledProcessError as exc:
            pytest.skip(f"network namespaces are not allowed here: {exc.stderr.decode().strip()}")
        for number, name in enumerate(names, 1):
            ip("link", "set", name, "netns", name)
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", name)
            ip("-n", name, "link", "set", name, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@contextlib.asynccontextmanager
async def node_in(namespace: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a node with mDNS in a network namespace; ends by itself when its stdin closes."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", namespace, sys.executable, "-c", NODE_PROGRAM),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said_by(process: asyncio.subprocess.Process) -> dict[str, list[str]]:
    """Return the first line of each kind, once there is one of every kind."""
    assert process.stdout is not None
    lines: dict[str, list[str]] = {}
    while lines.keys() != {"ready", "found", "connected"}:
        line = await process.stdout.readline()
        assert line, f"the node ended after {lines}"
        kind, *words = line.decode().split()
        lines.setdefault(kind, words)
    return lines


async def test_mdns_when_two_machines_share_a_cable_then_they_connect(
    two_machines: tuple[str, str],
) -> None:
    first, second = two_machines
    async with asyncio.timeout(30), node_in(first) as one, node_in(second) as two:
        one_said, two_said = await said_by(one), await said_by(two)
        (one_id,), (two_id,) = one_said["ready"], two_said["ready"]
        assert one_said["found"][0] == one_said["connected"][0] == two_id
        assert two_said["found"][0] == two_said["connected"][0] == one_id
        assert [each.split("/")[2] for each in one_said["found"][1:]] == ["10.77.0.2"]
        assert [each.split("/")[2] for each in two_said["found"][1:]] == ["10.77.0.1"]
        for process in (one, two):
            _, errors = await process.communicate(b"")
            assert (process.returncode, errors) == (0, b"")

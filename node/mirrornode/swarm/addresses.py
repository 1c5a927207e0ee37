"""Multiaddrs of TCP peers, and the concrete addresses at which this machine can be reached.

Only the forms that we dial and listen on are known: `/ip4|ip6|dns4|dns6|dns/…/tcp/…`, with or
without `/p2p/<peer id>`. Text and tuples only; opens no socket and needs no libp2p.
A node that listens on 0.0.0.0 must never say so to others: it announces what its interfaces have.
Spec: multiformats/multiaddr.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mirrornode.swarm.peer_id import normal_peer_id

MAX_ADDRESS_TEXT = 512  # a DNS name has 253 characters, a peer id 59
CACHE_S = 3.0  # interfaces come and go; asking the kernel takes about a millisecond

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Interfaces = Callable[[], Sequence["InterfaceAddress"]]

_DNS_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9])?\.?")
_HOST_KINDS = ("ip4", "ip6", "dns4", "dns6", "dns")
_CONTAINER_BRIDGES = ("docker", "br-", "veth", "virbr", "cni", "podman", "lxc")


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """Where a peer can be dialled.

    Attributes:
        kind: "ip4", "ip6", "dns4", "dns6" or "dns".
        host: IP address or name; no zone.
        port: 0 only for listening, where it means any free port.
        peer_id: Base58 text, or "" when the address names no peer.
    """

    kind: str
    host: str
    port: int
    peer_id: str = ""

    @classmethod
    def parse(cls, text: str) -> TcpAddress:
        """Read a multiaddr.

        Raises:
            ValueError: Not a multiaddr, or not of a form that we can dial.
        """
        parts = text.split("/")
        if len(text) > MAX_ADDRESS_TEXT or len(parts) not in (5, 7) or parts[0]:
            raise ValueError(f"not /ip4/…/tcp/…: {text[:MAX_ADDRESS_TEXT]!r}")
        kind, host, transport, port_text = parts[1:5]
        if kind not in _HOST_KINDS or transport != "tcp":
            raise ValueError(f"not /ip4/…/tcp/…: {text!r}")
        if not (port_text.isdecimal() and port_text.isascii() and len(port_text) <= 5):
            raise ValueError(f"{port_text!r} is not a port in {text!r}")
        if (port := int(port_text)) > 65535:
            raise ValueError(f"{port} is not a port in {text!r}")
        if kind == "ip4":
            host = str(ipaddress.IPv4Address(host))
        elif kind == "ip6":
            if "%" in host:
                raise ValueError(f"a zone means nothing to others in {text!r}")
            host = str(ipaddress.IPv6Address(host))
        elif not _DNS_NAME.fullmatch(host):
            raise ValueError(f"{host!r} is not a DNS name in {text!r}")
        peer_id = ""
        if len(parts) == 7:
            if parts[5] not in ("p2p", "ipfs"):
                raise ValueError(f"not /ip4/…/tcp/…/p2p/…: {text!r}")
            peer_id = normal_peer_id(parts[6])
        return cls(kind, host, port, peer_id)

    @classmethod
    def of_socket(cls, host: str, port: int) -> TcpAddress:
        """Return the address of a socket name; an IPv4-mapped IPv6 address becomes IPv4."""
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address):
            address = address.ipv4_mapped or address
        return cls(f"ip{address.version}", str(address), port)

    @property
    def ip(self) -> IpAddress | None:
        """The IP address, or None for a name."""
        return ipaddress.ip_address(self.host) if self.kind in ("ip4", "ip6") else None

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port: two addresses with the same endpoint lead to the same listener."""
        return self.host, self.port

    def __str__(self) -> str:
        suffix = f"/p2p/{self.peer_id}" if self.peer_id else ""
        return f"/{self.kind}/{self.host}/tcp/{self.port}{suffix}"


def dialable(texts: Iterable[str], peer_id: str, *, limit: int) -> list[TcpAddress]:
    """Return the addresses that we can dial to reach `peer_id`, in order, without duplicates.

    Others (QUIC, WebSocket, relays, malformed, of another peer) are left out: peers announce many
    kinds. The texts come from outside; at most `limit` are kept.
    """
    found: dict[tuple[str, int], TcpAddress] = {}
    for text in texts:
        try:
            address = TcpAddress.parse(text)
        except ValueError:
            continue
        ip = address.ip
        is_nowhere = address.port == 0 or (ip and (ip.is_unspecified or ip.is_multicast))
        if is_nowhere or address.peer_id not in ("", peer_id):
            continue
        found.setdefault(address.endpoint, address)
        if len(found) == limit:
            break
    return list(found.values())


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """One IP address of one network interface that is up."""

    interface: str
    ip: IpAddress
    prefix_bits: int

    def is_neighbour(self, other: IpAddress) -> bool:
        """True when `other` is in the network of this interface."""
        network = ipaddress.ip_network(f"{self.ip}/{self.prefix_bits}", strict=False)
        return other.version == network.version and other in network


def interface_addresses() -> list[InterfaceAddress]:
    """Return the addresses of all interfaces that are up, as the kernel has them now."""
    import psutil

    states = psutil.net_if_stats()
    found: list[InterfaceAddress] = []
    for name, entries in psutil.net_if_addrs().items():
        if name in states and not states[name].isup:
            continue
        for entry in entries:
            if entry.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            ip = ipaddress.ip_address(entry.address.partition("%")[0])
            found.append(InterfaceAddress(name, ip, _prefix_bits(ip, entry.netmask)))
    return found


def _prefix_bits(ip: IpAddress, netmask: str | None) -> int:
    if not netmask:
        return ip.max_prefixlen
    return int(ipaddress.ip_address(netmask)).bit_count()


class AnnouncedAddresses:
    """The concrete addresses of this node's listeners, recomputed when they may have changed."""

    def __init__(
        self,
        listeners: Sequence[TcpAddress],
        *,
        interfaces: Interfaces = interface_addresses,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remember what is listened on.

        Args:
            listeners: With the real port; the host may be 0.0.0.0 or ::.
        """
        self.listeners = tuple(listeners)
        self._interfaces = interfaces
        self._clock = clock
        self._cached: tuple[TcpAddress, ...] = ()
        self._fresh_until = float("-inf")

    def current(self) -> tuple[TcpAddress, ...]:
        """Return the addresses others can dial, most useful first, loopback last.

        Link-local IPv6 is left out (it needs a zone). Safe to call from any thread.
        """
        now = self._clock()
        if now >= self._fresh_until:
            self._cached = tuple(concrete_addresses(self.listeners, self._interfaces()))
            self._fresh_until = now + CACHE_S
        return self._cached


def concrete_addresses(
    listeners: Sequence[TcpAddress], interfaces: Sequence[InterfaceAddress]
) -> list[TcpAddress]:
    """Replace wildcards by the addresses of `interfaces` and sort by usefulness."""
    ranked: dict[TcpAddress, int] = {}
    for listener in listeners:
        ip = listener.ip
        assert ip is not None, "listeners have IP addresses"
        if not ip.is_unspecified:
            ranked.setdefault(listener, _rank(InterfaceAddress("", ip, ip.max_prefixlen)))
            continue
        for candidate in interfaces:
            is_zoned = candidate.ip.version == 6 and candidate.ip.is_link_local
            if candidate.ip.version == ip.version and not is_zoned:
                address = TcpAddress(listener.kind, str(candidate.ip), listener.port)
                ranked.setdefault(address, _rank(candidate))
    return sorted(ranked, key=lambda address: ranked[address])


def _rank(candidate: InterfaceAddress) -> int:
    if candidate.ip.is_loopback:
        return 3
    if candidate.ip.is_link_local:
        return 2
    # A container bridge has the same address on most machines: the last thing to try.
    return 1 if candidate.interface.startswith(_CONTAINER_BRIDGES) else 0

"""Which addresses of peers may cross a link, and the addresses we remember.

On a LAN network only addresses of local networks are passed on or believed, and loopback addresses
only between programs of one machine: a remote peer that names 127.0.0.1 would make us knock at our
own services. On the public network only public addresses are: a private one would name another
machine to everybody, and tell strangers how our network is built. Names (dns) are not believed on
either: resolving them is a query a stranger chose.

Spec: libp2p kad-dht; go-libp2p-kad-dht `dht_filters.go`.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from functools import lru_cache
from typing import Protocol

from mirrornode.errors import TargetError
from mirrornode.wire.kad import bounded_addresses
from mirrornode.wire.multiaddr import split_components, split_peer_id

MAX_REMEMBERED_PEERS = 4096  # of the address book; a LAN has tens

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_CARRIER_NAT = ipaddress.ip_network("100.64.0.0/10")  # is_private says no to it; VPNs use it
_GROUP_BITS = {4: 16, 6: 32}  # go-libp2p-kbucket: what one operator is taken to own
_NEAR_BITS = {4: 24, 6: 64}  # a usual subnet: as near as go's "directly routed" can be told


class AddressFilter(Protocol):
    """Decides which addresses a network is about."""

    def select(self, addresses: Iterable[str], link_address: str) -> list[str]:
        """Return the addresses fit to be sent or believed over the link at `link_address`."""
        ...

    def covers(self, link_address: str) -> bool:
        """Tell whether the peer at the other end of a link may be one of the network."""
        ...


class LanAddresses:
    """Accepts addresses of local networks.

    Args:
        own_addresses: Our multiaddrs at present. Public addresses are accepted next to them only
            (same /24 or /64): some institutes number their LANs so.
        near_links_only: Whether a peer must be linked through such an address, too.
    """

    def __init__(
        self, own_addresses: Callable[[], Sequence[str]], *, near_links_only: bool = False
    ) -> None:
        self._own_addresses = own_addresses
        self._near_links_only = near_links_only

    def select(self, addresses: Iterable[str], link_address: str) -> list[str]:
        within_machine = reach_of(link_address) is Reach.MACHINE
        return [
            address
            for address in addresses
            if (reach := reach_of(address)) is Reach.LAN
            or (reach is Reach.MACHINE and within_machine)
            or (reach is Reach.WORLD and self._is_near(address))
        ]

    def covers(self, link_address: str) -> bool:
        return not self._near_links_only or bool(self.select([link_address], link_address))

    def _is_near(self, address: str) -> bool:
        return any(_are_near(address, own) for own in self._own_addresses())


class PublicAddresses:
    """Accepts addresses of the internet, whoever names them."""

    def select(self, addresses: Iterable[str], link_address: str) -> list[str]:
        return [address for address in addresses if reach_of(address) is Reach.WORLD]

    def covers(self, link_address: str) -> bool:
        return True  # a neighbour may be a server of the internet; its addresses decide


class Reach(Enum):
    """From where an address can be dialled."""

    MACHINE = 0  # loopback
    LAN = 1  # private, link-local, carrier-grade NAT (VPNs use it)
    WORLD = 2
    NOWHERE = 3  # relayed, a name, malformed, unspecified or multicast


@lru_cache(maxsize=16384)
def reach_of(address: str) -> Reach:
    """Return from where a multiaddr can be dialled directly."""
    ip = _ip_of(address)
    if ip is None or ip.is_unspecified or ip.is_multicast:
        return Reach.NOWHERE
    if ip.is_loopback:
        return Reach.MACHINE
    if ip.is_private or ip.is_link_local or (ip.version == 4 and ip in _CARRIER_NAT):
        return Reach.LAN
    return Reach.WORLD


@lru_cache(maxsize=16384)
def group_of(address: str) -> str:
    """Return the part of the internet an address lies in: an IPv4 /16, an IPv6 /32; "" if none."""
    ip = _ip_of(address)
    if ip is None or reach_of(address) is not Reach.WORLD:
        return ""
    return str(ipaddress.ip_network(f"{ip}/{_GROUP_BITS[ip.version]}", strict=False))


def _ip_of(address: str) -> IpAddress | None:
    """Return the IP a multiaddr is dialled at, or None when it is relayed, a name or malformed."""
    try:
        components = split_components(address)
    except TargetError:
        return None
    if any(name == "p2p-circuit" for name, _ in components):
        return None
    for name, value in components:
        if name in ("ip4", "ip6"):
            ip = ipaddress.ip_address(value)
            mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
            return mapped or ip
        if name != "ip6zone":
            return None
    return None


def bare_addresses(addresses: Iterable[str], peer_id: str) -> list[str]:
    """Return the addresses without their /p2p part, leaving out those of another peer."""
    bare: list[str] = []
    for address in addresses:
        try:
            without_peer, owner = split_peer_id(address)
        except TargetError:
            continue
        if without_peer and owner in ("", peer_id):
            bare.append(without_peer)
    return bare


class AddressBook:
    """The addresses peers were last known at; bounded, the longest unmentioned peer goes first."""

    def __init__(self, *, max_peers: int = MAX_REMEMBERED_PEERS) -> None:
        self._max_peers = max_peers
        self._addresses: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._addresses)

    def __iter__(self) -> Iterator[str]:
        return iter(self._addresses)

    def add(self, peer_id: str, addresses: Iterable[str]) -> None:
        """Remember addresses, newest first; old ones fall out when there are too many."""
        merged = bounded_addresses((*addresses, *self._addresses.get(peer_id, ())))
        if not merged:
            return
        self._addresses[peer_id] = merged
        self._addresses.move_to_end(peer_id)
        while len(self._addresses) > self._max_peers:
            self._addresses.popitem(last=False)

    def get(self, peer_id: str) -> tuple[str, ...]:
        """Return what is known, newest first; empty when nothing is."""
        return self._addresses.get(peer_id, ())


@lru_cache(maxsize=4096)
def _are_near(address: str, own: str) -> bool:
    ip, own_ip = _ip_of(address), _ip_of(own)
    if ip is None or own_ip is None or ip.version != own_ip.version:
        return False
    shift = ip.max_prefixlen - _NEAR_BITS[ip.version]
    return reach_of(own) is Reach.WORLD and int(ip) >> shift == int(own_ip) >> shift

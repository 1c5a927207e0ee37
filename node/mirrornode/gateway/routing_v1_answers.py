"""The answers of `/routing/v1`: what this node has itself, and what look-ups bring.

Tells of what peers may have by ticket, and of nothing else: gated and private content is not on
the shelf. Addresses are those that the asker can use: loopback ones only for who asks from this
machine, for instance a Kubo beside us. HTTP is spoken in `routing_v1`.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from mirrornode.gateway.routing_v1_lookups import Busy
from mirrornode.routing.kad.addresses import Reach, bare_addresses, reach_of
from mirrornode.swarm.addresses import AnnouncedAddresses, TcpAddress
from mirrornode.wire.http_address import http_address, is_private
from mirrornode.wire.routing_v1 import (
    BITSWAP,
    BITSWAP_PROTOCOL,
    HTTP_GATEWAY,
    MAX_ADDRESSES,
    MAX_RECORDS,
    RoutingRecord,
)

if TYPE_CHECKING:
    import socket

    from mirrornode.content.cid import Cid
    from mirrornode.gateway.routing_v1_lookups import Lookups
    from mirrornode.mirror.shelf import Shelf


class SwarmPort(Protocol):
    """Who we are to others."""

    @property
    def peer_id(self) -> str: ...
    def addresses(self) -> list[str]: ...
    def protocols(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class OwnContent:
    """What this node has itself.

    Attributes:
        shelf: What peers may have.
        http_addresses: Multiaddrs of the gateway as they are now, best first.
    """

    shelf: Shelf
    http_addresses: Callable[[], Sequence[str]]


class RoutingAnswers:
    """Answers who has a CID, where a peer is, and who is near a key."""

    def __init__(self, swarm: SwarmPort, lookups: Lookups, own: OwnContent | None = None) -> None:
        """Prepare; `own` is None for a node that keeps no content."""
        self._swarm = swarm
        self._lookups = lookups
        self._own = own

    async def providers(self, cid: Cid, *, is_local: bool) -> AsyncGenerator[RoutingRecord, None]:
        """Yield who has `cid`, this node first, each peer once, at most `MAX_RECORDS`.

        Args:
            is_local: Whether the asker is on this machine.

        Raises:
            Busy: Too many look-ups are under way.
        """
        if cid.is_identity:
            return  # the CID is the content
        told = 0
        if self._own is not None and await asyncio.to_thread(_has, self._own.shelf, cid):
            record = self._own_record(is_local=is_local)
            if record.addresses:  # a node for this machine alone is no provider to others
                told = 1
                yield record
        try:
            async with aclosing(self._lookups.providers(cid)) as records:
                async for record in records:
                    if told == MAX_RECORDS:
                        return
                    told += 1
                    yield _seen_from(record, is_local=is_local)
        except Busy:
            if not told:
                raise

    async def peers(self, peer_id: str, *, is_local: bool) -> AsyncGenerator[RoutingRecord, None]:
        """Yield where a peer is: one record, or none when nobody knows an address.

        Raises:
            Busy: Too many look-ups are under way.
        """
        if peer_id == self._swarm.peer_id:
            record = self._own_record(is_local=is_local)
        else:
            record = _seen_from(await self._lookups.peer(peer_id), is_local=is_local)
        if record.addresses:
            yield record

    async def closest(self, key: bytes, *, is_local: bool) -> AsyncGenerator[RoutingRecord, None]:
        """Yield the DHT servers nearest to a key, the nearest first.

        Args:
            key: A multihash or a binary peer id.
            is_local: Whether the asker is on this machine.

        Raises:
            Busy: Too many look-ups are under way.
        """
        for found in await self._lookups.closest(key):
            record = _seen_from(found, is_local=is_local)
            if record.addresses:
                yield record

    async def close(self) -> None:
        """End what is under way."""
        await self._lookups.close()

    def _own_record(self, *, is_local: bool) -> RoutingRecord:
        swarm, own = self._swarm, self._own
        # HTTP first: in a record of many addresses it must not be what is cut off.
        http = list(own.http_addresses()) if own is not None else []
        if is_local:
            http.sort(key=lambda address: not _is_loopback(address))  # works in any case
        else:
            http = [address for address in http if not _is_loopback(address)]
        protocols = [BITSWAP] if BITSWAP_PROTOCOL in swarm.protocols() else []
        if http:
            protocols.append(HTTP_GATEWAY)
        addresses = (*http, *bare_addresses(swarm.addresses(), swarm.peer_id))
        record = RoutingRecord(swarm.peer_id, addresses, tuple(protocols))
        return _seen_from(record, is_local=is_local)


def gateway_addresses(listener: socket.socket) -> Callable[[], list[str]]:
    """Return what tells the multiaddrs of a gateway that listens on a TCP socket.

    Those of real interfaces, never 0.0.0.0; loopback last. Public addresses are left out: nobody
    takes plain HTTP from there.
    """
    host, port = listener.getsockname()[:2]
    announced = AnnouncedAddresses([TcpAddress.of_socket(host, port)])

    def current() -> list[str]:
        found = [ipaddress.ip_address(address.host) for address in announced.current()]
        return [http_address(str(ip), port) for ip in found if ip.is_loopback or is_private(ip)]

    return current


def is_local_asker(host: str) -> bool:
    """Tell whether a client's address is one of this machine's loopback."""
    return reach_of(f"/ip6/{host}" if ":" in host else f"/ip4/{host}") is Reach.MACHINE


def _seen_from(record: RoutingRecord, *, is_local: bool) -> RoutingRecord:
    """Return a record with the addresses that the asker can use."""
    addresses = [each for each in record.addresses if is_local or not _is_loopback(each)]
    return replace(record, addresses=tuple(addresses[:MAX_ADDRESSES]))


def _is_loopback(address: str) -> bool:
    return reach_of(address) is Reach.MACHINE


def _has(shelf: Shelf, cid: Cid) -> bool:
    """Tell whether this node can serve a block, or a whole file by its SHA-256."""
    if shelf.has_block(cid):
        return True
    return any(holding.runs is None and holding.is_complete for holding in shelf.holdings([cid]))

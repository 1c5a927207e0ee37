"""Look-ups for `/routing/v1`: whom others have told us of, asked once for many askers.

Strangers start them, so what they cost is bounded: few run at a time, questions for the same
content follow one look-up, and what it found is told again for some seconds. A look-up nobody
follows any more ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from mirrornode.errors import MirrorError
from mirrornode.routing.kad.addresses import Reach, bare_addresses, reach_of
from mirrornode.wire.kad import bounded_addresses
from mirrornode.wire.routing_v1 import BITSWAP, BITSWAP_PROTOCOL, MAX_RECORDS, RoutingRecord

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.routing.find import Found
    from mirrornode.routing.kad.node import ProviderRecord
    from mirrornode.swarm.node import PeerLink

log = logging.getLogger(__name__)

LOOKUP_S: Final = 10.0  # of one look-up as a whole: Kubo waits 15 s
ASK_S: Final = 3.0  # for connected peers
KEPT_S: Final = 10.0  # how long what was found is told again
MAX_LOOKUPS: Final = 32  # at a time; each asks some peers
MAX_KEPT: Final = 512


class Busy(Exception):
    """More look-ups are under way than this node takes on; it passes in a moment."""


class LinkPort(Protocol):
    """Who is connected."""

    def link(self, peer_id: str) -> PeerLink | None: ...


class DhtPort(Protocol):
    """What the DHT knows."""

    def find_providers(
        self, multihash: bytes, *, count: int = 20, timeout_s: float = 30.0
    ) -> AsyncGenerator[ProviderRecord, None]: ...
    async def find_peer(self, peer_id: str, *, timeout_s: float = 10.0) -> list[str]: ...
    async def closest_peers(self, key: bytes) -> list[ProviderRecord]: ...


class FinderPort(Protocol):
    """Asks connected nodes of ours for tickets."""

    async def ask_connected(self, roots: Sequence[Cid], timeout_s: float) -> list[Found]: ...


@dataclass(eq=False)
class _Lookup:
    """One look-up that several questions may follow."""

    records: list[RoutingRecord] = field(default_factory=list)
    peers: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    followers: int = 0
    ended_at: float | None = None
    task: asyncio.Task[None] | None = None

    def take(self, record: RoutingRecord) -> None:
        """Keep a record unless its peer is known."""
        if len(self.records) < MAX_RECORDS and record.peer_id not in self.peers:
            self.peers.add(record.peer_id)
            self.records.append(record)
            self.wake()

    def wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class Lookups:
    """Asks connected peers and the DHT. Belongs to one event loop; `close` ends what runs."""

    def __init__(
        self,
        links: LinkPort,
        dht: DhtPort,
        finder: FinderPort,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._links = links
        self._dht = dht
        self._finder = finder
        self._clock = clock
        self._by_content: OrderedDict[bytes, _Lookup] = OrderedDict()
        self._running = 0

    async def providers(self, cid: Cid) -> AsyncGenerator[RoutingRecord, None]:
        """Yield who has `cid` as it turns up, each peer once, at most `MAX_RECORDS`.

        Raises:
            Busy: Too many look-ups are under way.
        """
        lookup = self._by_content.get(cid.multihash)
        if lookup is None or self._is_stale(lookup):
            lookup = self._begin(cid)
        lookup.followers += 1
        told = 0
        try:
            while True:
                changed = lookup.changed
                while told < len(lookup.records):
                    told += 1
                    yield lookup.records[told - 1]
                if lookup.ended_at is not None:
                    return
                await changed.wait()
        finally:
            lookup.followers -= 1
            if not lookup.followers and lookup.ended_at is None and lookup.task is not None:
                lookup.task.cancel()
                if self._by_content.get(cid.multihash) is lookup:
                    # At once: who comes next must not follow what ends half done.
                    del self._by_content[cid.multihash]

    async def peer(self, peer_id: str) -> RoutingRecord:
        """Return what is known of where a peer is, maybe no address.

        Raises:
            Busy: Too many look-ups are under way.
        """
        link = self._links.link(peer_id)
        if link is not None:
            return record_of_link(link)
        with self._room():
            found = await self._dht.find_peer(peer_id, timeout_s=LOOKUP_S)
        return RoutingRecord(peer_id, bounded_addresses(found))

    async def closest(self, key: bytes) -> list[RoutingRecord]:
        """Return the DHT servers nearest to a key, the nearest first.

        Raises:
            Busy: Too many look-ups are under way.
        """
        with self._room():
            try:
                async with asyncio.timeout(LOOKUP_S):
                    found = await self._dht.closest_peers(key)
            except TimeoutError:
                found = []
        return [RoutingRecord(one.peer_id, bounded_addresses(one.addresses)) for one in found]

    async def close(self) -> None:
        """End all look-ups."""
        tasks = [lookup.task for lookup in self._by_content.values() if lookup.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, cid: Cid) -> _Lookup:
        if self._running >= MAX_LOOKUPS:
            raise Busy
        lookup = _Lookup()
        self._running += 1  # now, not when the task begins: many may be begun before that
        lookup.task = asyncio.create_task(self._look_up(cid, lookup))
        lookup.task.add_done_callback(lambda task: self._ended(cid, lookup, task))
        self._by_content[cid.multihash] = lookup
        self._by_content.move_to_end(cid.multihash)
        self._forget()
        return lookup

    def _ended(self, cid: Cid, lookup: _Lookup, task: asyncio.Task[None]) -> None:
        self._running -= 1
        lookup.ended_at = self._clock()
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.error("look-up failed cid=%s", cid, exc_info=failure)
        lookup.wake()

    def _is_stale(self, lookup: _Lookup) -> bool:
        return lookup.ended_at is not None and self._clock() - lookup.ended_at >= KEPT_S

    def _forget(self) -> None:
        """Forget what is old; look-ups that run are few and stay."""
        ended = [key for key, one in self._by_content.items() if one.ended_at is not None]
        excess = len(self._by_content) - MAX_KEPT
        for index, key in enumerate(ended):
            if index < excess or self._is_stale(self._by_content[key]):
                del self._by_content[key]

    async def _look_up(self, cid: Cid, lookup: _Lookup) -> None:
        try:
            async with asyncio.timeout(LOOKUP_S), asyncio.TaskGroup() as group:
                group.create_task(self._ask_connected(cid, lookup))
                group.create_task(self._ask_dht(cid, lookup))
        except TimeoutError:
            log.debug("look-up ended by its time cid=%s", cid)

    async def _ask_connected(self, cid: Cid, lookup: _Lookup) -> None:
        for found in await self._finder.ask_connected([cid], ASK_S):
            link = self._links.link(found.peer_id)
            # A peer without a single run has begun to fetch it and cannot help anybody yet.
            has_some = any(holding.runs != () for holding in found.ticket.holdings)
            if link is not None and has_some:
                lookup.take(record_of_link(link))

    async def _ask_dht(self, cid: Cid, lookup: _Lookup) -> None:
        try:
            async with aclosing(
                self._dht.find_providers(cid.multihash, timeout_s=LOOKUP_S)
            ) as records:
                async for record in records:
                    link = self._links.link(record.peer_id)
                    if link is not None:  # of whom is connected more is known
                        lookup.take(record_of_link(link))
                    else:
                        addresses = bounded_addresses(record.addresses)
                        lookup.take(RoutingRecord(record.peer_id, addresses))
        except MirrorError as exc:
            log.debug("DHT look-up failed cid=%s reason=%s", cid, exc)

    @contextmanager
    def _room(self) -> Iterator[None]:
        if self._running >= MAX_LOOKUPS:
            raise Busy
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1


def record_of_link(link: PeerLink) -> RoutingRecord:
    """Return the record of a connected peer, out of what it says about itself."""
    known = [link.address] if link.outbound else []
    addresses = bare_addresses((*known, *link.listen_addresses), link.peer_id)
    if reach_of(link.address) is not Reach.MACHINE:
        # A peer on another machine means its own loopback, which is not that of the asker.
        addresses = [address for address in addresses if reach_of(address) is not Reach.MACHINE]
    protocols = (BITSWAP,) if BITSWAP_PROTOCOL in link.protocols else ()
    return RoutingRecord(link.peer_id, bounded_addresses(addresses), protocols)

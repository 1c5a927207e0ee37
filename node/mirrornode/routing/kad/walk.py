"""Walks towards a key: sends what a `Lookup` wants asked and feeds it what comes back.

Also the one place where answers are believed: addresses in them are filtered by the link they came
over and remembered in the address book.

Driven by: `routing.kad.node`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING

from mirrornode.routing.kad.keys import kad_id, peer_kad_id
from mirrornode.routing.kad.lookup import Lookup
from mirrornode.routing.kad.records import ProviderRecord
from mirrornode.routing.kad.size import SizeEstimate
from mirrornode.wire.kad import KadMessage, MessageType

if TYPE_CHECKING:
    from mirrornode.routing.kad.addresses import AddressBook, AddressFilter
    from mirrornode.routing.kad.peers import KadPeers
    from mirrornode.routing.kad.ports import SwarmPort
    from mirrornode.routing.kad.settings import KadSettings
    from mirrornode.routing.kad.table import RoutingTable


class Walker:
    """Runs lookups that begin at a routing table."""

    def __init__(
        self,
        swarm: SwarmPort,
        peers: KadPeers,
        *,
        table: RoutingTable,
        book: AddressBook,
        address_filter: AddressFilter,
        settings: KadSettings,
    ) -> None:
        self.size = SizeEstimate()
        self.walks = 0  # to places, so far; not those for providers
        self._swarm = swarm
        self._peers = peers
        self._table = table
        self._book = book
        self._filter = address_filter
        self._settings = settings

    async def closest(self, key: bytes) -> list[str]:
        """Return the living peers found on a walk to `key`, the nearest first."""
        return (await self.explore(key))[0]

    async def explore(self, key: bytes) -> tuple[list[str], bool]:
        """As `closest`; also whether the walk came to its end: else somebody may be nearer."""
        lookup = self._lookup(key)
        query = KadMessage(MessageType.FIND_NODE, key)
        async with aclosing(self._walk(lookup, query, self._settings.lookup_timeout_s)) as answers:
            async for _ in answers:
                pass
        self.walks += 1
        found = lookup.closest()
        if lookup.finished:
            nearest = found[: self._settings.lookup.k]
            target = kad_id(key)
            distances = [peer_kad_id(peer) ^ target for peer in nearest]
            self.size.walked(distances, self._settings.lookup.k)
        return found, lookup.finished

    def answers(
        self, query: KadMessage, timeout_s: float
    ) -> AsyncGenerator[tuple[str, KadMessage], None]:
        """Yield `(peer id, answer)` on a walk to the query's key; close it to stop early."""
        return self._walk(self._lookup(query.key), query, timeout_s)

    def claims(self, teller: str, answer: KadMessage) -> Iterator[ProviderRecord]:
        """Yield the provider records in an answer, with the addresses that may be believed."""
        link_address = self._link_address(teller)
        for peer in answer.provider_peers:
            addresses = self._filter.select(peer.addresses, link_address)
            yield ProviderRecord(peer.peer_id, tuple(addresses) or self._book.get(peer.peer_id))

    def _lookup(self, key: bytes) -> Lookup:
        target = kad_id(key)
        limits = self._settings.lookup
        seeds = self._table.closest(target, limits.k)
        return Lookup(target, seeds, own_peer_id=self._swarm.peer_id, limits=limits)

    async def _walk(
        self, lookup: Lookup, query: KadMessage, timeout_s: float
    ) -> AsyncGenerator[tuple[str, KadMessage], None]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        asked: dict[asyncio.Task[KadMessage | None], str] = {}
        try:
            while not lookup.finished:
                for peer_id in lookup.next_queries():
                    asked[asyncio.create_task(self._peers.ask(peer_id, query))] = peer_id
                done, _ = await asyncio.wait(
                    asked,
                    timeout=max(0.0, deadline - loop.time()),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not done:
                    return
                for task in sorted(done, key=asked.__getitem__):
                    peer_id = asked.pop(task)
                    answer = task.result()
                    if answer is None:
                        lookup.failed(peer_id)
                        continue
                    lookup.answered(peer_id, self._reachable(peer_id, answer))
                    yield peer_id, answer
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    def _reachable(self, teller: str, answer: KadMessage) -> Iterator[str]:
        """Remember the addresses in an answer; yield the peers in it that can be reached."""
        link_address = self._link_address(teller)
        for peer in answer.closer_peers:
            if peer.peer_id == self._swarm.peer_id:
                continue
            self._book.add(peer.peer_id, self._filter.select(peer.addresses, link_address))
            if self._book.get(peer.peer_id) or self._swarm.link(peer.peer_id) is not None:
                yield peer.peer_id

    def _link_address(self, peer_id: str) -> str:
        link = self._swarm.link(peer_id)
        return link.address if link is not None else ""

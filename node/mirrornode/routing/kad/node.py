"""The DHT of one network, driven over a swarm: joins, answers, provides and finds.

The thin asyncio side of `lookup`, `table`, `records`, `values` and `server`, where the decisions
are made. It runs no announcement schedule (`routing.announce`) and does not look for its first
peer (`routing.nearby`, the swarm's bootstrap): it works with whom the swarm is linked to.

Spec: libp2p kad-dht; go-libp2p-kad-dht for what the spec leaves open.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from mirrornode.errors import LocalProtocolError, RemoteProtocolError
from mirrornode.routing.kad.addresses import AddressBook, bare_addresses
from mirrornode.routing.kad.diversity import IpDiversity
from mirrornode.routing.kad.keys import common_prefix_bits, peer_kad_id
from mirrornode.routing.kad.peers import KadPeers
from mirrornode.routing.kad.publish import Publisher
from mirrornode.routing.kad.records import ProviderRecord, ProviderStore
from mirrornode.routing.kad.refresh import Refresher
from mirrornode.routing.kad.rules import DhtRules, lan_rules
from mirrornode.routing.kad.server import MAX_CONTENT_KEY_BYTES, KadServer
from mirrornode.routing.kad.table import K, RoutingTable
from mirrornode.routing.kad.value_exchange import ValueExchange
from mirrornode.routing.kad.values import ValueStore
from mirrornode.routing.kad.walk import Walker
from mirrornode.wire.kad import KadMessage, MessageType, decode_message, encode_message
from mirrornode.wire.peer_id import peer_id_to_bytes

if TYPE_CHECKING:
    from mirrornode.routing.kad.ports import Link, SwarmPort
    from mirrornode.routing.kad.settings import KadSettings
    from mirrornode.wire.ipns import IpnsRecord

__all__ = ["Kad", "ProviderRecord"]

log = logging.getLogger(__name__)

REDIALS = 3  # known peers dialled at a time when nobody is linked


class Kad:
    """One DHT.

    Args:
        swarm: Carries messages; the protocol is served on it from now on.
        rules: Which network's DHT; None for that of LANs.
        clock: Monotonic seconds.
        unix_clock: Unix seconds, by which values run out.
        rng: Source of refresh targets and jitter.
        settings: Times and bounds, instead of those of the rules.
        serve: False makes a client: it asks, but nobody asks it or keeps records with it.
    """

    def __init__(
        self,
        swarm: SwarmPort,
        *,
        rules: DhtRules | None = None,
        clock: Callable[[], float] = time.monotonic,
        unix_clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        settings: KadSettings | None = None,
        serve: bool = True,
    ) -> None:
        self._swarm = swarm
        self._rules = rules = rules or lan_rules(swarm.addresses)
        self._clock = clock
        self._filter = rules.addresses
        self._rng = rng or random.Random()
        self._settings = settings or rules.settings
        self._table = RoutingTable(peer_kad_id(swarm.peer_id))
        self._diversity = IpDiversity(rules.groups)
        self._book = AddressBook(max_peers=rules.max_known)
        self._records = ProviderStore(self._settings.records)
        self._values = ValueStore(self._settings.values, unix_clock)
        self._server = KadServer(
            swarm.peer_id,
            table=self._table,
            book=self._book,
            records=self._records,
            values=self._values,
            address_filter=self._filter,
            own_addresses=self._own_addresses,
            is_connected=lambda peer_id: swarm.link(peer_id) is not None,
        )
        self._peers = KadPeers(
            swarm,
            rules,
            book=self._book,
            settings=self._settings,
            clock=clock,
            alive=self._offer,
            failed=self.remove_peer,
        )
        self._walker = Walker(
            swarm,
            self._peers,
            table=self._table,
            book=self._book,
            address_filter=self._filter,
            settings=self._settings,
        )
        self._refresher = Refresher(
            swarm.peer_id,
            self._table,
            self._walker,
            network=rules.name,
            clock=clock,
            rng=self._rng,
            settings=self._settings,
        )
        self._publisher = Publisher(
            swarm.peer_id,
            self._peers,
            self._walker,
            everybody=self._everybody,
            address_filter=self._filter,
            own_addresses=self._own_addresses,
            clock=clock,
            settings=self._settings,
        )
        self._exchange = ValueExchange(
            swarm.peer_id,
            self._peers,
            self._walker,
            store=self._values,
            everybody=self._everybody,
            clock=clock,
            unix_clock=unix_clock,
            settings=self._settings,
        )
        self._linked_servers: set[str] = set()
        self._populated = asyncio.Event()  # set while the table holds a peer
        self._newcomer_callbacks: list[Callable[[str], None]] = []
        self.is_server = False
        if serve:
            self.start_serving()

    @property
    def network(self) -> str:
        """The name of the network: "lan" or "public"."""
        return self._rules.name

    @property
    def peer_id(self) -> str:
        """Who we are."""
        return self._swarm.peer_id

    @property
    def table_size(self) -> int:
        """How many DHT servers are in the routing table."""
        return len(self._table)

    @property
    def record_count(self) -> int:
        """How many keys we keep provider records of for others."""
        return len(self._records)

    @property
    def network_servers(self) -> int:
        """About how many servers the network has; 0 when that is not known yet."""
        return self._walker.size.servers

    @property
    def value_count(self) -> int:
        """How many values we keep, our own among them."""
        return len(self._values)

    @property
    def walk_count(self) -> int:
        """How many walks to a place there were so far."""
        return self._walker.walks

    def remember_servers(self, count: int) -> None:
        """Take what the size of the network was estimated at before a restart."""
        self._walker.size.remember(count)

    @property
    def answer_count(self) -> int:
        """How many sensible answers peers have given; standing still, the network is away."""
        return self._peers.answers

    def start_serving(self) -> None:
        """Answer others and keep their records from now on; nothing if that is so already."""
        if not self.is_server:
            self.is_server = True
            self._swarm.serve(self._rules.protocol, self._respond)

    async def run(self) -> None:
        """Keep table and records fresh until cancelled."""
        unsubscribe = (
            self._swarm.on_peer(self._link_up),
            self._swarm.on_peer_gone(self._link_down),
        )
        try:
            for link in self._swarm.links():
                self._link_up(link)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._refresher.run())
                group.create_task(self._reoffer_loop())
                group.create_task(self._sweep_loop())
                group.create_task(self._exchange.run())
        finally:
            for end in unsubscribe:
                end()

    async def wait_for_peers(self) -> None:
        """Return as soon as the routing table holds a peer."""
        await self._populated.wait()

    def on_newcomer(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call back with the peer id whenever a DHT server gets linked; returns the unsubscribe."""
        self._newcomer_callbacks.append(callback)
        return lambda: self._newcomer_callbacks.remove(callback)

    def add_peer(self, peer_id: str) -> bool:
        """Put a DHT server into the table; return whether it is in now."""
        was_empty = not len(self._table)
        bucket = common_prefix_bits(self._table.own_id, peer_kad_id(peer_id))
        if not self._diversity.admit(peer_id, bucket, self._book.get(peer_id)):
            return False
        is_in = self._table.add(peer_id)
        if not is_in:
            self._diversity.remove(peer_id)
        else:
            self._populated.set()
            if was_empty:
                self._refresher.joined()
        return is_in

    def remove_peer(self, peer_id: str) -> None:
        """Take a peer out of the table; its addresses are kept for another try."""
        self._table.remove(peer_id)
        self._diversity.remove(peer_id)
        if not len(self._table):
            self._populated.clear()

    def hold(self, multihashes: Iterable[bytes]) -> None:
        """Answer that we have these, without telling anybody yet."""
        self._server.own_keys.update(_check_key(key) for key in multihashes)

    def withdraw(self, multihashes: Iterable[bytes]) -> None:
        """Stop answering that we have these; records at other peers run out by themselves."""
        self._server.own_keys.difference_update(multihashes)

    async def provide(self, multihash: bytes) -> int:
        """Tell the peers nearest to `multihash` that we have it; see `provide_many`."""
        return (await self.provide_many([multihash]))[0]

    async def provide_many(self, multihashes: Sequence[bytes]) -> list[int]:
        """Tell the peers nearest to each multihash that we have it, cheaply for up to hundreds.

        Returns:
            For each, how many peers keep the record as far as can be known: those it was sent to,
            less those that fail or that deny having the one asked for. 0 when nobody is there.
        """
        self.hold(multihashes)
        if not len(self._table):
            return [0] * len(multihashes)
        return await self._publisher.publish(multihashes)

    async def send_records(self, peer_id: str, multihashes: Sequence[bytes]) -> bool:
        """Send our provider records to one peer; return whether it keeps them, by a sample."""
        return await self._publisher.send_records(peer_id, multihashes)

    async def put_value(self, key: bytes, value: bytes) -> int:
        """Give an IPNS record to the peers nearest to its key; return how many keep it.

        Raises:
            LocalProtocolError: No valid record of that key, or older than what is known here.
        """
        return await self._exchange.put(key, value)

    async def get_value(self, key: bytes, *, timeout_s: float = 10.0) -> IpnsRecord | None:
        """Return the newest valid IPNS record under `key`, None when nobody asked has one."""
        return await self._exchange.get(key, timeout_s)

    async def find_providers(
        self, multihash: bytes, *, count: int = 20, timeout_s: float = 30.0
    ) -> AsyncGenerator[ProviderRecord, None]:
        """Yield providers of `multihash` as they are found, each peer once, never ourselves.

        Ends after `count`, after `timeout_s` seconds, or when the peers nearest to the key have
        answered. Of one answer only a part is yielded at once, the rest at the end, so that one
        liar cannot fill the count. A record without addresses means that none is known.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        at_once = max(4, count // 4)
        seen = {self._swarm.peer_id}
        held_back: dict[str, ProviderRecord] = {}
        for record in self._records.get(_check_key(multihash), self._clock()):
            if len(seen) <= count:
                seen.add(record.peer_id)
                yield record
        query = KadMessage(MessageType.GET_PROVIDERS, multihash)
        async with aclosing(self._walker.answers(query, timeout_s)) as answers:
            async for teller, answer in answers:
                fresh = 0
                for record in self._walker.claims(teller, answer):
                    if record.peer_id in seen:
                        continue
                    if fresh == at_once or not record.addresses:
                        if record.addresses or record.peer_id not in held_back:
                            held_back[record.peer_id] = record
                        continue
                    if len(seen) > count:
                        return
                    fresh += 1
                    seen.add(record.peer_id)
                    yield record
        for record in held_back.values():
            if len(seen) > count:
                return
            if record.peer_id in seen:
                continue
            seen.add(record.peer_id)
            if not record.addresses and (left_s := deadline - loop.time()) > 0:
                found = await self.find_peer(record.peer_id, timeout_s=left_s)
                record = ProviderRecord(record.peer_id, tuple(found))
            yield record

    async def find_peer(self, peer_id: str, *, timeout_s: float = 10.0) -> list[str]:
        """Return multiaddrs (without /p2p) of a peer; empty when nobody knows it.

        Raises:
            TargetError: Not a peer id.
        """
        key = peer_id_to_bytes(peer_id)
        if self._swarm.link(peer_id) is not None and self._book.get(peer_id):
            return list(self._book.get(peer_id))
        query = KadMessage(MessageType.FIND_NODE, key)
        async with aclosing(self._walker.answers(query, timeout_s)) as answers:
            async for _, answer in answers:
                if any(peer.peer_id == peer_id for peer in answer.closer_peers) and (
                    addresses := self._book.get(peer_id)
                ):
                    return list(addresses)
        return list(self._book.get(peer_id))

    async def closest_peers(self, key: bytes) -> list[ProviderRecord]:
        """Return the k servers nearest to a key, the nearest first; never ourselves.

        Args:
            key: A multihash or a binary peer id.
        """
        found = await self._walker.closest(key)
        return [ProviderRecord(peer, self._book.get(peer)) for peer in found[:K]]

    async def refresh(self, *, only_near: bool = False) -> None:
        """Look ourselves up and, unless `only_near`, a random key at each distance with peers."""
        await self._refresher.refresh(only_near=only_near)

    # Links and the table

    def _link_up(self, link: Link) -> None:
        self._peers.forgive(link.peer_id)
        self._offer(link)
        if self._belongs(link) and link.peer_id not in self._linked_servers:
            self._linked_servers.add(link.peer_id)
            for callback in tuple(self._newcomer_callbacks):
                callback(link.peer_id)

    def _link_down(self, peer_id: str) -> None:
        self._linked_servers.discard(peer_id)
        self._peers.link_ended(peer_id)
        if not self._rules.keeps_unlinked:
            self.remove_peer(peer_id)

    def _offer(self, link: Link) -> None:
        known = [link.address] if link.outbound else []
        addresses = bare_addresses((*known, *link.listen_addresses), link.peer_id)
        self._book.add(link.peer_id, self._filter.select(addresses, link.address))
        if self._belongs(link):
            self.add_peer(link.peer_id)
        else:
            self.remove_peer(link.peer_id)  # it may have become a client

    def _belongs(self, link: Link) -> bool:
        """Tell whether a linked peer is a server of this network."""
        rules = self._rules
        return (
            rules.protocol in link.protocols
            and rules.addresses.covers(link.address)
            and (not rules.needs_address or bool(self._book.get(link.peer_id)))
        )

    def _everybody(self) -> list[str] | None:
        """Return all servers of a small network; a table that takes few of a group misses some."""
        return None if self._rules.keeps_unlinked else self._refresher.everybody()

    def _own_addresses(self) -> list[str]:
        return bare_addresses(self._swarm.addresses(), self._swarm.peer_id)

    async def _respond(self, peer_id: str, request: bytes) -> bytes | None:
        link = self._swarm.link(peer_id)
        if link is not None and not self._filter.covers(link.address):
            log.debug("dht request refused network=%s peer=%s: not of it", self.network, peer_id)
            return None
        try:
            message = decode_message(request)
            answer = self._server.answer(
                peer_id, link.address if link is not None else "", message, self._clock()
            )
        except RemoteProtocolError as exc:
            log.debug(
                "dht request refused network=%s peer=%s reason=%s", self.network, peer_id, exc
            )
            return None
        if link is not None:
            self._peers.forgive(peer_id)
            if peer_id not in self._table:  # else offered before, and again whenever it changes
                self._offer(link)
        return encode_message(answer) if answer is not None else None

    # Upkeep

    async def _reoffer_loop(self) -> None:
        """Bring linked peers back that once failed, and redial when nobody is linked."""
        while True:
            await asyncio.sleep(self._settings.retry_s)
            for link in self._swarm.links():
                if not self._peers.is_shunned(link.peer_id):
                    self._offer(link)
            if not len(self._table):
                known = [peer for peer in self._book if not self._peers.is_shunned(peer)]
                chosen = self._rng.sample(known, min(REDIALS, len(known)))
                ping = KadMessage(MessageType.PING)
                await asyncio.gather(*(self._peers.ask(peer, ping) for peer in chosen))

    async def _sweep_loop(self) -> None:
        while True:
            await asyncio.sleep(self._settings.sweep_s)
            for store in (self._records, self._values):
                for _ in store.sweep(self._clock()):
                    await asyncio.sleep(0)


def _check_key(multihash: bytes) -> bytes:
    if not 0 < len(multihash) <= MAX_CONTENT_KEY_BYTES:
        raise LocalProtocolError(f"a content key of {len(multihash)} bytes")
    return multihash

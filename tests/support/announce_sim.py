"""The real announcer and DHT client against thousands of virtual servers, in virtual time.

Everything of ours is real: catalog, announcer, sweep plan, exploration, walks, messages. A virtual
server answers from a Kademlia table with 20 random peers a bucket and keeps records; a share of
the servers may be dead, but still in the tables of the others. A dial takes 0.2 s, an answer 0.1 s,
a dead server 5 s.

    python -m support.announce_sim --servers 10000 --keys 100000 [--dead 0.1]
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import heapq
import random
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mirrornode.errors import SourceGone, SourceTooSlow
from mirrornode.routing.announce import Announcer, AnnounceSettings
from mirrornode.routing.announcing import PUBLIC_SETTINGS
from mirrornode.routing.kad.keys import KEY_BITS, kad_id, peer_kad_id
from mirrornode.routing.kad.node import Kad
from mirrornode.routing.kad.ports import Link, Responder
from mirrornode.routing.kad.rules import PUBLIC_KAD_PROTOCOL, public_rules
from mirrornode.routing.kad.settings import KadSettings
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.wire.kad import KadMessage, KadPeer, MessageType, decode_message, encode_message
from support.dht_room import multihash_of
from support.virtual_swarm import VirtualLink, make_peer_id
from support.virtual_time import run_virtual

K = 20
DIAL_S, ANSWER_S, DEAD_S = 0.2, 0.1, 5.0
EPOCH = 1_700_000_000.0  # unix seconds at virtual time 0
NO_REFRESH = KadSettings(refresh_s=1e8)  # so that all walks after the first are for announcing


_decoded_once = lru_cache(maxsize=65536)(decode_message)  # twenty servers get each record


@dataclass(slots=True)
class Traffic:
    """What the node has sent so far."""

    dials: int = 0
    requests: int = 0  # messages that are answered
    records: int = 0  # ADD_PROVIDER, which is not

    def since(self, before: Traffic) -> Traffic:
        return Traffic(
            self.dials - before.dials,
            self.requests - before.requests,
            self.records - before.records,
        )


class Server:
    """One virtual DHT server."""

    def __init__(self, net: Internet, number: int, *, is_dead: bool) -> None:
        self._net = net
        self.peer_id = make_peer_id(f"server {number}")
        self.place = peer_kad_id(self.peer_id)
        self.address = f"/ip4/{11 + number % 80}.{number // 80 % 250}.{number // 20_000}.1/tcp/4001"
        self.entry = KadPeer(self.peer_id, (self.address,))
        self.is_dead = is_dead
        self.kept: set[bytes] = set()
        self._table: list[tuple[int, Server]] | None = None

    def answer(self, asker: KadPeer, message: KadMessage) -> KadMessage | None:
        if message.type is MessageType.ADD_PROVIDER:
            self.kept.add(message.key)
            return None
        target = kad_id(message.key)
        if self._table is None:
            self._table = self._net.table_of(self)
        nearest = heapq.nsmallest(
            K, ((place ^ target, peer.peer_id, peer) for place, peer in self._table)
        )
        holders = (asker,) if message.key in self.kept else ()
        closer = tuple(peer.entry for _, _, peer in nearest)
        return KadMessage(message.type, message.key, closer, holders)


class Internet:
    """All servers, by place."""

    def __init__(self, servers: int, *, dead_share: float, seed: int) -> None:
        rng = random.Random(seed)
        everybody = [
            Server(self, number, is_dead=rng.random() < dead_share) for number in range(servers)
        ]
        self._rng = rng
        self.servers = {server.peer_id: server for server in everybody}
        self._ordered = sorted(everybody, key=lambda server: server.place)
        self._places = [server.place for server in self._ordered]
        self._living = [server for server in self._ordered if not server.is_dead]
        self._living_places = [server.place for server in self._living]

    @property
    def living(self) -> Sequence[Server]:
        return self._living

    def table_of(self, owner: Server) -> list[tuple[int, Server]]:
        """Return a filled Kademlia table: up to 20 random peers of each distance."""
        table: list[Server] = []
        for bits in range(KEY_BITS):
            shift = KEY_BITS - 1 - bits
            start = (owner.place >> shift ^ 1) << shift
            low = bisect_left(self._places, start)
            high = bisect_left(self._places, start + (1 << shift))
            bucket = self._ordered[low:high]
            table += bucket if len(bucket) <= K else self._rng.sample(bucket, K)
            own = owner.place >> shift << shift
            if bisect_left(self._places, own + (1 << shift)) - bisect_left(self._places, own) <= 1:
                break  # nobody is nearer
        return [(server.place, server) for server in table]

    def closest(self, place: int) -> list[Server]:
        """Return the 20 living servers that are nearest to a place."""
        bits = KEY_BITS
        while True:
            shift = KEY_BITS - bits
            start = place >> shift << shift
            low = bisect_left(self._living_places, start)
            high = bisect_left(self._living_places, start + (1 << shift))
            if high - low >= K or not bits:
                near = self._living[low:high]
                return heapq.nsmallest(K, near, key=lambda server: server.place ^ place)
            bits -= 1


class ClientSwarm:
    """The one real node's swarm."""

    def __init__(self, net: Internet) -> None:
        self.traffic = Traffic()
        self.peer_id = make_peer_id("us")
        self._net = net
        self._entry = KadPeer(self.peer_id, ("/ip4/99.0.0.1/tcp/4101",))
        self._links: dict[str, VirtualLink] = {}
        self._up: list[Callable[[Link], None]] = []
        self._down: list[Callable[[str], None]] = []

    def addresses(self) -> list[str]:
        return [f"{self._entry.addresses[0]}/p2p/{self.peer_id}"]

    async def dial(self, peer_id: str, addresses: Sequence[str], *, timeout_s: float = 10) -> None:
        if peer_id in self._links:
            return
        self.traffic.dials += 1
        server = self._net.servers[peer_id]
        if server.is_dead:
            await asyncio.sleep(DEAD_S)
            raise SourceTooSlow("dial timed out", source_id=peer_id)
        await asyncio.sleep(DIAL_S)
        protocols = frozenset({PUBLIC_KAD_PROTOCOL})
        listen = (server.address,)
        link = self._links[peer_id] = VirtualLink(peer_id, listen[0], protocols, True, listen)
        for callback in tuple(self._up):
            callback(link)

    async def disconnect(self, peer_id: str) -> None:
        if self._links.pop(peer_id, None) is not None:
            for callback in tuple(self._down):
                callback(peer_id)

    async def request(
        self,
        peer_id: str,
        protocol: str,
        payload: bytes,
        *,
        ahead: Sequence[bytes] = (),
        timeout_s: float = 10,
        max_response_bytes: int = 4 << 20,
    ) -> bytes:
        if peer_id not in self._links:
            raise SourceGone("not connected", source_id=peer_id)
        server = self._net.servers[peer_id]
        self.traffic.requests += 1
        self.traffic.records += len(ahead)
        await asyncio.sleep(ANSWER_S)
        for message in ahead:
            server.answer(self._entry, _decoded_once(message))
        answer = server.answer(self._entry, decode_message(payload))
        assert answer is not None
        return encode_message(answer)

    def serve(
        self,
        protocol: str,
        responder: Responder,
        *,
        max_request_bytes: int = 64 << 10,
        max_concurrent: int = 64,
    ) -> None:
        raise AssertionError("a client serves nothing")

    def links(self) -> list[VirtualLink]:
        return list(self._links.values())

    def link(self, peer_id: str) -> VirtualLink | None:
        return self._links.get(peer_id)

    def on_peer(self, callback: Callable[[Link], None]) -> Callable[[], None]:
        self._up.append(callback)
        return lambda: self._up.remove(callback)

    def on_peer_gone(self, callback: Callable[[str], None]) -> Callable[[], None]:
        self._down.append(callback)
        return lambda: self._down.remove(callback)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What announcing `keys` keys took."""

    keys: int
    look_ups: int
    traffic: Traffic
    seconds: float
    reached: float  # of the 20 nearest living servers of each key, the share that has its record

    def __str__(self) -> str:
        traffic = self.traffic
        return (
            f"{self.keys} keys: {self.look_ups} look-ups, {traffic.requests} requests, "
            f"{traffic.records} records, {traffic.dials} dials, {self.seconds / 3600:.1f} h of "
            f"virtual time, {self.reached:.2%} of the records at the 20 nearest"
        )


def _reached(net: Internet, keys: Sequence[bytes]) -> float:
    hits = sum(key in server.kept for key in keys for server in net.closest(kad_id(key)))
    return hits / sum(min(K, len(net.living)) for _ in keys)


class _Meter:
    """Measures from one moment to another."""

    def __init__(self, kad: Kad, swarm: ClientSwarm) -> None:
        self._kad, self._swarm = kad, swarm
        self._walks = kad.walk_count
        self._traffic = dataclasses.replace(swarm.traffic)
        self._began = asyncio.get_running_loop().time()

    def outcome(self, net: Internet, keys: Sequence[bytes]) -> Outcome:
        return Outcome(
            len(keys),
            self._kad.walk_count - self._walks,
            self._swarm.traffic.since(self._traffic),
            asyncio.get_running_loop().time() - self._began,
            _reached(net, keys),
        )


async def _joined(
    net: Internet, group: asyncio.TaskGroup, settings: KadSettings
) -> tuple[Kad, ClientSwarm, asyncio.Task[None]]:
    swarm = ClientSwarm(net)
    loop = asyncio.get_running_loop()
    kad = Kad(
        swarm,
        rules=public_rules(settings),
        clock=loop.time,
        rng=random.Random(1),
        serve=False,
    )
    run = group.create_task(kad.run())
    await asyncio.sleep(0)
    first = net.living[0]
    await swarm.dial(first.peer_id, [first.address])
    await asyncio.sleep(60)
    return kad, swarm, run


async def sweep(
    net: Internet,
    catalog: Catalog,
    keys: Sequence[bytes],
    hours: float,
    settings: AnnounceSettings = PUBLIC_SETTINGS,
) -> list[Outcome]:
    """Announce all keys for the first time, then go on for `hours`; return what each took."""
    outcomes: list[Outcome] = []
    queue = catalog.public_announcements()
    loop = asyncio.get_running_loop()

    def clock() -> float:
        return EPOCH + loop.time()

    async with asyncio.TaskGroup() as group:
        kad, swarm, run = await _joined(net, group, NO_REFRESH)
        catalog.enqueue_announcements(keys)
        announcer = Announcer(
            kad, queue, catalog, clock=clock, rng=random.Random(2), settings=settings
        )
        meter = _Meter(kad, swarm)
        announcing = group.create_task(announcer.run())
        while queue.announce_counts(clock())[2] < len(keys):  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(60)
        outcomes.append(meter.outcome(net, keys))
        if hours:
            for server in net.living:
                server.kept.clear()
            meter = _Meter(kad, swarm)
            await asyncio.sleep(hours * 3600)
            outcomes.append(meter.outcome(net, keys))
        announcing.cancel()
        run.cancel()
    return outcomes


async def one_by_one(net: Internet, keys: Sequence[bytes]) -> Outcome:
    """Announce with a look-up of its own for each key."""
    async with asyncio.TaskGroup() as group:
        settings = dataclasses.replace(NO_REFRESH, cover_s=0.0)
        kad, swarm, run = await _joined(net, group, settings)
        meter = _Meter(kad, swarm)
        for key in keys:
            await kad.provide(key)
        outcome = meter.outcome(net, keys)
        run.cancel()
    return outcome


def main() -> None:
    """Run the simulation that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=10_000)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--dead", type=float, default=0.0, help="share of dead servers")
    parser.add_argument("--sample", type=int, default=200, help="keys announced one by one")
    parser.add_argument("--hours", type=float, default=24.0, help="of repetitions, 0 for none")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    keys = [multihash_of(f"root {number}") for number in range(options.keys)]
    began = time.process_time()
    net = Internet(options.servers, dead_share=options.dead, seed=options.seed)
    with tempfile.TemporaryDirectory() as home, open_catalog(Path(home)) as catalog:
        outcomes = run_virtual(sweep(net, catalog, keys, options.hours))
    sys.stdout.write(f"swept, first time: {outcomes[0]}\n")
    if options.hours:
        sys.stdout.write(f"swept, the next {options.hours:g} h: {outcomes[1]}\n")
    sys.stdout.write(f"processor time {time.process_time() - began:.0f} s\n")
    net = Internet(options.servers, dead_share=options.dead, seed=options.seed)
    alone = run_virtual(one_by_one(net, keys[: options.sample]))
    sys.stdout.write(f"one by one, a sample: {alone}\n")


if __name__ == "__main__":
    main()

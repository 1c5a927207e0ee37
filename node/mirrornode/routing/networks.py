"""The DHTs of this node: that of the local network, and in public mode the public one beside it.

Who looks for something asks both and takes what comes first; what each knows stays its own: no
address, no peer and no record of one is passed to the other. Of the public one a node is a client
until somebody on the internet has reached it, because servers that nobody can dial only cost
others time; it joins by its bootstrap peers whenever it knows nobody.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from mirrornode.errors import MirrorError
from mirrornode.routing.kad.addresses import Reach, reach_of
from mirrornode.routing.kad.keys import kad_id, peer_kad_id
from mirrornode.routing.kad.node import Kad, ProviderRecord
from mirrornode.routing.kad.rules import lan_rules, public_rules
from mirrornode.routing.kad.table import K
from mirrornode.swarm.settings import parse_bootstrap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirrornode.config import SwarmConfig
    from mirrornode.routing.kad.ports import Link, SwarmPort
    from mirrornode.wire.ipns import IpnsRecord

log = logging.getLogger(__name__)

FIRST_REJOIN_S = 5.0  # between two rounds of dialling the bootstrap peers; doubles
LAST_REJOIN_S = 300.0
JOINED_CHECK_S = 30.0  # how often a node that knows peers looks whether it still does


class Networks:
    """One or two DHTs over one swarm, asked together.

    Args:
        swarm: Carries both.
        lan: The local network's.
        public: The public one, None outside public mode.
        bootstrap: Peers of the public one by id, with their multiaddrs.
    """

    def __init__(
        self,
        swarm: SwarmPort,
        lan: Kad,
        public: Kad | None = None,
        *,
        bootstrap: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.lan = lan
        self.public = public
        self._swarm = swarm
        self._bootstrap = bootstrap or {}

    @property
    def table_size(self) -> int:
        """How many DHT servers are in the routing tables together."""
        return sum(kad.table_size for kad in self.all)

    @property
    def all(self) -> tuple[Kad, ...]:
        """Those there are, the nearer first."""
        return (self.lan,) if self.public is None else (self.lan, self.public)

    async def run(self, *, becomes_server: bool = True) -> None:
        """Keep the DHTs alive until cancelled.

        Args:
            becomes_server: Whether to serve the public DHT once somebody has reached us.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self.lan.run())
            if self.public is not None:
                group.create_task(self.public.run())
                group.create_task(self._keep_joined(self.public))
                if becomes_server:
                    group.create_task(self._serve_when_reached(self.public))

    async def wait_for_peers(self) -> None:
        """Return as soon as one of the routing tables holds a peer."""
        waits = [asyncio.create_task(kad.wait_for_peers()) for kad in self.all]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def find_providers(
        self, multihash: bytes, *, count: int = 20, timeout_s: float = 30.0
    ) -> AsyncGenerator[ProviderRecord, None]:
        """Yield providers as any of the DHTs finds them; see `Kad.find_providers`.

        A peer that both know may come twice, with the addresses of each.
        """
        found: asyncio.Queue[ProviderRecord | None] = asyncio.Queue()  # at most `count` of each

        async def ask(kad: Kad) -> None:
            try:
                records = kad.find_providers(multihash, count=count, timeout_s=timeout_s)
                async with aclosing(records):
                    async for record in records:
                        found.put_nowait(record)
            finally:
                found.put_nowait(None)

        asking = [asyncio.create_task(ask(kad)) for kad in self.all]
        try:
            seen: set[ProviderRecord] = set()
            ended = 0
            while ended < len(asking):
                record = await found.get()
                if record is None:
                    ended += 1
                elif record not in seen:
                    seen.add(record)
                    yield record
            for task in asking:
                task.result()
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def find_peer(self, peer_id: str, *, timeout_s: float = 10.0) -> list[str]:
        """Return what any of the DHTs knows of a peer's multiaddrs; see `Kad.find_peer`."""
        asked = (kad.find_peer(peer_id, timeout_s=timeout_s) for kad in self.all)
        found = await asyncio.gather(*asked)
        return list(dict.fromkeys(address for addresses in found for address in addresses))

    async def closest_peers(self, key: bytes) -> list[ProviderRecord]:
        """Return the k servers nearest to a key in the DHTs together; see `Kad.closest_peers`."""
        found = await asyncio.gather(*(kad.closest_peers(key) for kad in self.all))
        by_peer = {record.peer_id: record for records in reversed(found) for record in records}
        place = kad_id(key)
        return heapq.nsmallest(
            K, by_peer.values(), key=lambda record: peer_kad_id(record.peer_id) ^ place
        )

    async def put_value(self, key: bytes, value: bytes) -> int:
        """Give a value to every DHT; return how many peers keep it.

        Raises:
            LocalProtocolError: See `Kad.put_value`.
        """
        return sum(await asyncio.gather(*(kad.put_value(key, value) for kad in self.all)))

    async def get_value(self, key: bytes, *, timeout_s: float = 10.0) -> IpnsRecord | None:
        """Return the newest record that any of the DHTs has; None when none has any."""
        asked = (kad.get_value(key, timeout_s=timeout_s) for kad in self.all)
        found = [record for record in await asyncio.gather(*asked) if record is not None]
        return max(found, key=lambda record: record.rank, default=None)

    def status(self) -> dict[str, dict[str, Any]]:
        """Return how each DHT is doing, by the network's name."""
        return {
            kad.network: {
                "mode": "server" if kad.is_server else "client",
                "peers": kad.table_size,
                "records": kad.record_count,
                "network_servers": kad.network_servers,
            }
            for kad in self.all
        }

    async def _keep_joined(self, kad: Kad) -> None:
        """Dial the bootstrap peers whenever nobody is known."""
        pause_s = FIRST_REJOIN_S
        while True:
            if kad.table_size:
                pause_s = FIRST_REJOIN_S
                await asyncio.sleep(JOINED_CHECK_S)
                continue
            for peer_id, addresses in self._bootstrap.items():
                if peer_id != self._swarm.peer_id:
                    await self._dial(peer_id, addresses)
            if await _within(pause_s, kad.wait_for_peers()):
                log.info("dht joined network=%s", kad.network)
            elif self._bootstrap:
                log.info("dht not joined network=%s: no bootstrap peer answers", kad.network)
                pause_s = min(2 * pause_s, LAST_REJOIN_S)

    async def _dial(self, peer_id: str, addresses: tuple[str, ...]) -> None:
        try:
            await self._swarm.dial(peer_id, addresses)
        except MirrorError as exc:
            log.debug("bootstrap peer not reached peer=%s reason=%s", peer_id, exc)

    async def _serve_when_reached(self, kad: Kad) -> None:
        """Become a server once a peer from the internet has dialled our public address."""
        reached = asyncio.Event()

        def look(link: Link) -> None:
            is_from_far = not link.outbound and reach_of(link.address) is Reach.WORLD
            if is_from_far and any(reach_of(own) is Reach.WORLD for own in self._swarm.addresses()):
                reached.set()

        unsubscribe = self._swarm.on_peer(look)
        try:
            for link in self._swarm.links():
                look(link)
            await reached.wait()
        finally:
            unsubscribe()
        if not kad.is_server:
            log.info("dht serves network=%s: we were reached from there", kad.network)
            kad.start_serving()


def make_networks(swarm: SwarmPort, config: SwarmConfig, *, serve: bool) -> Networks:
    """Return the DHTs that the settings ask for, not running yet.

    Args:
        swarm: Carries them.
        config: `mode`, `public_server` and `public_bootstrap` are used here.
        serve: False for a node that lives for one command: a client everywhere.

    Raises:
        ConfigError: A bootstrap address is malformed.
    """
    is_public = config.mode == "public"
    lan = Kad(swarm, rules=lan_rules(swarm.addresses, beside_public=is_public), serve=serve)
    if not is_public:
        return Networks(swarm, lan)
    bootstrap = parse_bootstrap(config.public_bootstrap, "swarm.public_bootstrap")
    public = Kad(swarm, rules=public_rules(), serve=serve and config.public_server)
    return Networks(swarm, lan, public, bootstrap=bootstrap)


async def _within(timeout_s: float, waiting: Coroutine[Any, Any, None]) -> bool:
    """Wait for something; return whether it came in time."""
    try:
        async with asyncio.timeout(timeout_s):
            await waiting
    except TimeoutError:
        return False
    return True

"""Who has a target: connected peers first, the DHT and delegated routers, and whoever turns up.

A found peer has shown a ticket that says it holds one of the roots, or, being another IPFS node,
has said that it has the root's block; finding goes on until the caller stops asking, because on a
LAN the best source may be switched on a minute later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mirrornode.errors import MirrorError, TargetError
from mirrornode.swarm.peer_ports import RequestPort
from mirrornode.wire import ticket as tickets
from mirrornode.wire.multiaddr import ip_of

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.routing.delegated import Provider
    from mirrornode.routing.kad.node import ProviderRecord
    from mirrornode.swarm.node import PeerLink
    from mirrornode.wire.ticket import Ticket

log = logging.getLogger(__name__)

ASK_TIMEOUT_S = 10.0
MEET_TIMEOUT_S = 5.0  # for peers that the user named and that do not answer
IDENTIFY_S = 1.0  # a dialled peer says within that what it speaks
DHT_TIMEOUT_S = 20.0
DHT_AGAIN_S = 5.0  # between two rounds of asking the DHT
ASK_AGAIN_S = 3.0  # between two rounds of asking connected peers that had nothing
MAX_DHT_ROOTS = 4  # roots looked up in the DHT; peers found there are asked about all
MAX_ASKING = 16
ROUTERS_AGAIN_S = 15.0  # between two rounds of asking delegated routers
MAX_ROUTER_DIALS = 16  # peers that one round may send us to
MAX_ROUTER_ADDRESSES = 256  # different ones, dialled in one search because routers named them
GATEWAY_AFTER_S = 2.0  # a provider's gateway is used when no ticket has come by then
FRESH_S = 2.5  # a node that has run for longer and knows no DHT peer need not wait for one
ASK_BACK_S = 0.5  # between two questions to a peer that asks us for the same


class SwarmPort(RequestPort, Protocol):
    """What finding needs of the swarm."""

    @property
    def peer_id(self) -> str: ...
    def links(self) -> list[PeerLink]: ...
    def link(self, peer_id: str) -> PeerLink | None: ...
    def round_trip_s(self, peer_id: str) -> float | None: ...
    def on_peer(self, callback: Callable[[PeerLink], None]) -> Callable[[], None]: ...
    async def dial(
        self, peer_id: str, addresses: Sequence[str], *, timeout_s: float = 10
    ) -> None: ...


class DhtPort(Protocol):
    """What finding needs of the DHT."""

    async def wait_for_peers(self) -> None: ...

    def find_providers(
        self, multihash: bytes, *, count: int = 20, timeout_s: float = 30.0
    ) -> AsyncIterator[ProviderRecord]: ...


class RoutersPort(Protocol):
    """What finding needs of delegated routers."""

    def find_providers(self, cid: Cid) -> AsyncGenerator[Provider, None]: ...
    async def find_peer(self, peer_id: str) -> Sequence[str]: ...


class BlockAsker(Protocol):
    """Asks peers that have no tickets: other IPFS nodes, which exchange blocks."""

    @property
    def protocols(self) -> Sequence[str]: ...

    async def ask(self, peer_id: str, cids: Sequence[Cid]) -> Sequence[Cid]: ...


@dataclass(frozen=True, slots=True)
class Found:
    """A peer with a ticket that holds at least one of the asked roots."""

    peer_id: str
    ticket: Ticket
    near_host: str  # the IP address we already talk to it through; "" when unknown
    round_trip_s: float | None = None  # the shortest to it so far


@dataclass(frozen=True, slots=True)
class FoundBlocks:
    """A peer without tickets that says to have the block of at least one of the asked roots."""

    peer_id: str


class Finder:
    """Finds peers for roots; one a node, used by many transfers."""

    def __init__(
        self,
        swarm: SwarmPort,
        dht: DhtPort,
        routers: RoutersPort | None = None,
        blocks: BlockAsker | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin, with the node.

        Args:
            swarm: Our connections.
            dht: Asked for providers and their addresses.
            routers: Delegated ones, asked besides the DHT.
            blocks: Asks peers that have no tickets, which are left out when there is none.
        """
        self._swarm = swarm
        self._dht = dht
        self._routers = routers
        self.blocks = blocks
        self._searches: set[_Search] = set()
        self._clock = clock
        self._began = clock()

    def asked_by(self, peer_id: str, roots: Sequence[Cid]) -> None:
        """Note that a peer asked this node for `roots`.

        Who fetches what we fetch will have parts of it soon: it is asked back at once, not at the
        next round, so that takers who start together feed each other from the first second on.
        """
        asked = {root.multihash for root in roots}
        for search in self._searches:
            if not search.relevant.isdisjoint(asked):
                search.ask_back(peer_id)

    def look_again(self, target: Cid, root: Cid) -> None:
        """Ask all connected peers once more for `target`, which turned out to be `root`.

        Called when this node begins to have parts of it: the others learn by the question.
        """
        for search in self._searches:
            if target.multihash in search.relevant:
                search.relevant.add(root.multihash)
                search.look_again.set()

    @property
    def fresh_s(self) -> float:
        """For how many seconds more the first peers of this node may be on their way."""
        return max(0.0, self._began + FRESH_S - self._clock())

    @property
    def peer_id(self) -> str:
        """Who we are to the others."""
        return self._swarm.peer_id

    async def ask(self, peer_id: str, roots: Sequence[Cid]) -> Found:
        """Ask one connected peer for a ticket.

        Raises:
            SourceError: It left, is slow, or does not speak our protocol.
            RemoteProtocolError: Its answer is malformed.
        """
        roots = roots[: tickets.MAX_ROOTS]
        answer = await self._swarm.request(
            peer_id,
            tickets.PROTOCOL,
            tickets.encode_request(roots),
            timeout_s=ASK_TIMEOUT_S,
            max_response_bytes=tickets.MAX_ANSWER_BYTES,
        )
        link = self._swarm.link(peer_id)
        near_host = ip_of(link.address) if link is not None else ""
        round_trip_s = self._swarm.round_trip_s(peer_id)
        return Found(peer_id, tickets.decode_ticket(answer, roots), near_host, round_trip_s)

    async def meet(self, peers: Sequence[str], *, patience_s: float) -> None:
        """Connect to some nodes, and wait until any node of ours is connected; no error if none is.

        Args:
            peers: Multiaddrs with /p2p/ to dial.
            patience_s: How long to wait for others to turn up when nobody is connected.

        Raises:
            TargetError: One of `peers` is not such a multiaddr.
        """
        dials = [split_peer(address) for address in peers]
        met = asyncio.Event()

        def look(_: PeerLink | None = None) -> None:
            if any(tickets.PROTOCOL in link.protocols for link in self._swarm.links()):
                met.set()

        stop_listening = self._swarm.on_peer(look)
        try:
            async with asyncio.timeout(MEET_TIMEOUT_S):
                await asyncio.gather(
                    *(self._swarm.dial(peer_id, [address]) for peer_id, address in dials),
                    return_exceptions=True,
                )
                look()
                async with asyncio.timeout(max(patience_s, IDENTIFY_S if dials else 0)):
                    await met.wait()
        except TimeoutError:
            pass
        finally:
            stop_listening()

    async def ask_connected(self, roots: Sequence[Cid], timeout_s: float) -> list[Found]:
        """Ask every connected peer once; return those that hold any root, or are fetching it."""
        speakers = [link for link in self._swarm.links() if tickets.PROTOCOL in link.protocols]
        asking = [
            asyncio.create_task(self.ask(link.peer_id, roots)) for link in speakers[:MAX_ASKING]
        ]
        if not asking:
            return []
        done, late = await asyncio.wait(asking, timeout=timeout_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        answered = [task for task in done if not isinstance(task.exception(), MirrorError)]
        found = [task.result() for task in answered]
        return [one for one in found if one.ticket.holdings or one.ticket.arriving]

    async def find(
        self,
        roots: Sequence[Cid],
        peers: Sequence[str] = (),
        on_gateway: Callable[[str], None] | None = None,
        on_looked: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[Found | FoundBlocks, None]:
        """Yield peers that hold any of `roots`, each again when it has come back; never ends.

        Args:
            roots: The target first; at most `MAX_ROOTS` are asked about.
            peers: Multiaddrs with /p2p/ to dial besides.
            on_gateway: Told the URLs of HTTP gateways that delegated routers name, again and again;
                not those of peers that have shown a ticket.
            on_looked: Called once, when the DHT and the routers have answered for the first time,
                and those whom they named; or nobody is there to ask.

        Raises:
            TargetError: One of `peers` is not such a multiaddr.
        """
        dials = [split_peer(address) for address in peers]
        search = _Search(self._swarm, self._dht, self._routers, self, roots, on_gateway, on_looked)
        self._searches.add(search)
        try:
            async with search.running(dials):
                while True:
                    yield await search.found.get()
        finally:
            self._searches.discard(search)


class _Search:
    """One `find`: a few tasks that feed one queue."""

    def __init__(
        self,
        swarm: SwarmPort,
        dht: DhtPort,
        routers: RoutersPort | None,
        finder: Finder,
        roots: Sequence[Cid],
        on_gateway: Callable[[str], None] | None,
        on_looked: Callable[[], None],
    ) -> None:
        self._swarm = swarm
        self._dht = dht
        self._routers = routers
        self._finder = finder
        self._on_gateway = on_gateway
        self._on_looked = on_looked
        self._router_addresses: set[str] = set()
        self._roots = roots
        self.relevant = {root.multihash for root in roots}
        self.look_again = asyncio.Event()
        self._asked_back: dict[str, float] = {}
        self.found: asyncio.Queue[Found | FoundBlocks] = asyncio.Queue(maxsize=64)
        self._holders: set[str] = set()
        self._asking: set[str] = set()
        self._limit = asyncio.Semaphore(MAX_ASKING)
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self, dials: Sequence[tuple[str, str]]) -> AsyncIterator[None]:
        """Run the tasks of the search for the length of the block."""
        stop_listening = self._swarm.on_peer(self._met)
        try:
            for peer_id, address in dials:
                self._spawn(self._dial_again_and_again(peer_id, [address]))
            self._spawn(self._ask_connected())
            first_looks: list[asyncio.Event] = []
            for root in self._roots[:MAX_DHT_ROOTS]:
                first_looks.append(asyncio.Event())
                self._spawn(self._look_up(root, first_looks[-1]))
                if self._routers is not None:
                    first_looks.append(asyncio.Event())
                    self._spawn(self._ask_routers(self._routers, root, first_looks[-1]))
            self._spawn(self._tell_when_looked(first_looks))
            yield
        finally:
            stop_listening()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.error("finding task failed", exc_info=failure)

    def _met(self, link: PeerLink) -> None:
        # Seen anew: it may be back after it failed a running transfer.
        self._holders.discard(link.peer_id)
        self._spawn(self._ask(link.peer_id))

    def ask_back(self, peer_id: str) -> None:
        """Ask a connected peer soon, if it is not known to have anything."""
        if peer_id in self._holders or self._swarm.link(peer_id) is None:
            return
        now = asyncio.get_running_loop().time()
        if now - self._asked_back.get(peer_id, -ASK_BACK_S) >= ASK_BACK_S:
            self._asked_back[peer_id] = now
            self._spawn(self._ask(peer_id))

    async def _ask_connected(self) -> None:
        while True:
            self.look_again.clear()
            for link in self._swarm.links():
                if link.peer_id not in self._holders:
                    self._spawn(self._ask(link.peer_id))
            # Not `wait_for`: in Python 3.11 it loses a cancellation that comes with the event.
            with suppress(TimeoutError):
                async with asyncio.timeout(ASK_AGAIN_S):
                    await self.look_again.wait()

    async def _tell_when_looked(self, first_looks: Sequence[asyncio.Event]) -> None:
        for look in first_looks:
            await look.wait()
        self._on_looked()

    async def _look_up(self, root: Cid, looked: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._finder.fresh_s):
                await self._dht.wait_for_peers()
        except TimeoutError:
            looked.set()
        while True:
            await self._dht.wait_for_peers()
            asking = []
            try:
                async for record in self._dht.find_providers(
                    root.multihash, timeout_s=DHT_TIMEOUT_S
                ):
                    # A holder whose link is gone may have come back where the record says.
                    is_linked = self._swarm.link(record.peer_id) is not None
                    if record.peer_id not in self._holders or not is_linked:
                        dialling = self._dial_and_ask(record.peer_id, record.addresses)
                        asking.append(self._spawn(dialling))
            except MirrorError as exc:
                log.info("DHT look-up failed root=%s reason=%s", root, exc)
            if not looked.is_set():
                self._spawn(_set_after(asking, looked))
            await asyncio.sleep(DHT_AGAIN_S)

    async def _ask_routers(self, routers: RoutersPort, root: Cid, looked: asyncio.Event) -> None:
        while True:
            tried: set[str] = set()
            asking = []
            async with aclosing(routers.find_providers(root)) as providers:
                async for provider in providers:
                    peer_id = provider.peer_id
                    is_linked = self._swarm.link(peer_id) is not None
                    if peer_id == self._swarm.peer_id or (peer_id in self._holders and is_linked):
                        continue
                    if len(tried | {peer_id}) > MAX_ROUTER_DIALS:
                        break
                    tried.add(peer_id)
                    asking.append(self._spawn(self._try_provider(provider)))
            if not looked.is_set():
                self._spawn(_set_after(asking, looked))
            await asyncio.sleep(ROUTERS_AGAIN_S)

    async def _try_provider(self, provider: Provider) -> None:
        """Ask a peer that a router named for a ticket; take its gateway when it gives none."""
        if provider.addresses or not provider.gateways:
            addresses = self._admitted(provider.addresses)
            asking = self._spawn(self._dial_and_ask(provider.peer_id, addresses))
            await asyncio.wait([asking], timeout=GATEWAY_AFTER_S)
        if provider.peer_id not in self._holders and self._on_gateway is not None:
            for url in provider.gateways:
                self._on_gateway(url)

    def _admitted(self, addresses: Sequence[str]) -> list[str]:
        """Return those addresses that routers may send us to: a search must not scan a network."""
        known = self._router_addresses
        for address in addresses:
            if len(known) < MAX_ROUTER_ADDRESSES:
                known.add(address)
        return [address for address in addresses if address in known]

    async def _dial_again_and_again(self, peer_id: str, addresses: Sequence[str]) -> None:
        while True:
            await self._dial_and_ask(peer_id, addresses)
            await asyncio.sleep(DHT_AGAIN_S)

    async def _dial_and_ask(self, peer_id: str, addresses: Sequence[str]) -> None:
        if peer_id == self._swarm.peer_id:
            return
        with suppress(MirrorError):
            if not addresses and self._routers and self._swarm.link(peer_id) is None:
                addresses = self._admitted(await self._routers.find_peer(peer_id))
            await self._swarm.dial(peer_id, addresses)
            await self._ask(peer_id)

    async def _ask(self, peer_id: str) -> None:
        if peer_id in self._asking or peer_id in self._holders:
            return
        link = self._swarm.link(peer_id)
        if link is None:
            return
        self._asking.add(peer_id)
        try:
            async with self._limit:
                found = await self._ask_linked(link)
        except MirrorError as exc:
            log.debug("peer did not answer peer=%s reason=%s", peer_id, exc)
            return
        finally:
            self._asking.discard(peer_id)
        if found is not None:
            self._holders.add(peer_id)
            await self.found.put(found)

    async def _ask_linked(self, link: PeerLink) -> Found | FoundBlocks | None:
        """Ask a peer in the way it speaks; None when it has nothing, or speaks no such way."""
        if tickets.PROTOCOL in link.protocols:
            found = await self._finder.ask(link.peer_id, self._roots)
            return found if found.ticket.holdings else None
        blocks = self._finder.blocks
        if blocks is None or not any(name in link.protocols for name in blocks.protocols):
            return None
        has = await blocks.ask(link.peer_id, self._roots)
        return FoundBlocks(link.peer_id) if has else None


async def _set_after(asking: Sequence[asyncio.Task[None]], looked: asyncio.Event) -> None:
    """Note the end of a first look when those whom its answer named have been asked as well."""
    await asyncio.gather(*asking, return_exceptions=True)
    looked.set()


def split_peer(address: str) -> tuple[str, str]:
    """Return (peer id, multiaddr without it) of `/ip4/…/tcp/…/p2p/<peer id>`.

    Raises:
        TargetError: No such multiaddr.
    """
    transport, separator, peer_id = address.rpartition("/p2p/")
    if not separator or not transport.startswith("/") or not peer_id or "/" in peer_id:
        raise TargetError(
            f"not a peer address: {address}; it looks like /ip4/192.168.1.5/tcp/4101/p2p/12D3Koo…"
        )
    return peer_id, transport

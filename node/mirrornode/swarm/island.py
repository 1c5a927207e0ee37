"""The libp2p node itself, all in trio: listeners, connections, services, bootstrap peers.

`node.Swarm` is its asyncio face. py-libp2p supplies Noise, identify messages and keys; its
own `Swarm` and `BasicHost` are not used, because what they add is what a LAN node must do in
another way: one address per dial, a minute's block after a failed one, an inbound slot that is
never given back, announcing 0.0.0.0, dialling peers by itself.

A peer may have several connections: with mDNS both sides dial at once, and a restarted one comes
anew. Both ends choose the same one to use (`_best`), the end that opened another closes it when it
is idle, and to the outside there is one `PeerLink` per peer.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import trio

from mirrornode.errors import SourceGone, SourceTooSlow
from mirrornode.swarm.addresses import AnnouncedAddresses, TcpAddress, dialable
from mirrornode.swarm.connection import BUILT_IN, Connection, Service
from mirrornode.swarm.dial import MAX_ADDRESSES, connect_tcp, dial_all
from mirrornode.swarm.identify import encode_identify
from mirrornode.swarm.links import PeerLink
from mirrornode.swarm.listen import name_of, open_listeners
from mirrornode.swarm.redial import keep_connected
from mirrornode.swarm.upgrade import HandshakeRefused, Upgrader
from mirrornode.swarm.yamux import Liveness, MuxedConnection

if TYPE_CHECKING:
    from mirrornode.swarm.identity import Identity
    from mirrornode.swarm.one_way import Intake, Outlet

MAX_CONNECTIONS = 512  # of all peers; a LAN has tens
MAX_CONNECTIONS_PER_PEER = 4  # two after a simultaneous dial, and stale ones after restarts
MAX_HANDSHAKES = 64  # inbound, at a time
HANDSHAKE_TIMEOUT_S = 10.0
SIMULTANEOUS_S = 5.0  # two connections opened within this were dialled from both ends at once
RETIRE_CHECK_S = 5.0
ADDRESS_CHECK_S = 10.0  # how often the interfaces are looked at for changes
PUSH_DELAY_S = 0.05  # protocols are registered one after the other: one push for all

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IslandSettings:
    """What an island needs to know before it starts."""

    identity: Identity
    agent: str
    listen: tuple[TcpAddress, ...]
    fallback_listen: tuple[TcpAddress, ...]  # tried when `listen` is taken; () makes that an error
    bootstrap: Mapping[str, tuple[str, ...]]  # peer id to multiaddrs
    liveness: Liveness = field(default_factory=Liveness)


class TaskStatus(Protocol):
    """How trio's `Nursery.start` is told that a task is ready."""

    def started(self) -> None: ...


class LinkWatcher(Protocol):
    """Who is told about links; called in trio, must not block."""

    def link_up(self, link: PeerLink) -> None: ...

    def link_down(self, peer_id: str) -> None: ...


class Island:
    """One running libp2p node.

    Driven by: `run` in a task of its own, which calls back when it listens; everything else may
    be called from then on, in trio, until that task ends.
    """

    def __init__(self, settings: IslandSettings, watcher: LinkWatcher) -> None:
        """Prepare; nothing is opened before `run`."""
        self.peer_id = settings.identity.peer_id
        self.announced = AnnouncedAddresses(())
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._watcher = watcher
        self._upgrader = Upgrader(settings.identity, settings.liveness)
        self._services: dict[str, Service | Intake] = {}
        self._connections: dict[str, list[Connection]] = {}  # oldest first, also unidentified
        self._links: dict[str, PeerLink] = {}
        self._linked: dict[str, Connection] = {}  # the connections that the links tell of
        self._dialling: dict[str, _Flight] = {}
        self._link_changed = trio.Event()
        self._handshakes = 0
        self._push_wanted = trio.Event()
        self._nursery: trio.Nursery

    @property
    def services(self) -> Mapping[str, Service | Intake]:
        """What is answered besides identify and ping, by protocol."""
        return self._services

    async def run(self, *, task_status: TaskStatus = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, keep bootstrap peers connected, and serve until cancelled.

        Raises:
            ConfigError: An address cannot be listened on.
        """
        listeners = await open_listeners(self._settings.listen, self._settings.fallback_listen)
        self.announced = AnnouncedAddresses([name_of(listener) for listener in listeners])
        try:
            async with trio.open_nursery() as self._nursery:
                if listeners:
                    self._nursery.start_soon(trio.serve_listeners, self._accept, listeners)
                self._nursery.start_soon(self._push_changes)
                self._nursery.start_soon(self._watch_interfaces)
                for peer_id, addresses in self._settings.bootstrap.items():
                    self._nursery.start_soon(keep_connected, self, peer_id, addresses)
                task_status.started()
                await trio.sleep_forever()
        finally:
            for listener in listeners:
                listener.socket.close()

    async def close(self) -> None:
        """Say goodbye to all peers; called before `run` is cancelled."""
        async with trio.open_nursery() as nursery:
            for connection in self._all_connections():
                nursery.start_soon(connection.finish)

    # -- peers ---------------------------------------------------------------------------------

    async def dial(self, peer_id: str, addresses: Sequence[str], timeout_s: float) -> None:
        """Be connected to a peer; see `Swarm.dial`."""
        if peer_id == self.peer_id:
            raise SourceGone("a node does not dial itself", source_id=peer_id)
        if self._best(peer_id) is not None:
            return
        try:
            with trio.fail_after(timeout_s):
                async with self._single_flight(peer_id):
                    if self._best(peer_id) is None:
                        await self._dial_now(peer_id, addresses)
        except trio.TooSlowError:
            raise SourceGone(
                f"{peer_id} cannot be reached within {timeout_s:g} s", source_id=peer_id
            ) from None

    async def request(
        self,
        peer_id: str,
        protocol: str,
        messages: Sequence[bytes],
        timeout_s: float,
        max_response_bytes: int,
    ) -> bytes:
        """Ask a peer; see `Swarm.request`."""
        connection = self._connection_to(peer_id)
        try:
            with trio.fail_after(timeout_s):
                return await connection.request(protocol, messages, max_response_bytes)
        except trio.TooSlowError:
            raise SourceTooSlow(
                f"{peer_id} did not answer {protocol} within {timeout_s:g} s", source_id=peer_id
            ) from None

    async def open_outlet(self, peer_id: str, protocols: Sequence[str], timeout_s: float) -> Outlet:
        """Open a one-way stream; see `Swarm.open_outlet`."""
        connection = self._connection_to(peer_id)
        try:
            with trio.fail_after(timeout_s):
                return await connection.open_outlet(protocols)
        except trio.TooSlowError:
            raise SourceTooSlow(
                f"{peer_id} did not agree on {protocols[0]} within {timeout_s:g} s",
                source_id=peer_id,
            ) from None

    def received_bytes(self, peer_id: str) -> int:
        """Return how many bytes have come from a peer on one-way streams; from any thread."""
        return sum(each.received_bytes for each in tuple(self._connections.get(peer_id, ())))

    async def disconnect(self, peer_id: str) -> None:
        """End all connections to a peer and wait until its link is down."""
        async with trio.open_nursery() as nursery:
            for connection in self._connections.get(peer_id, []):
                nursery.start_soon(connection.finish)
        await self._wait_until(lambda: peer_id not in self._connections)

    async def wait_gone(self, peer_id: str) -> None:
        """Return when a peer has no link (any more)."""
        await self._wait_until(lambda: peer_id not in self._links)

    @property
    def protocols(self) -> frozenset[str]:
        """What this node answers to, as it tells others. Safe to call from any thread."""
        return frozenset((*BUILT_IN, *tuple(self._services)))  # a dict is copied in one step

    def serve(self, protocol: str, service: Service | Intake) -> None:
        """Answer `protocol` from now on, and tell the connected peers."""
        self._services[protocol] = service
        self._push_wanted.set()

    # -- what connections ask of their host ----------------------------------------------------

    def identify_message(self, observed: str) -> bytes:
        """Return our identify message for a peer that we see at `observed`."""
        return encode_identify(
            public_key=self._settings.identity.public_protobuf(),
            agent=self._settings.agent,
            protocols=self.protocols,
            addresses=[str(address) for address in self.announced.current()],
            observed=observed,
        )

    def identified(self, connection: Connection) -> None:
        """Take note that a peer has said who it is, for the first time or anew."""
        self._refresh_link(connection.peer_id)
        best = self._best(connection.peer_id)
        for other in self._connections[connection.peer_id]:
            if other is not best and other.outbound and not other.is_retiring:
                other.is_retiring = True
                self._nursery.start_soon(self._retire, other)

    def count(self, event: str) -> None:
        """Count something that a peer did wrong."""
        self.counters[event] += 1

    # -- private -------------------------------------------------------------------------------

    async def _accept(self, stream: trio.SocketStream) -> None:
        """Serve one inbound connection until it ends."""
        count = sum(map(len, self._connections.values()))
        if self._handshakes >= MAX_HANDSHAKES or count >= MAX_CONNECTIONS:
            self.count("connection over limit")
            stream.socket.close()
            return
        self._handshakes += 1
        try:
            address = str(TcpAddress.of_socket(*stream.socket.getpeername()[:2]))
            with trio.fail_after(HANDSHAKE_TIMEOUT_S):
                mux = await self._upgrader.inbound(stream)
        except (HandshakeRefused, OSError, trio.TooSlowError) as exc:
            log.debug("inbound connection refused reason=%s", exc or "too slow")
            self.count("handshake failed")
            stream.socket.close()
            return
        finally:
            self._handshakes -= 1
        await self._run_connection(self._adopt(mux, address, outbound=False))

    @contextlib.asynccontextmanager
    async def _single_flight(self, peer_id: str) -> AsyncIterator[None]:
        """Let one task at a time dial a peer; the others find its connection or try their own."""
        flight = self._dialling.setdefault(peer_id, _Flight())
        flight.users += 1
        try:
            async with flight.lock:
                yield
        finally:
            flight.users -= 1
            if not flight.users:
                del self._dialling[peer_id]

    async def _dial_now(self, peer_id: str, texts: Sequence[str]) -> None:
        own = {address.endpoint for address in self.announced.current()}
        addresses = [
            address
            for address in dialable(texts, peer_id, limit=MAX_ADDRESSES + len(own))
            if address.endpoint not in own
        ]
        if not addresses:
            raise SourceGone(f"no address of {peer_id} can be dialled", source_id=peer_id)

        async def connect(address: TcpAddress) -> tuple[TcpAddress, MuxedConnection]:
            stream = await connect_tcp(address)
            return address, await self._upgrader.outbound(stream, peer_id)

        outcome = await dial_all(addresses, connect, lambda made: made[1].abort())
        if outcome.connection is None:
            if self._best(peer_id) is not None:
                return  # the peer has dialled us meanwhile
            raise SourceGone(f"{peer_id} cannot be reached ({outcome})", source_id=peer_id)
        address, mux = outcome.connection
        bare = TcpAddress(address.kind, address.host, address.port)
        connection = self._adopt(mux, str(bare), outbound=True)
        self._nursery.start_soon(self._run_connection, connection)
        await connection.ready.wait()
        if self._best(peer_id) is None:
            raise SourceGone(f"{peer_id} hung up after the handshake", source_id=peer_id)

    def _adopt(self, mux: MuxedConnection, address: str, *, outbound: bool) -> Connection:
        connection = Connection(mux, self, address=address, outbound=outbound)
        connections = self._connections.setdefault(mux.peer_id, [])
        connections.append(connection)
        if len(connections) > MAX_CONNECTIONS_PER_PEER:
            connections[0].abort()
        return connection

    async def _run_connection(self, connection: Connection) -> None:
        peer_id = connection.peer_id
        try:
            if peer_id == self.peer_id:
                connection.abort()  # somebody has dialled us with our own key
            await connection.run()
        except Exception:  # the boundary of one connection; another one must not suffer
            log.exception("connection failed peer=%s", peer_id)
        finally:
            connections = self._connections[peer_id]
            connections.remove(connection)
            if not connections:
                del self._connections[peer_id]
            self._refresh_link(peer_id)

    def _all_connections(self) -> Iterable[Connection]:
        return [each for group in self._connections.values() for each in group]

    def round_trip_s(self, peer_id: str) -> float | None:
        """Return the round trip to a linked peer, where it is known; from any thread."""
        connection = self._linked.get(peer_id)
        return None if connection is None else connection.round_trip_s

    def _best(self, peer_id: str) -> Connection | None:
        """Return the connection to use with a peer, the same that the peer uses with us."""
        usable = [each for each in self._connections.get(peer_id, ()) if each.is_usable]
        if len(usable) < 2:
            return usable[0] if usable else None
        newest = max(each.opened_at for each in usable)
        rivals = [each for each in usable if newest - each.opened_at <= SIMULTANEOUS_S]
        by_the_smaller = [each for each in rivals if each.outbound == (self.peer_id < peer_id)]
        return (by_the_smaller or rivals)[-1]

    async def _retire(self, connection: Connection) -> None:
        """Close a connection that we opened and do not use, once nobody does."""
        while True:
            await trio.sleep(RETIRE_CHECK_S)
            if connection.is_idle:
                break
        if self._best(connection.peer_id) is connection:
            connection.is_retiring = False
        else:
            await connection.finish()

    def _connection_to(self, peer_id: str) -> Connection:
        if (connection := self._best(peer_id)) is None:
            raise SourceGone(f"{peer_id} is not connected", source_id=peer_id)
        return connection

    def _refresh_link(self, peer_id: str) -> None:
        """Bring the link of a peer in line with its connections and tell the watcher."""
        connection = self._best(peer_id)
        if connection is None or connection.identification is None:
            self._linked.pop(peer_id, None)
            if self._links.pop(peer_id, None) is not None:
                self._watcher.link_down(peer_id)
        else:
            link = PeerLink(
                peer_id,
                connection.address,
                connection.identification.agent,
                connection.identification.protocols,
                connection.outbound,
                connection.identification.addresses,
            )
            self._linked[peer_id] = connection
            if self._links.get(peer_id) != link:
                self._links[peer_id] = link
                self._watcher.link_up(link)
        self._link_changed.set()
        self._link_changed = trio.Event()

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._link_changed.wait()

    async def _watch_interfaces(self) -> None:
        known = self.announced.current()
        while True:
            await trio.sleep(ADDRESS_CHECK_S)
            if (now := self.announced.current()) != known:
                known = now
                log.info("addresses changed count=%d", len(known))
                self._push_wanted.set()

    async def _push_changes(self) -> None:
        while True:
            await self._push_wanted.wait()
            await trio.sleep(PUSH_DELAY_S)
            self._push_wanted = trio.Event()
            async with trio.open_nursery() as nursery:
                for connection in self._all_connections():
                    nursery.start_soon(connection.push_identify)


@dataclass(slots=True)
class _Flight:
    """The dials of one peer that are under way or waiting."""

    lock: trio.Lock = field(default_factory=trio.Lock)
    users: int = 0

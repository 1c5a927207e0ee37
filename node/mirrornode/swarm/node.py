"""The swarm as the rest of the node sees it: asyncio, peer ids, addresses, requests.

`open_swarm` starts the libp2p island in its trio thread; `Swarm` forwards to it and keeps the
picture of who is connected. libp2p and trio are imported when a swarm opens, not before: that
costs 0.4-0.9 s which `--help` must not pay.

Finding peers on the local network is `mdns`; who has which content is `routing`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from mirrornode.config import DEFAULT_SWARM_PORT, SwarmConfig
from mirrornode.errors import SourceGone
from mirrornode.swarm.addresses import TcpAddress
from mirrornode.swarm.links import PeerLink
from mirrornode.swarm.settings import parse_bootstrap, parse_listen
from mirrornode.version import __version__

if TYPE_CHECKING:
    from mirrornode.swarm.bridge import TrioThread
    from mirrornode.swarm.identity import Identity
    from mirrornode.swarm.island import Island
    from mirrornode.swarm.one_way import Outlet

__all__ = ["PeerLink", "Receiver", "Responder", "Swarm", "SwarmOutlet", "open_swarm"]

AGENT = f"mirrornode/{__version__}"
MAX_RESPONSE_BYTES = 4 * 1024 * 1024
MAX_REQUEST_BYTES = 64 * 1024
MAX_CONCURRENT = 64

_CLOSE_TIMEOUT_S = 0.6  # goodbyes included; peers notice a closed socket anyway

Responder = Callable[[str, bytes], Awaitable[bytes | None]]
Receiver = Callable[[str, Sequence[bytes]], Awaitable[None]]
T = TypeVar("T")

log = logging.getLogger(__name__)


class SwarmOutlet:
    """A one-way stream to a peer, in asyncio. One `send` at a time; `close` it at the end."""

    def __init__(self, outlet: Outlet, call: Callable[..., Awaitable[None]]) -> None:
        """Wrap an open stream; `Swarm.open_outlet` does."""
        self.protocol = outlet.protocol
        self._outlet = outlet
        self._call = call

    async def send(self, frame: bytes) -> None:
        """Send one frame, its length before it included; return when the peer has room for it.

        Cancelling ends the stream, not the connection.

        Raises:
            SourceGone: The stream or the connection has ended, or the peer has not read for 5 s.
            SourceTooSlow: It reads, but less than 100 kbit/s.
        """
        await self._call(self._outlet.peer_id, self._outlet.send, frame)

    async def close(self) -> None:
        """Close the stream; nothing if it has ended."""
        with contextlib.suppress(SourceGone):
            await self._call(self._outlet.peer_id, self._outlet.close)


class Swarm:
    """This node's connections. All methods belong to the asyncio loop that opened it.

    Driven by: `open_swarm`. After it has closed, calls raise SourceGone.
    """

    def __init__(self, bridge: TrioThread, peer_id: str) -> None:
        """Bind to a started bridge; `open_swarm` attaches the island."""
        self.peer_id = peer_id
        self._bridge = bridge
        self._island: Island
        self._links: dict[str, PeerLink] = {}
        self._on_peer: list[Callable[[PeerLink], None]] = []
        self._on_peer_gone: list[Callable[[str], None]] = []
        self._is_closing = False

    def addresses(self) -> list[str]:
        """Return multiaddrs with `/p2p/<id>` at which others can dial this node.

        Those of real interfaces as they are now, never 0.0.0.0; loopback last.
        """
        return [f"{each}/p2p/{self.peer_id}" for each in self._island.announced.current()]

    def protocols(self) -> frozenset[str]:
        """Return what this node answers to."""
        return self._island.protocols

    async def dial(
        self, peer_id: str, addresses: Sequence[str], *, timeout_s: float = 10.0
    ) -> None:
        """Connect to a peer and learn who it is; return at once when that has been done.

        Args:
            peer_id: Must be who answers.
            addresses: Multiaddrs with or without `/p2p`. All that we can dial are tried, 0.1 s
                apart; the first that works wins. Others are ignored, and our own are never dialled.
            timeout_s: For everything together; one address has five seconds.

        Raises:
            SourceGone: Not reachable there, or somebody else answers; says so for each address.
                Nothing is remembered: the next call tries again.
        """
        await self._call(peer_id, self._island.dial, peer_id, list(addresses), timeout_s)

    async def request(
        self,
        peer_id: str,
        protocol: str,
        payload: bytes,
        *,
        ahead: Sequence[bytes] = (),
        timeout_s: float = 10.0,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> bytes:
        """Send one framed request to a connected peer and return its framed answer.

        Each request has a stream of its own. Cancelling resets that stream; the connection and
        other requests are not touched.

        Args:
            peer_id: Whom to ask.
            protocol: Protocol id.
            payload: The request.
            ahead: Messages that have no answer, sent before the request on the same stream, so
                that one answer shows that all were read. A hundred cost little more than one.
            timeout_s: For everything together.
            max_response_bytes: A larger answer is refused.

        Raises:
            SourceGone: Not connected, or the peer reset the stream or left.
            SourceTooSlow: No whole answer within `timeout_s`.
            SourceRefused: The peer does not speak `protocol`, or closed without an answer.
            RemoteProtocolError: The answer is malformed or has more than `max_response_bytes`.
        """
        messages = [*ahead, payload]
        return await self._call(
            peer_id,
            self._island.request,
            peer_id,
            protocol,
            messages,
            timeout_s,
            max_response_bytes,
        )

    def serve(
        self,
        protocol: str,
        responder: Responder,
        *,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        max_concurrent: int = MAX_CONCURRENT,
    ) -> None:
        """Answer `protocol` with `responder`, from now until the swarm closes.

        A peer may send several requests on one stream; they are answered in order, those that
        came together when all of them are done, and the stream is dropped after 60 s of silence.
        An answer of None sends nothing and waits for the next.

        Args:
            protocol: Protocol id; replaces an earlier responder of the same.
            responder: Gets peer id and request, in asyncio. What it raises resets that stream.
            max_request_bytes: Larger requests reset the stream, unread.
            max_concurrent: Streams being answered at a time; more wait their turn.
        """
        self._bridge.post(
            self._serve_in_trio, protocol, responder, max_request_bytes, max_concurrent
        )

    async def open_outlet(
        self, peer_id: str, protocols: Sequence[str], *, timeout_s: float = 10.0
    ) -> SwarmOutlet:
        """Open a stream to a connected peer that only we write to.

        Args:
            peer_id: Whose stream it is.
            protocols: What we would speak, the best first; the first that the peer has said to
                speak is agreed on.
            timeout_s: For agreeing.

        Raises:
            SourceGone: Not connected, or the peer left.
            SourceTooSlow: It did not agree in time.
            SourceRefused: It speaks none of `protocols`.
        """
        outlet = await self._call(
            peer_id, self._island.open_outlet, peer_id, tuple(protocols), timeout_s
        )
        return SwarmOutlet(outlet, self._call)

    def take_frames(
        self, protocols: Sequence[str], receiver: Receiver, *, max_frame_bytes: int
    ) -> None:
        """Give the frames of one-way streams to `receiver`, from now until the swarm closes.

        Args:
            protocols: Protocol ids; replaces an earlier responder or receiver of the same.
            receiver: Gets peer id and frames, in asyncio; a stream is read on when it returns, so
                it must not wait for the disk or for other peers. What it raises resets the stream.
            max_frame_bytes: Larger frames reset the stream, unread.
        """
        self._bridge.post(self._take_frames_in_trio, tuple(protocols), receiver, max_frame_bytes)

    def received_bytes(self, peer_id: str) -> int:
        """Return a number that grows while a peer's one-way streams bring bytes."""
        return self._island.received_bytes(peer_id)

    async def refuse(self, peer_id: str, event: str) -> None:
        """Count what a peer did wrong under `event`, and end the connection to it."""
        self._bridge.post(self._island.count, event)
        await self.disconnect(peer_id)

    def links(self) -> list[PeerLink]:
        """Return the connected peers; a dead one is noticed within 25 s at the latest."""
        return list(self._links.values())

    def link(self, peer_id: str) -> PeerLink | None:
        """Return the link to a peer, or None when it is not connected."""
        return self._links.get(peer_id)

    def round_trip_s(self, peer_id: str) -> float | None:
        """Return the shortest round trip to a connected peer, None before it was measured."""
        return self._island.round_trip_s(peer_id)

    def on_peer(self, callback: Callable[[PeerLink], None]) -> Callable[[], None]:
        """Call back when a peer is connected and identified, and when it says something new.

        Inbound and outbound alike; not for peers that are connected already, see `links`.
        Returns a function that ends this. What the callback raises is logged.
        """
        return _subscribe(self._on_peer, callback)

    def on_peer_gone(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call back with the peer id when a peer's last connection has ended; as `on_peer`."""
        return _subscribe(self._on_peer_gone, callback)

    async def disconnect(self, peer_id: str) -> None:
        """End the connection to a peer after sending what is queued; nothing if there is none."""
        await self._call(peer_id, self._island.disconnect, peer_id)

    def refusals(self) -> Mapping[str, int]:
        """Return how often peers were refused something, by what: for metrics and `status`."""
        return dict(self._island.counters)

    # -- called by the island, in trio ----------------------------------------------------------

    def link_up(self, link: PeerLink) -> None:
        """Take over a new or changed link."""
        self._bridge.post_to_asyncio(self._link_up, link)

    def link_down(self, peer_id: str) -> None:
        """Take over the end of a link."""
        self._bridge.post_to_asyncio(self._link_down, peer_id)

    # -- private --------------------------------------------------------------------------------

    def _link_up(self, link: PeerLink) -> None:
        if self._is_closing:
            return
        known = self._links.get(link.peer_id)
        self._links[link.peer_id] = link
        # Which of two simultaneous connections is in use may change; that is news to nobody.
        if known is None or replace(known, address=link.address, outbound=link.outbound) != link:
            _tell(self._on_peer, link)

    def _link_down(self, peer_id: str) -> None:
        if not self._is_closing:
            self._links.pop(peer_id, None)
            _tell(self._on_peer_gone, peer_id)

    async def _call(self, peer_id: str, function: Callable[..., Awaitable[T]], *args: object) -> T:
        from mirrornode.swarm.bridge import BridgeStopped

        try:
            return await self._bridge.call(function, *args)
        except BridgeStopped as exc:
            raise SourceGone("this node is shutting down", source_id=peer_id) from exc

    def _serve_in_trio(
        self, protocol: str, responder: Responder, max_request_bytes: int, max_concurrent: int
    ) -> None:
        import trio

        from mirrornode.swarm.bridge import BridgeStopped
        from mirrornode.swarm.connection import Service

        async def in_asyncio(peer_id: str, requests: Sequence[bytes]) -> list[bytes | None]:
            return [await responder(peer_id, request) for request in requests]

        async def respond(peer_id: str, requests: Sequence[bytes]) -> list[bytes | None]:
            try:
                return await self._bridge.to_asyncio(in_asyncio, peer_id, requests)
            except BridgeStopped as exc:
                raise SourceGone("this node is shutting down", source_id=peer_id) from exc

        slots = trio.CapacityLimiter(max_concurrent)
        self._island.serve(protocol, Service(respond, max_request_bytes, slots))

    def _take_frames_in_trio(
        self, protocols: Sequence[str], receiver: Receiver, max_frame_bytes: int
    ) -> None:
        from mirrornode.swarm.bridge import BridgeStopped
        from mirrornode.swarm.one_way import Intake

        async def in_asyncio(peer_id: str, frames: Sequence[bytes]) -> None:
            await receiver(peer_id, frames)

        async def receive(peer_id: str, frames: Sequence[bytes]) -> None:
            try:
                await self._bridge.to_asyncio(in_asyncio, peer_id, frames)
            except BridgeStopped as exc:
                raise SourceGone("this node is shutting down", source_id=peer_id) from exc

        intake = Intake(receive, max_frame_bytes)
        for protocol in protocols:
            self._island.serve(protocol, intake)

    async def _open(self, config: SwarmConfig, identity: Identity, listen: Sequence[str]) -> None:
        from mirrornode.swarm.island import Island, IslandSettings

        is_default = not listen and listen is config.listen
        default = TcpAddress("ip4", "0.0.0.0", DEFAULT_SWARM_PORT)
        settings = IslandSettings(
            identity=identity,
            agent=AGENT,
            listen=(default,) if is_default else parse_listen(listen),
            fallback_listen=(TcpAddress("ip4", "0.0.0.0", 0),) if is_default else (),
            bootstrap=parse_bootstrap(config.bootstrap),
        )
        self._island = Island(settings, self)
        await self._bridge.start_background(self._island.run)

    async def _close(self) -> None:
        self._is_closing = True
        with contextlib.suppress(TimeoutError, SourceGone):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._call(self.peer_id, self._island.close)


@contextlib.asynccontextmanager
async def open_swarm(
    config: SwarmConfig, identity: Identity, *, listen: Sequence[str] | None = None
) -> AsyncIterator[Swarm]:
    """Run a libp2p node for as long as the context lasts.

    Args:
        config: `listen` and `bootstrap` are used here; `mdns` is for who composes the node.
        identity: Who this node is.
        listen: Instead of `config.listen`; empty means not to listen at all.

    Raises:
        ConfigError: An address is not one, or is taken by another program.
    """
    _quieten_libraries()
    from mirrornode.swarm.bridge import TrioThread

    bridge = TrioThread("mirrornode-swarm")
    await bridge.start()
    try:
        swarm = Swarm(bridge, identity.peer_id)
        await swarm._open(config, identity, config.listen if listen is None else listen)
        try:
            yield swarm
        finally:
            await swarm._close()
    finally:
        await bridge.stop()


def _quieten_libraries() -> None:
    """Keep py-libp2p, which warns about normal events, out of the user's log."""
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)


def _subscribe(
    callbacks: list[Callable[[T], None]], one: Callable[[T], None]
) -> Callable[[], None]:
    callbacks.append(one)

    def unsubscribe() -> None:
        with contextlib.suppress(ValueError):
            callbacks.remove(one)

    return unsubscribe


def _tell(callbacks: Sequence[Callable[[T], None]], value: T) -> None:
    for callback in tuple(callbacks):
        try:
            callback(value)
        except Exception:  # one listener's bug must not silence the others
            log.exception("peer callback failed")

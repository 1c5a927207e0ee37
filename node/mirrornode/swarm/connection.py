"""One connection to one peer, from the end of the handshake to the end of the socket.

Runs its multiplexer, accepts and answers the peer's streams, opens ours, identifies the peer.
Which connections exist and who is told about them is the business of `island`. Everything that
a peer can make us hold is bounded here: streams, frames, time. What goes beyond is reset and
counted, and never ends more than the stream, or at worst the connection.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from mirrornode.errors import (
    MirrorError,
    RemoteProtocolError,
    SourceGone,
    SourceRefused,
    SourceTooSlow,
)
from mirrornode.swarm.identify import (
    IDENTIFY,
    IDENTIFY_PUSH,
    MAX_MESSAGE_BYTES,
    Identification,
    decode_identify,
)
from mirrornode.swarm.one_way import Intake, Outlet, PeerIntake
from mirrornode.swarm.streams import FramedStream
from mirrornode.swarm.time_limit import TimeLimit

if TYPE_CHECKING:
    from mirrornode.swarm.yamux import MuxedConnection, MuxedStream

PING = "/ipfs/ping/1.0.0"
PING_BYTES = 32
BUILT_IN = frozenset({IDENTIFY, IDENTIFY_PUSH, PING})
MAX_INBOUND_STREAMS = 256  # of one connection at a time: more than one of us opens to another
MAX_OUTBOUND_STREAMS = 200  # go-yamux takes 256 of us that it has not accepted yet
MAX_REFUSED_STREAMS = 512  # beyond that: a peer that opens so many is dropped
NEGOTIATE_TIMEOUT_S = 10.0
IDENTIFY_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 60.0  # between two requests on one stream
RESPOND_TIMEOUT_S = (
    120.0  # requests answered together; a responder past this is stuck and must not keep its slot
)
SEND_TIMEOUT_S = 60.0  # one answer of some MiB over a slow link
MAX_ANSWERED = 4  # streams of one connection answered at a time: a flood must leave others room
MAX_TOGETHER = 32  # requests of one stream answered together; a small one costs 20 µs
LINGER_S = 30.0  # how long a stream that we are done with may wait for the peer's close
MAX_LINGERING = 1024  # of them; the oldest are reset

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """What answers one protocol.

    Attributes:
        respond: From peer id and requests to as many answers; None sends none. Runs in trio.
        max_request_bytes: Larger frames reset the stream.
        slots: Streams beyond its tokens wait; a peer waits on at most its own streams.
    """

    respond: Callable[[str, Sequence[bytes]], Awaitable[Sequence[bytes | None]]]
    max_request_bytes: int
    slots: trio.CapacityLimiter


class ConnectionHost(Protocol):
    """What a connection needs of the node that it belongs to."""

    @property
    def services(self) -> Mapping[str, Service | Intake]: ...

    def identify_message(self, observed: str) -> bytes: ...

    def identified(self, connection: Connection) -> None: ...

    def count(self, event: str) -> None: ...


class Connection:
    """A live connection.

    Driven by: the host runs `run` in a task of its own and may use the rest until it ends.
    """

    def __init__(
        self, mux: MuxedConnection, host: ConnectionHost, *, address: str, outbound: bool
    ) -> None:
        """Take over a fresh multiplexer; `address` is the peer's multiaddr without `/p2p`."""
        self.peer_id = mux.peer_id
        self.address = address
        self.outbound = outbound
        self.identification: Identification | None = None
        self.opened_at = trio.current_time()
        self.is_retiring = False  # superseded by another connection to the same peer
        self.ready = trio.Event()  # identified, or ended before that
        self._mux = mux
        self._host = host
        self._inbound = 0
        self._refused = 0
        self._intake = PeerIntake(mux.peer_id)
        self._lingering: deque[tuple[float, FramedStream]] = deque()
        self._slots = trio.CapacityLimiter(MAX_OUTBOUND_STREAMS)
        self._turns = trio.CapacityLimiter(MAX_ANSWERED)

    @property
    def is_usable(self) -> bool:
        """True from the peer's identification until the connection is known to end."""
        return self.identification is not None and self._mux.is_usable

    @property
    def is_idle(self) -> bool:
        """True when neither side has a stream in use."""
        return self._inbound == 0 and self._slots.borrowed_tokens == 0

    @property
    def received_bytes(self) -> int:
        """Bytes that have come on one-way streams."""
        return self._intake.received_bytes

    @property
    def round_trip_s(self) -> float | None:
        """The shortest of the pings; None before the first was answered."""
        return self._mux.shortest_round_trip_s

    def abort(self) -> None:
        """End the connection at once."""
        self._mux.abort()

    async def finish(self) -> None:
        """End the connection after sending what is queued, within 0.3 s."""
        await self._mux.finish()

    async def run(self) -> None:
        """Serve the connection until it ends; never raises because of what the peer does."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._mux.run_writer)
                nursery.start_soon(self._mux.run_pings)
                nursery.start_soon(self._sweep)
                nursery.start_soon(self._identify)
                await self._mux.run_reader(partial(self._accept, nursery))
                nursery.cancel_scope.cancel()
        finally:
            self._mux.abort()
            self.ready.set()

    async def request(
        self, protocol: str, messages: Sequence[bytes], max_response_bytes: int
    ) -> bytes:
        """Send messages on a stream of their own and return the answer; see `Swarm.request`."""
        async with self._opened_stream() as stream:
            # js-libp2p stops at the end of our side, even before messages that it has yet to read.
            send = stream.send_only if len(messages) == 1 else stream.send
            await send(protocol, messages, is_known=self._is_known(protocol))
            answer = await stream.read_frame(max_response_bytes)
            if answer is None:
                raise SourceRefused(
                    f"{self.peer_id} gave no answer to {protocol}", source_id=self.peer_id
                )
            return answer

    async def open_outlet(self, protocols: Sequence[str]) -> Outlet:
        """Open a one-way stream; see `Swarm.open_outlet`."""
        known = [protocol for protocol in protocols if self._is_known(protocol)]
        if not known:
            raise SourceRefused(
                f"{self.peer_id} does not speak {protocols[0]}", source_id=self.peer_id
            )
        token = object()
        stream = await self._open_stream(token)
        try:
            await stream.propose(known[0])
        except BaseException:
            stream.reset()
            self._slots.release_on_behalf_of(token)
            raise

        def release() -> None:
            self._slots.release_on_behalf_of(token)
            self._linger(stream)

        return Outlet(self.peer_id, known[0], stream, release)

    async def push_identify(self) -> None:
        """Tell the peer what has changed about us, if it wants to know."""
        if self._is_known(IDENTIFY_PUSH):
            message = self._host.identify_message(self.address)
            with trio.move_on_after(IDENTIFY_TIMEOUT_S):
                try:
                    async with self._opened_stream() as stream:
                        await stream.send_only(IDENTIFY_PUSH, [message], is_known=True)
                except MirrorError as exc:
                    log.debug("identify push failed peer=%s error=%s", self.peer_id, exc)

    def _is_known(self, protocol: str) -> bool:
        return self.identification is not None and protocol in self.identification.protocols

    @contextlib.asynccontextmanager
    async def _opened_stream(self) -> AsyncIterator[FramedStream]:
        """Open a stream; reset it when the body fails or is cancelled, else close it."""
        token = object()
        stream = await self._open_stream(token)
        try:
            yield stream
            stream.close()
        except BaseException:
            stream.reset()
            raise
        finally:
            self._slots.release_on_behalf_of(token)
        self._linger(stream)

    async def _open_stream(self, token: object) -> FramedStream:
        """Open a stream; `token` holds one of `MAX_OUTBOUND_STREAMS` slots until released."""
        await self._slots.acquire_on_behalf_of(token)
        try:
            return FramedStream(self._mux.open(), self.peer_id)
        except SourceGone:
            self._slots.release_on_behalf_of(token)
            raise

    def _linger(self, stream: FramedStream) -> None:
        """Let the peer close its side in its own time, but not for ever."""
        stream.ignore()
        if stream.is_finished:
            return
        self._lingering.append((trio.current_time() + LINGER_S, stream))
        if len(self._lingering) > MAX_LINGERING:
            self._lingering.popleft()[1].reset()

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(LINGER_S / 2)
            while self._lingering and self._lingering[0][0] <= trio.current_time():
                self._lingering.popleft()[1].reset()

    async def _identify(self) -> None:
        """Ask the peer who it says it is; a peer that cannot say that is of no use to us."""
        try:
            with TimeLimit(IDENTIFY_TIMEOUT_S):
                async with self._opened_stream() as stream:
                    await stream.propose(IDENTIFY)
                    message = await stream.read_frame(MAX_MESSAGE_BYTES)
                    if message is None:
                        raise RemoteProtocolError(f"{self.peer_id} sent no identify message")
                    identification = decode_identify(message)
        except (MirrorError, trio.TooSlowError) as exc:
            log.debug("identify failed peer=%s error=%s", self.peer_id, exc)
            self._host.count("unidentified")
            self.abort()
            return
        self._accept_identification(identification)

    def _accept_identification(self, identification: Identification) -> None:
        if identification == self.identification:
            return
        self.identification = identification
        self._host.identified(self)
        self.ready.set()

    def _accept(self, nursery: trio.Nursery, stream: MuxedStream) -> None:
        """Answer a stream that the peer opens, if it has not too many."""
        if self._inbound < MAX_INBOUND_STREAMS:
            self._inbound += 1
            nursery.start_soon(self._answer_stream, FramedStream(stream, self.peer_id))
            return
        self._host.count("stream over limit")
        self._refused += 1
        stream.reset()
        if self._refused > MAX_REFUSED_STREAMS and self._mux.is_usable:
            log.info("connection closed peer=%s reason=floods streams", self.peer_id)
            self._host.count("flood of streams")
            self.abort()

    async def _answer_stream(self, stream: FramedStream) -> None:
        try:
            with TimeLimit(NEGOTIATE_TIMEOUT_S):
                protocol = await stream.accept(self._is_spoken)
            if protocol in BUILT_IN:
                await self._answer_built_in(protocol, stream)
            else:
                service = self._host.services[protocol]
                if isinstance(service, Intake):
                    # What comes before the peer is identified would be of a peer without a link,
                    # whose end nobody is told of.
                    await self.ready.wait()
                    await self._intake.take(service, stream)
                else:
                    await self._answer_requests(service, stream)
            stream.close()
            self._linger(stream)
        except SourceGone:
            stream.reset()
        except (RemoteProtocolError, SourceTooSlow, trio.TooSlowError) as exc:
            log.debug("stream reset peer=%s reason=%s", self.peer_id, exc or "too slow")
            self._host.count("stream reset")
            stream.reset()
        except Exception:  # the boundary of one stream: a failing responder ends nothing else
            log.exception("responder failed peer=%s", self.peer_id)
            self._host.count("responder failed")
            stream.reset()
        except BaseException:
            stream.reset()
            raise
        finally:
            self._inbound -= 1
            if not self._inbound:
                self._refused = 0

    def _is_spoken(self, protocol: str) -> bool:
        return protocol in BUILT_IN or protocol in self._host.services

    async def _answer_requests(self, service: Service, stream: FramedStream) -> None:
        """Answer the requests of one stream in order, until the peer closes its side.

        Those that came together are answered together: the way to asyncio costs more than many a
        small request.
        """
        max_bytes = service.max_request_bytes
        while True:
            with TimeLimit(IDLE_TIMEOUT_S):
                first = await stream.read_frame(max_bytes)
            if first is None:
                return
            requests = [first, *stream.arrived_frames(max_bytes, limit=MAX_TOGETHER - 1)]
            async with self._turns, service.slots:
                with TimeLimit(RESPOND_TIMEOUT_S):
                    answers = await service.respond(self.peer_id, requests)
            for answer in answers:
                if answer is not None:
                    with TimeLimit(SEND_TIMEOUT_S):
                        await stream.write_frame(answer)

    async def _answer_built_in(self, protocol: str, stream: FramedStream) -> None:
        if protocol == IDENTIFY:
            with TimeLimit(SEND_TIMEOUT_S):
                await stream.write_frame(self._host.identify_message(self.address))
        elif protocol == IDENTIFY_PUSH:
            with TimeLimit(IDENTIFY_TIMEOUT_S):
                message = await stream.read_frame(MAX_MESSAGE_BYTES)
            if message is not None and self.identification is not None:
                self._accept_identification(decode_identify(message, self.identification))
        else:
            while True:
                with TimeLimit(IDLE_TIMEOUT_S):
                    echo = await stream.read_exactly(PING_BYTES)
                if echo is None:
                    return
                await stream.write(echo)

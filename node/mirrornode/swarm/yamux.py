"""Yamux over a secured connection: the tasks, waits and time limits around `wire.yamux`.

One task reads, one writes, one pings. Nobody else touches the connection, so that cancelling who
waits for a stream cuts no frame. A write that makes no progress for `WRITE_STALL_S` and a ping
without an answer end the connection; `abort` closes the socket itself.

The library has a Yamux of its own. With it a fetch by bitswap cost 2.1 s of processor time for
256 MiB in its tasks and locks alone; decision 0009.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio
from libp2p.io.exceptions import IOException
from libp2p.network.connection.exceptions import RawConnError

from mirrornode.errors import RemoteProtocolError, SourceGone
from mirrornode.swarm.time_limit import TimeLimit
from mirrornode.wire.yamux import WINDOW_BYTES, Session, Stream

if TYPE_CHECKING:
    from mirrornode.swarm.noise_pipe import NoisePipe
    from mirrornode.wire.byte_queue import ByteQueue

OUTBOX_BYTES = 256 * 1024  # streams that write more wait
MAX_WINDOW_BYTES = 2 * 1024 * 1024
FAST_S = 0.05  # half a window within this: the window is what holds the peer back
WRITE_STALL_S = 15.0
UNREAD_S = 10.0  # a stream whose peer takes nothing for so long is given up
FLUSH_S = 0.3  # how long `finish` may take to send what is queued

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Liveness:
    """How a silent peer is found out."""

    ping_every_s: float = 15.0
    answer_within_s: float = 10.0


class Signal:
    """Wakes everybody who waits now, and costs next to nothing when nobody does."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: trio.Event | None = None

    def give(self) -> None:
        """Wake who waits."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Wait for the next `give`."""
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()


class MuxedStream:
    """One stream of a connection. Cancelling a method leaves the connection as it is.

    One reader and one writer at a time.
    """

    def __init__(self, connection: MuxedConnection, stream: Stream) -> None:
        self._connection = connection
        self._stream = stream
        self._changed = Signal()
        self._window_bytes = WINDOW_BYTES
        self._ungranted_bytes = 0  # taken since the peer was last allowed to send more
        self._granted_at = 0.0
        stream.on_change = self._changed.give

    @property
    def is_finished(self) -> bool:
        """True when both sides are done with the stream."""
        return self._stream.is_over

    @property
    def is_read_closed(self) -> bool:
        """True when the peer will send no more."""
        return self._stream.is_read_closed

    async def receive_into(self, take: Callable[[ByteQueue], int]) -> int:
        """Wait for bytes, give them to `take` and return how many it took; 0 at the end.

        Raises:
            SourceGone: The stream was reset or the connection has ended.
        """
        stream = self._stream
        while not stream.unread.size:
            if stream.is_reset:
                raise self._connection.gone()
            if stream.is_read_closed:
                return 0
            await self._changed.wait()
        size = stream.take_by(take)
        self._grant(size)
        return size

    async def send_all(self, data: bytes) -> None:
        """Queue everything, as fast as the peer takes it.

        Raises:
            SourceGone: As `receive_into`, or the peer has taken nothing for `UNREAD_S`.
        """
        view = memoryview(data)
        while view:
            await self._connection.room()
            if self._stream.is_over or self._stream.is_write_closed:
                raise self._connection.gone()
            if sent := self._stream.send(view):
                view = view[sent:]
            else:
                await self._window()

    def close(self) -> None:
        """Say that we send no more; nothing happens when the stream was reset."""
        self._stream.close()

    def reset(self) -> None:
        """Drop the stream at once, in both directions."""
        self._stream.reset()

    def ignore(self) -> None:
        """Throw away what the peer sends from now on."""
        self._stream.ignore()

    async def _window(self) -> None:
        """Wait until the peer lets us send more, or the stream has ended."""
        with trio.move_on_after(UNREAD_S) as waiting:
            while not (self._stream.send_window or self._stream.is_reset):
                await self._changed.wait()
        if waiting.cancelled_caught:
            raise self._connection.gone()

    def _grant(self, size_bytes: int) -> None:
        """Let the peer send more now and then: half a window at a time is enough.

        A stream that is fast gets a larger window, as go-yamux and the library do it.
        """
        self._ungranted_bytes += size_bytes
        if 2 * self._ungranted_bytes < self._window_bytes:
            return
        now = trio.current_time()
        growth = 0
        if now - self._granted_at < max(FAST_S, 4 * self._connection.round_trip_s):
            growth = min(2 * self._window_bytes, MAX_WINDOW_BYTES) - self._window_bytes
        self._stream.grant(self._ungranted_bytes + growth)
        self._window_bytes += growth
        self._ungranted_bytes = 0
        self._granted_at = now


class MuxedConnection:
    """All streams of a connection to one peer.

    Driven by: its owner runs `run_reader`, `run_writer` and `run_pings` as tasks, and calls
    `abort` when one of them ends.
    """

    def __init__(
        self,
        pipe: NoisePipe,
        peer_id: str,
        *,
        is_initiator: bool,
        close_socket: Callable[[], None],
        liveness: Liveness,
    ) -> None:
        """Take over a secured connection whose socket `close_socket` closes at once."""
        self.peer_id = peer_id
        self.pipe = pipe
        self.round_trip_s = 0.0
        """Of pings, smoothed; 0 before the first was answered."""
        self.shortest_round_trip_s: float | None = None
        self._outgoing = Signal()
        self._room = Signal()
        self._session = Session(
            is_initiator=is_initiator,
            on_stream=lambda stream: self._on_stream(MuxedStream(self, stream)),
            on_pong=self._note_pong,
            on_outgoing=self._outgoing.give,
        )
        self._close_socket = close_socket
        self._liveness = liveness
        self._on_stream: Callable[[MuxedStream], None] = MuxedStream.reset
        self._ping = 0
        self._pinged_at = 0.0
        self._ponged = trio.Event()

    @property
    def is_usable(self) -> bool:
        """False as soon as the connection is known to be ending."""
        return not self._session.is_over

    def gone(self) -> SourceGone:
        """Return the error of a stream that has ended."""
        return SourceGone(
            f"{self.peer_id} ended a stream or the connection", source_id=self.peer_id
        )

    def abort(self) -> None:
        """Close the socket now; every read and write on this connection ends with an error."""
        if self.is_usable:
            self._session.end()
            self._close_socket()
            self._outgoing.give()
            self._room.give()

    async def finish(self) -> None:
        """Say goodbye, send what is queued if that takes no longer than `FLUSH_S`, then `abort`."""
        self._session.go_away()
        with trio.CancelScope(deadline=trio.current_time() + FLUSH_S, shield=True):
            while self._session.outgoing_bytes:
                await self._room.wait()
        self.abort()

    def open(self) -> MuxedStream:
        """Open a stream.

        Raises:
            SourceGone: The connection is ending.
        """
        try:
            return MuxedStream(self, self._session.open())
        except RemoteProtocolError:
            raise SourceGone(f"{self.peer_id} has left", source_id=self.peer_id) from None

    async def room(self) -> None:
        """Wait until streams may queue more; also when the connection has ended."""
        while self._session.outgoing_bytes >= OUTBOX_BYTES and self.is_usable:
            await self._room.wait()

    async def run_reader(self, on_stream: Callable[[MuxedStream], None]) -> None:
        """Take in what arrives until the connection ends; `on_stream` is told of new streams."""
        self._on_stream = on_stream
        session = self._session
        try:
            while self.is_usable:
                for message in await self.pipe.read_all():
                    session.receive(message)
                if session.has_left:
                    log.debug("connection closed by its peer peer=%s", self.peer_id)
                    break
        except RemoteProtocolError as exc:
            log.info("connection closed peer=%s reason=%s", self.peer_id, exc)
        except (IOException, RawConnError, OSError) as exc:
            log.debug("connection ended peer=%s error=%r", self.peer_id, exc)
        self.abort()

    async def run_writer(self) -> None:
        """Write queued frames until the connection ends."""
        session = self._session
        while self.is_usable:
            if not (parts := session.taken()):
                await self._outgoing.wait()
                continue
            data = b"".join(parts)
            try:
                with TimeLimit(WRITE_STALL_S):
                    await self.pipe.write(data)
            except trio.TooSlowError:
                log.debug("connection stalled peer=%s", self.peer_id)
                self.abort()
            except (IOException, RawConnError, OSError) as exc:
                log.debug("connection write failed peer=%s error=%r", self.peer_id, exc)
                self.abort()
            session.sent(len(data))
            self._room.give()

    async def run_pings(self) -> None:
        """Ping for as long as the connection lasts; end it when no answer comes."""
        pause_s = min(1.0, self._liveness.ping_every_s)  # the first tells the round trip early
        while self.is_usable:
            await trio.sleep(pause_s)
            pause_s = self._liveness.ping_every_s
            self._ping = self._ping + 1 & 0xFFFFFFFF
            self._ponged = trio.Event()
            self._pinged_at = trio.current_time()
            self._session.ping(self._ping)
            with trio.move_on_after(self._liveness.answer_within_s) as waiting:
                await self._ponged.wait()
            if waiting.cancelled_caught and self.is_usable:
                log.info("connection closed peer=%s reason=no answer to a ping", self.peer_id)
                self.abort()

    def _note_pong(self, value: int) -> None:
        if value == self._ping and not self._ponged.is_set():
            now_s = trio.current_time() - self._pinged_at
            self.round_trip_s = (self.round_trip_s + now_s) / 2 if self.round_trip_s else now_s
            self.shortest_round_trip_s = min(now_s, self.shortest_round_trip_s or now_s)
            self._ponged.set()

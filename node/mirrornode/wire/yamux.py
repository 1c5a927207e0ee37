"""Yamux as a state machine: bytes of a connection in, streams and bytes to send out.

No I/O, no clock. Everything that one arrival brings is taken in one go, without a task or a lock
between two frames: a fetch by bitswap is a thousand short streams, and what it costs is frames.

A stream's bytes wait in `Stream.unread` until somebody takes them and grants the peer as many
again. What a peer can make us hold is bounded: it is cut off when it sends more than it was
granted, when all streams together hold too much, and when it does not take what it asked for.
Spec: hashicorp/yamux spec.md; libp2p yamux/README.md. Where go-yamux is stricter, so are we.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from mirrornode.errors import RemoteProtocolError
from mirrornode.wire.byte_queue import Buffer, ByteQueue

DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
HEADER: Final = struct.Struct(">BBHII")  # version, type, flags, stream, length or value
WINDOW_BYTES: Final = 256 * 1024  # what either side of a stream may send at first
MAX_FRAME_BYTES: Final = 64 * 1024  # of what we send: go-yamux's default, and fair between streams
MAX_BUFFERED_BYTES: Final = 64 * 1024 * 1024  # received and not yet taken, of a connection
MAX_OUTGOING_BYTES: Final = 4 * 1024 * 1024  # queued by us: who makes us queue more does not read
_MAX_ID: Final = 0xFFFFFFFF
_COPIED: Final = 4  # a body is copied when it is less than this part of what it would keep alive


class Stream:
    """One stream. Belongs to its session.

    Attributes:
        unread: Bytes that have come. Who takes some grants as many again.
        is_read_closed: The peer has said that no more will come.
        is_write_closed: We have said so.
        is_reset: Dropped by either side, or the connection has ended.
        on_change: Called when bytes, the end, or the right to send more have come.
    """

    __slots__ = (
        "_is_ignored",
        "_receive_window",
        "_session",
        "is_read_closed",
        "is_reset",
        "is_write_closed",
        "on_change",
        "send_window",
        "stream_id",
        "unread",
    )

    def __init__(self, session: Session, stream_id: int) -> None:
        self.stream_id = stream_id
        self.unread = ByteQueue()
        self.send_window = WINDOW_BYTES
        self.is_read_closed = self.is_write_closed = self.is_reset = False
        self.on_change: Callable[[], None] = _nothing
        self._is_ignored = False
        self._receive_window = WINDOW_BYTES
        self._session = session

    @property
    def is_over(self) -> bool:
        """True when neither side will send anything more."""
        return self.is_reset or (self.is_read_closed and self.is_write_closed)

    def take_by(self, take: Callable[[ByteQueue], int]) -> int:
        """Let `take` empty `unread`; return how many bytes it took."""
        size = take(self.unread)
        self._session.buffered_bytes -= size
        return size

    def grant(self, size_bytes: int) -> None:
        """Let the peer send so many bytes more."""
        if not (self.is_reset or self.is_read_closed):
            self._receive_window += size_bytes
            self._session.put(WINDOW_UPDATE, 0, self.stream_id, size_bytes)

    def send(self, data: memoryview) -> int:
        """Queue as much of `data` as the peer lets us, one frame at most; return how much."""
        size = min(len(data), self.send_window, MAX_FRAME_BYTES)
        if size and not self.is_reset:
            self.send_window -= size
            self._session.put(DATA, 0, self.stream_id, size, data[:size])
        return size

    def close(self) -> None:
        """Say that we send no more; a second call does nothing."""
        if not (self.is_write_closed or self.is_reset):
            self.is_write_closed = True
            self._session.put(WINDOW_UPDATE, FIN, self.stream_id, 0)
            self._session.forget_if_over(self)

    def reset(self) -> None:
        """Drop the stream in both directions."""
        if not self.is_over:
            self._session.put(WINDOW_UPDATE, RST, self.stream_id, 0)
        self.ignore()
        self._drop()

    def ignore(self) -> None:
        """Forget what has come and was not taken, and whatever will come."""
        self._is_ignored = True
        self.take_by(ByteQueue().take_all)

    # -- for the session -------------------------------------------------------------------------

    def arrived(self, piece: Buffer) -> None:
        """Keep some bytes of the peer."""
        size = len(piece)
        if size > self._receive_window:
            raise RemoteProtocolError("the peer sends more than its window")
        self._receive_window -= size
        if not (self._is_ignored or self.is_read_closed):
            self._session.buffered_bytes += size
            self.unread.add(piece)
            self.on_change()

    def flagged(self, flags: int) -> None:
        """Take over what the peer says of its end of the stream."""
        if flags & RST:
            self._drop()  # what came before may still be taken: an answer, perhaps
        elif flags & FIN:
            self.is_read_closed = True
            self._session.forget_if_over(self)
            self.on_change()

    def _drop(self) -> None:
        self.is_reset = True
        self._session.forget_if_over(self)
        self.on_change()


class Session:
    """All streams of a connection.

    Driven by: `receive` with all that arrives, in order; what is in `outgoing` is sent after each
    call of anything here, and `end` is called when the connection is over.
    """

    def __init__(
        self,
        *,
        is_initiator: bool,
        on_stream: Callable[[Stream], None],
        on_pong: Callable[[int], None],
        on_outgoing: Callable[[], None],
    ) -> None:
        """Begin.

        Args:
            is_initiator: We have opened the connection.
            on_stream: Told of every stream that the peer opens.
            on_pong: Told the value of every ping of ours that was answered.
            on_outgoing: Told when there is something to send.
        """
        self.streams: dict[int, Stream] = {}
        self.outgoing: list[Buffer] = []
        self.outgoing_bytes = 0
        self.buffered_bytes = 0
        self.is_over = False
        self.has_left = False
        """The peer has said that it ends the connection."""
        self._next_id = 1 if is_initiator else 2
        self._on_stream = on_stream
        self._on_pong = on_pong
        self._on_outgoing = on_outgoing
        self._head = b""  # of a frame that has come in part
        self._body_stream: Stream | None = None
        self._body_flags = 0
        self._body_bytes = 0  # of the frame's body that are still to come

    def open(self) -> Stream:
        """Open a stream.

        Raises:
            RemoteProtocolError: The connection is over, or has used up its numbers.
        """
        if self.is_over or self._next_id > _MAX_ID:
            raise RemoteProtocolError("the connection takes no more streams")
        stream = self.streams[self._next_id] = Stream(self, self._next_id)
        self._next_id += 2
        self.put(WINDOW_UPDATE, SYN, stream.stream_id, 0)
        return stream

    def ping(self, value: int) -> None:
        """Ask the peer to answer with the same value."""
        self.put(PING, SYN, 0, value)

    def go_away(self) -> None:
        """Tell the peer that the connection ends in peace."""
        self.put(GO_AWAY, 0, 0, 0)

    def end(self) -> None:
        """Take every stream for reset: the connection is over. What has come may still be taken."""
        self.is_over = True
        for stream in self.streams.values():
            stream.is_reset = True
            stream.on_change()
        self.streams.clear()
        self.outgoing.clear()
        self.outgoing_bytes = 0

    def taken(self) -> list[Buffer]:
        """Return what is to be sent, and forget it; `outgoing_bytes` counts it until `sent`."""
        parts, self.outgoing = self.outgoing, []
        return parts

    def sent(self, size_bytes: int) -> None:
        """Take note that so much of what was `taken` has left."""
        self.outgoing_bytes = max(0, self.outgoing_bytes - size_bytes)

    def receive(self, data: bytes) -> None:
        """Take in what has arrived.

        Raises:
            RemoteProtocolError: The peer breaks the protocol: the connection must end.
        """
        view, at, stop = memoryview(data), 0, len(data)
        if self._head:
            at = HEADER.size - len(self._head)
            self._head += data[:at]
            if len(self._head) < HEADER.size:
                return
            head, self._head = self._head, b""
            self._start_frame(*HEADER.unpack(head))
        while at < stop and not (self.has_left or self.is_over):
            if self._body_bytes:
                size = min(self._body_bytes, stop - at)
                self._take_body(view[at : at + size], stop)
                at += size
            elif stop - at >= HEADER.size:
                at += HEADER.size
                self._start_frame(*HEADER.unpack_from(data, at - HEADER.size))
            else:
                self._head = data[at:]
                return

    def put(
        self, kind: int, flags: int, stream_id: int, value: int, body: Buffer | None = None
    ) -> None:
        """Queue a frame."""
        if self.is_over:
            return
        self.outgoing.append(HEADER.pack(0, kind, flags, stream_id, value))
        self.outgoing_bytes += HEADER.size
        if body is not None:
            self.outgoing.append(body)
            self.outgoing_bytes += len(body)
        self._on_outgoing()

    def forget_if_over(self, stream: Stream) -> None:
        """Let go of a stream that both sides are done with."""
        if stream.is_over:
            self.streams.pop(stream.stream_id, None)

    # -- frames ----------------------------------------------------------------------------------

    def _start_frame(self, version: int, kind: int, flags: int, stream_id: int, value: int) -> None:
        if version:
            raise RemoteProtocolError(f"yamux version {version}")
        if kind == PING:
            if flags & SYN:
                self.put(PING, ACK, 0, value)
                if self.outgoing_bytes > MAX_OUTGOING_BYTES:
                    raise RemoteProtocolError("the peer asks and does not take the answers")
            elif flags & ACK:
                self._on_pong(value)
            return
        if kind == GO_AWAY:
            self.has_left = True
            return
        if kind not in (DATA, WINDOW_UPDATE):
            raise RemoteProtocolError(f"yamux frame of type {kind}")
        if flags & SYN:
            self._accept(stream_id)
        stream = self.streams.get(stream_id)
        if kind == WINDOW_UPDATE:
            if stream is not None:
                stream.send_window = min(stream.send_window + value, _MAX_ID)
                stream.flagged(flags)
                if value:
                    stream.on_change()
        else:
            self._body_stream, self._body_flags, self._body_bytes = stream, flags, value
            if not value and stream is not None:
                stream.flagged(flags)

    def _accept(self, stream_id: int) -> None:
        """Take a stream that the peer opens."""
        if stream_id % 2 == self._next_id % 2 or stream_id == 0 or stream_id in self.streams:
            raise RemoteProtocolError(f"the peer opens a stream of number {stream_id}")
        stream = self.streams[stream_id] = Stream(self, stream_id)
        self.put(WINDOW_UPDATE, ACK, stream_id, 0)
        if self.outgoing_bytes > MAX_OUTGOING_BYTES:
            raise RemoteProtocolError("the peer opens streams and takes no answer")
        self._on_stream(stream)

    def _take_body(self, piece: memoryview, message_bytes: int) -> None:
        """Give a piece of a frame's body to its stream; without one it is thrown away."""
        self._body_bytes -= len(piece)
        stream = self._body_stream
        if stream is None:
            return
        if self.buffered_bytes + len(piece) > MAX_BUFFERED_BYTES:
            raise RemoteProtocolError("the peer sends more than anybody takes")
        stream.arrived(bytes(piece) if _COPIED * len(piece) < message_bytes else piece)
        if not self._body_bytes:
            stream.flagged(self._body_flags)


def _nothing() -> None:
    """Nobody listens to this stream yet."""

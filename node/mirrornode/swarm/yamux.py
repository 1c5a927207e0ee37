"""Yamux as py-libp2p 0.8.1 has it, with the cures without which a connection does not last.

What is cured, by subclassing, no library object is patched:

- *Cancelling a read or write cut a frame and killed the connection.* Frames go through an outbox
  that one task writes; waiting for room in it can be cancelled, a frame never is.
- *A stalled socket blocked everybody who wrote, and closing too.* A write that makes no progress
  for `WRITE_STALL_S` ends the connection, and `abort` closes the socket itself.
- *A dead peer was never noticed.* Silence is probed with Yamux pings.
- *A peer that ignores its window could fill our memory.* What is buffered has a bound.

The wire format is unchanged. Spec: hashicorp/yamux spec.md; libp2p yamux/README.md.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import trio
from libp2p.io.exceptions import IOException
from libp2p.network.connection.exceptions import RawConnError
from libp2p.stream_muxer.yamux.yamux import (
    FLAG_SYN,
    GO_AWAY_NORMAL,
    HEADER_SIZE,
    TYPE_DATA,
    TYPE_GO_AWAY,
    TYPE_PING,
    YAMUX_HEADER_FORMAT,
    Yamux,
    YamuxStream,
)

if TYPE_CHECKING:
    from libp2p.abc import ISecureConn
    from libp2p.peer.id import ID

    from mirrornode.swarm.noise_pipe import NoisePipe

OUTBOX_BYTES = 256 * 1024  # a stream that writes more waits: one Yamux window
MAX_OUTBOX_BYTES = 4 * 1024 * 1024  # control frames never wait; a peer that makes us send this
MAX_BUFFERED_BYTES = 64 * 1024 * 1024  # received and not yet read, over all streams of a connection
MAX_OUTBOUND_STREAMS = 200  # below the library's own 256, so that its semaphore never blocks
WRITE_STALL_S = 15.0
FLUSH_S = 0.3  # how long `finish` may take to send what is queued

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Liveness:
    """How a silent peer is found out."""

    ping_every_s: float = 15.0
    answer_within_s: float = 10.0


class SteadyYamux(Yamux):
    """A Yamux connection that survives cancelled calls and notices dead peers.

    Driven by: its owner runs `start` and `run_writer` as two tasks and calls `release` when
    either ends. Streams are opened by `open_outbound` only.
    """

    def __init__(
        self,
        secured_conn: NoisePipe,
        peer_id: ID,
        *,
        is_initiator: bool,
        close_socket: Callable[[], None],
        liveness: Liveness,
    ) -> None:
        """Wrap a secured connection whose socket `close_socket` closes at once."""
        # The pipe has what the library uses of a connection, not the whole of its interface.
        super().__init__(cast("ISecureConn", secured_conn), peer_id, is_initiator=is_initiator)
        self._pipe = secured_conn
        self._close_socket = close_socket
        self._liveness = liveness
        self._outbox: list[bytes] = []
        self._outbox_bytes = 0
        self._outbox_changed = trio.Event()
        self._is_aborted = False
        self._outbound_slots = trio.CapacityLimiter(MAX_OUTBOUND_STREAMS)

    @property
    def is_usable(self) -> bool:
        """False as soon as the connection is known to be ending."""
        return not (self._is_aborted or self.event_shutting_down.is_set())

    @property
    def open_outbound_count(self) -> int:
        """How many streams of `open_outbound` are in use."""
        return self._outbound_slots.borrowed_tokens

    def abort(self) -> None:
        """Close the socket now; every read and write on this connection ends with an error."""
        if not self._is_aborted:
            self._is_aborted = True
            self._close_socket()
            self._signal_outbox()

    async def finish(self) -> None:
        """Say goodbye, send what is queued if that takes no longer than `FLUSH_S`, then `abort`."""
        if self.is_usable:
            self._put(_header(TYPE_GO_AWAY, 0, GO_AWAY_NORMAL))
        with trio.CancelScope(deadline=trio.current_time() + FLUSH_S, shield=True):
            while self._outbox_bytes and self.is_usable:
                await self._outbox_changed.wait()
        self.abort()

    async def release(self) -> None:
        """Wake everybody who waits on a stream of this connection, which has ended."""
        self.abort()
        with trio.CancelScope(shield=True):
            await self._cleanup_on_error()

    async def open_outbound(self, token: object) -> YamuxStream:
        """Open a stream; `token` holds one of `MAX_OUTBOUND_STREAMS` slots until `give_back`.

        Raises:
            MuxedStreamError: The connection is ending.
        """
        await self._outbound_slots.acquire_on_behalf_of(token)
        try:
            # Opening only queues a frame; cancelled half way it would leak the library's slot.
            with trio.CancelScope(shield=True):
                return await self.open_stream()
        except BaseException:
            self._outbound_slots.release_on_behalf_of(token)
            raise

    def give_back(self, token: object) -> None:
        """Free the slot that `open_outbound` took for `token`."""
        self._outbound_slots.release_on_behalf_of(token)

    async def run_writer(self) -> None:
        """Write queued frames until the connection ends."""
        while self.is_usable:
            if not self._outbox:
                await self._outbox_changed.wait()
                continue
            batch, size_bytes = b"".join(self._outbox), self._outbox_bytes
            self._outbox.clear()
            try:
                # Not `fail_after`, which costs more than encrypting a small frame.
                with trio.CancelScope(deadline=trio.current_time() + WRITE_STALL_S) as writing:
                    await self.secured_conn.write(batch)
            except (IOException, RawConnError, OSError) as exc:
                log.debug("connection write failed peer=%s error=%r", self.peer_id, exc)
                self.abort()
            if writing.cancelled_caught:
                log.debug("connection stalled peer=%s", self.peer_id)
                self.abort()
            self._outbox_bytes -= size_bytes
            self._signal_outbox()

    async def _write_frame(self, data: bytes) -> None:
        """Queue one frame: at once for control frames, when there is room for others."""
        if data[1] == TYPE_DATA and len(data) > HEADER_SIZE:
            while self._outbox_bytes >= OUTBOX_BYTES and self.is_usable:
                await self._outbox_changed.wait()
        self._put(data)

    def _put(self, frame: bytes) -> None:
        if not self.is_usable:
            raise RawConnError("the connection has ended")
        if self._outbox_bytes > MAX_OUTBOX_BYTES:
            self.abort()
            raise RawConnError("the peer takes no bytes")
        self._outbox.append(frame)
        self._outbox_bytes += len(frame)
        self._signal_outbox()

    def _signal_outbox(self) -> None:
        self._outbox_changed.set()
        self._outbox_changed = trio.Event()

    async def _read_data_body(self, length: int) -> bytes:
        """Read a frame's body, unless the peer has sent more than it may."""
        buffered = sum(map(len, self.stream_buffers.values()))
        if buffered + length > MAX_BUFFERED_BYTES:
            log.info("connection closed peer=%s reason=window ignored", self.peer_id)
            self.abort()
            raise RawConnError("the peer ignores its window")
        # Without a timeout of its own: a peer that stops inside a frame answers no ping either.
        return await self._pipe.read(length)

    async def _measure_rtt_loop(self) -> None:
        """Ping for as long as the connection lasts; end it when no answer comes.

        The library measures the round trip here and ignores a missing answer.
        """
        pause_s = min(1.0, self._liveness.ping_every_s)  # the first sets the RTT for window tuning
        while self.is_usable:
            with trio.move_on_after(pause_s):
                await self.event_shutting_down.wait()
                return
            pause_s = self._liveness.ping_every_s
            self._ping_id = self._ping_id + 1 & 0xFFFFFFFF
            self._ping_event = trio.Event()
            self._ping_sent_time = trio.current_time()
            try:
                self._put(_header(TYPE_PING, FLAG_SYN, self._ping_id))
            except RawConnError:
                return
            with trio.move_on_after(self._liveness.answer_within_s) as waiting:
                await self._ping_event.wait()
            if waiting.cancelled_caught:
                log.info("connection closed peer=%s reason=no answer to a ping", self.peer_id)
                self.abort()


def _header(frame_type: int, flags: int, value: int) -> bytes:
    """Return a frame of the connection itself (stream 0)."""
    return struct.pack(YAMUX_HEADER_FORMAT, 0, frame_type, flags, 0, value)

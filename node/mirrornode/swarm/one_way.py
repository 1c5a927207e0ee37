"""One-way streams: frames for a peer that answers, if at all, on a stream of its own.

An `Outlet` is a stream that we keep open and write to; an `Intake` takes the frames of the streams
that peers open to us. What a peer can make us hold is bounded by `FrameRoom`: large frames are
read only while there is room for them, small ones always.
Used by Bitswap, whose streams are one-way by its specification.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from mirrornode.errors import RemoteProtocolError, SourceGone, SourceTooSlow
from mirrornode.swarm.time_limit import TimeLimit

if TYPE_CHECKING:
    from mirrornode.swarm.streams import FramedStream

SMALL_FRAME_BYTES = 64 * 1024  # wantlists and answers without blocks: read without asking for room
LARGE_FRAMES = 64  # of all peers together that are being read: 256 MiB of the largest, if all came
LARGE_FRAMES_PER_PEER = 8  # Kubo sends with eight workers
STREAMS_PER_PEER = 64  # Kubo opens one a message, Helia too
IDLE_TIMEOUT_S = 600.0  # Kubo keeps its stream for wants open and would write into a closed one
RECEIVE_TIMEOUT_S = 120.0  # a receiver past this is stuck
MAX_TOGETHER = 64  # frames handed over at once: the way to asyncio costs more than a small one
SLOWEST_BYTES_PER_S = 12_500  # 100 kbit/s, as Kubo allows
SEND_MIN_S, SEND_MAX_S = 10.0, 120.0

Receive = Callable[[str, Sequence[bytes]], Awaitable[None]]


@dataclass(slots=True)
class Intake:
    """What takes the frames of one protocol's streams.

    Attributes:
        receive: Told peer id and frames, in order within a stream; runs in trio. The stream is
            read on when it returns; what it raises resets the stream.
        max_frame_bytes: Larger frames reset the stream, unread.
        room: For large frames of all peers.
    """

    receive: Receive
    max_frame_bytes: int
    room: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(LARGE_FRAMES))


class PeerIntake:
    """The streams that one connection has open to intakes."""

    def __init__(self, peer_id: str) -> None:
        self._peer_id = peer_id
        self._room = trio.CapacityLimiter(LARGE_FRAMES_PER_PEER)
        self.streams = 0
        self.received_bytes = 0
        """Grows while frames arrive, also within one."""

    async def take(self, intake: Intake, stream: FramedStream) -> None:
        """Hand over the frames of a stream until the peer closes it.

        Raises:
            RemoteProtocolError: A frame is too large or malformed, or there are too many streams.
            SourceGone: The stream was reset.
            trio.TooSlowError: Nothing came for long, or a frame comes too slowly.
        """
        if self.streams >= STREAMS_PER_PEER:
            raise RemoteProtocolError(f"{self._peer_id} has {self.streams} one-way streams open")
        self.streams += 1
        stream.on_read = self._count
        try:
            while True:
                with TimeLimit(IDLE_TIMEOUT_S):
                    length = await stream.next_length(intake.max_frame_bytes)
                if length is None:
                    return
                if length <= SMALL_FRAME_BYTES:
                    await self._hand_over(intake, stream, length)
                else:
                    async with self._room, intake.room:
                        await self._hand_over(intake, stream, length)
        finally:
            self.streams -= 1

    async def _hand_over(self, intake: Intake, stream: FramedStream, length: int) -> None:
        with TimeLimit(transfer_timeout_s(length)):
            first = await stream.read_frame(intake.max_frame_bytes)
        if first is None:
            return
        frames = [first, *stream.arrived_frames(intake.max_frame_bytes, limit=MAX_TOGETHER - 1)]
        with TimeLimit(RECEIVE_TIMEOUT_S):
            await intake.receive(self._peer_id, frames)

    def _count(self, size_bytes: int) -> None:
        self.received_bytes += size_bytes


class Outlet:
    """A stream of ours that only we write to. One `send` at a time."""

    def __init__(
        self, peer_id: str, protocol: str, stream: FramedStream, release: Callable[[], None]
    ) -> None:
        """Take over a stream on which `protocol` was agreed; `release` is called at its end."""
        self.peer_id = peer_id
        self.protocol = protocol
        self._stream = stream
        self._release = release
        self._is_open = True

    async def send(self, frame: bytes) -> None:
        """Send one frame, its length before it included; return when the peer has room for it.

        Raises:
            SourceGone: The stream or the connection has ended, or the peer does not read.
            SourceTooSlow: It reads, but less than 100 kbit/s.
        """
        if not self._is_open:
            raise SourceGone(f"the stream to {self.peer_id} is closed", source_id=self.peer_id)
        try:
            with TimeLimit(transfer_timeout_s(len(frame))):
                await self._stream.write(frame)
        except trio.TooSlowError:
            self._end(is_clean=False)
            raise SourceTooSlow(
                f"{self.peer_id} reads too slowly", source_id=self.peer_id
            ) from None
        except BaseException:
            self._end(is_clean=False)
            raise

    async def close(self) -> None:
        """Close the stream, cleanly if it still works; a second call does nothing."""
        self._end(is_clean=True)

    def _end(self, *, is_clean: bool) -> None:
        if not self._is_open:
            return
        self._is_open = False
        if is_clean:
            self._stream.close()
        else:
            self._stream.reset()
        self._release()


def transfer_timeout_s(size_bytes: int) -> float:
    """Return how long a message of `size_bytes` may take on its way; Kubo's numbers."""
    return min(SEND_MAX_S, max(SEND_MIN_S, 2.0 + size_bytes / SLOWEST_BYTES_PER_S))

"""One stream of a connection: protocol negotiation, then frames, with our errors.

The negotiation line of multistream-select has the same framing as the messages after it, so one
decoder reads both. When the peer is known to speak the protocol, the opening side sends header,
protocol and first message in one write and only then reads the answers: one round trip, not two.
Spec: multistream-select 1.0.0; "lazy" negotiation as go-multistream does it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import trio
from libp2p.io.exceptions import IOException
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError

from mirrornode.errors import RemoteProtocolError, SourceGone, SourceRefused
from mirrornode.wire.frames import FrameDecoder, encode_frame

if TYPE_CHECKING:
    from libp2p.stream_muxer.yamux.yamux import YamuxStream

MULTISTREAM = "/multistream/1.0.0"
NOT_AVAILABLE = "na"
MAX_LINE_BYTES = 1024  # protocol names are short; the spec lets a reader refuse longer lines
MAX_PROPOSALS = 16

WINDOW_BYTES = 256 * 1024  # yamux: what every stream begins with
MAX_WINDOW_BYTES = 2 * 1024 * 1024
FAST_S = 0.05  # half a window within this: the window is what holds the peer back

_READ_BYTES = 256 * 1024
_RESET_TIMEOUT_S = 1.0

T = TypeVar("T")


class FramedStream:
    """Reads and writes one Yamux stream.

    Cancelling any method leaves the connection usable, but not the stream: `reset` it then.
    """

    def __init__(self, stream: YamuxStream, peer_id: str) -> None:
        """Take over a stream that nothing has been read from."""
        self._stream = stream
        self._peer_id = peer_id
        self._decoder = FrameDecoder()
        self._window_bytes = WINDOW_BYTES
        self._taken_bytes = 0  # since the peer was last allowed to send more
        self._granted_at = 0.0
        self.on_read: Callable[[int], None] = lambda size_bytes: None
        """Told how many bytes have come, for every read."""

    @property
    def is_finished(self) -> bool:
        """True when both sides are done with the stream."""
        return self._stream.closed

    async def write(self, data: bytes) -> None:
        """Send raw bytes.

        Raises:
            SourceGone: The peer reset the stream, left, or has not read for five seconds.
        """
        with self._translated():
            await self._stream.write(data)

    async def write_frame(self, payload: bytes) -> None:
        """Send one frame; raises as `write`."""
        await self.write(encode_frame(payload))

    async def read_frame(self, max_bytes: int) -> bytes | None:
        """Return the next frame, or None when the peer has closed its side between two frames.

        Raises:
            SourceGone: The stream was reset or the connection ended.
            RemoteProtocolError: Too large, malformed, or cut off.
        """
        return await self._read(lambda: self._decoder.next_frame(max_bytes))

    async def next_length(self, max_bytes: int) -> int | None:
        """Return how long the next frame is; None and errors as in `read_frame`."""
        return await self._read(lambda: self._decoder.next_length(max_bytes))

    def arrived_frames(self, max_bytes: int, *, limit: int) -> list[bytes]:
        """Return at most `limit` further frames that are there already, without waiting.

        Raises:
            RemoteProtocolError: As in `read_frame`.
        """
        frames: list[bytes] = []
        while len(frames) < limit:
            if (frame := self._decoder.next_frame(max_bytes)) is None:
                break
            frames.append(frame)
        return frames

    async def read_exactly(self, size_bytes: int) -> bytes | None:
        """Return raw bytes; None and errors as in `read_frame`."""
        return await self._read(lambda: self._decoder.take_exactly(size_bytes))

    async def close(self) -> None:
        """Close our side; the stream is gone when the peer closes its side, too."""
        with self._translated():
            await self._stream.close()

    async def reset(self) -> None:
        """Drop the stream at once, in both directions; also when the caller is cancelled."""
        with (
            trio.CancelScope(deadline=trio.current_time() + _RESET_TIMEOUT_S, shield=True),
            contextlib.suppress(MuxedStreamError, IOException),
        ):
            await self._stream.reset()

    async def propose(self, protocol: str) -> None:
        """Agree with the peer on `protocol`.

        Raises:
            SourceRefused: The peer does not speak `protocol`.
            RemoteProtocolError: It does not speak multistream-select.
            SourceGone: As `write`.
        """
        await self.write(_line(MULTISTREAM) + _line(protocol))
        await self._confirm(protocol)

    async def send_only(self, protocol: str, messages: Sequence[bytes], *, is_known: bool) -> None:
        """Agree on `protocol`, send frames and close our side; raises as `propose`.

        Args:
            protocol: The only proposal.
            messages: The frames' payloads.
            is_known: The peer has said that it speaks `protocol`: send without waiting for it to
                agree. One that does not would take the messages for its next proposals.
        """
        if is_known:
            await self.write(_line(MULTISTREAM) + _line(protocol) + _frames(messages))
            await self.close()
            await self._confirm(protocol)
        else:
            await self.send(protocol, messages, is_known=False)
            await self.close()

    async def send(self, protocol: str, messages: Sequence[bytes], *, is_known: bool) -> None:
        """Agree on `protocol` and send frames; else as `send_only`."""
        if is_known:
            await self.write(_line(MULTISTREAM) + _line(protocol) + _frames(messages))
            await self._confirm(protocol)
        else:
            await self.propose(protocol)
            await self.write(_frames(messages))

    async def _confirm(self, protocol: str) -> None:
        if (line := await self._read_line()) != MULTISTREAM:
            raise RemoteProtocolError(f"{self._peer_id} began a stream with {line!r}")
        line = await self._read_line()
        if line == NOT_AVAILABLE:
            raise SourceRefused(
                f"{self._peer_id} does not speak {protocol}", source_id=self._peer_id
            )
        if line != protocol:
            raise RemoteProtocolError(f"{self._peer_id} answered {line!r} to {protocol}")

    async def accept(self, is_spoken: Callable[[str], bool]) -> str:
        """Agree with the opening side on a protocol and return it.

        Raises:
            RemoteProtocolError: It proposes nothing that is spoken here.
        """
        if (line := await self._read_line()) != MULTISTREAM:
            raise RemoteProtocolError(f"{self._peer_id} began a stream with {line!r}")
        answer = _line(MULTISTREAM)
        if self._decoder.is_empty:  # nothing proposed yet: it may wait for our greeting
            await self.write(answer)
            answer = b""
        for _ in range(MAX_PROPOSALS):
            line = await self._read_line()
            if is_spoken(line):
                await self.write(answer + _line(line))
                return line
            await self.write(answer + _line(NOT_AVAILABLE))
            answer = b""
        raise RemoteProtocolError(f"{self._peer_id} proposed no protocol that is spoken here")

    async def _read_line(self) -> str:
        frame = await self.read_frame(MAX_LINE_BYTES)
        if frame is None:
            raise SourceGone(f"{self._peer_id} closed a stream", source_id=self._peer_id)
        if not frame.endswith(b"\n"):
            raise RemoteProtocolError(f"{self._peer_id} sent a line without an end")
        return frame[:-1].decode(errors="replace")

    async def _read(self, take: Callable[[], T | None]) -> T | None:
        while (taken := take()) is None:
            with self._translated():
                try:
                    chunk = await self._receive()
                    self._decoder.feed(chunk)
                    self.on_read(len(chunk))
                    continue
                except MuxedStreamEOF:
                    # The library says "end" also for a reset and for the end of the connection.
                    if (
                        self._stream.reset_received
                        or self._stream.conn.event_shutting_down.is_set()
                    ):
                        raise
            if self._decoder.is_empty:
                return None
            raise RemoteProtocolError(f"{self._peer_id} closed a stream inside a frame")
        return taken

    async def _receive(self) -> bytes:
        """Return what has come, and let the peer send more now and then.

        The library does so after every read: a third of all that a receiver sent and sealed. Half
        a window at a time is enough; a stream that is fast gets a larger one, as the library's.
        """
        stream = self._stream
        chunk: bytes = await stream.conn.read_stream(stream.stream_id, _READ_BYTES)
        self._taken_bytes += len(chunk)
        if 2 * self._taken_bytes >= self._window_bytes and not stream.recv_closed:
            now = trio.current_time()
            grown = min(2 * self._window_bytes, MAX_WINDOW_BYTES)
            is_fast = now - self._granted_at < max(FAST_S, 4 * stream.conn.rtt())
            growth = grown - self._window_bytes if is_fast else 0
            increment, self._taken_bytes = self._taken_bytes + growth, 0
            self._window_bytes += growth
            self._granted_at = now
            stream.recv_window += increment
            await stream.send_window_update(increment)
        return chunk

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (MuxedStreamError, IOException, KeyError) as exc:
            # KeyError: the library drops a stream's event when the connection ends under a reader.
            raise SourceGone(
                f"{self._peer_id} ended a stream or the connection", source_id=self._peer_id
            ) from exc


def _line(text: str) -> bytes:
    return encode_frame(text.encode() + b"\n")


def _frames(messages: Sequence[bytes]) -> bytes:
    return b"".join(map(encode_frame, messages))

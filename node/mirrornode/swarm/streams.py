"""One stream of a connection: protocol negotiation, then frames, with our errors.

The negotiation line of multistream-select has the same framing as the messages after it, so one
decoder reads both. When the peer is known to speak the protocol, the opening side sends header,
protocol and first message in one write and only then reads the answers: one round trip, not two.
Spec: multistream-select 1.0.0; "lazy" negotiation as go-multistream does it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from mirrornode.errors import RemoteProtocolError, SourceGone, SourceRefused
from mirrornode.wire.frames import FrameDecoder, encode_frame

if TYPE_CHECKING:
    from mirrornode.swarm.yamux import MuxedStream

MULTISTREAM = "/multistream/1.0.0"
NOT_AVAILABLE = "na"
MAX_LINE_BYTES = 1024  # protocol names are short; the spec lets a reader refuse longer lines
MAX_PROPOSALS = 16

T = TypeVar("T")


class FramedStream:
    """Reads and writes one stream.

    Cancelling any method leaves the connection usable, but not the stream: `reset` it then.
    """

    def __init__(self, stream: MuxedStream, peer_id: str) -> None:
        """Take over a stream that nothing has been read from."""
        self._stream = stream
        self._peer_id = peer_id
        self._decoder = FrameDecoder()
        self.on_read: Callable[[int], None] = lambda size_bytes: None
        """Told how many bytes have come, for every read."""

    @property
    def is_finished(self) -> bool:
        """True when both sides are done with the stream."""
        return self._stream.is_finished

    async def write(self, data: bytes) -> None:
        """Send raw bytes.

        Raises:
            SourceGone: The peer reset the stream, left, or has not read for ten seconds.
        """
        await self._stream.send_all(data)

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

    def close(self) -> None:
        """Close our side; the stream is gone when the peer closes its side, too.

        Not an error when the peer has reset it: one that has answered may do that.
        """
        self._stream.close()

    def reset(self) -> None:
        """Drop the stream at once, in both directions."""
        self._stream.reset()

    def ignore(self) -> None:
        """Throw away what the peer sends from now on."""
        self._stream.ignore()

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
            self.close()
            await self._confirm(protocol)
        else:
            await self.send(protocol, messages, is_known=False)
            self.close()

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
            size_bytes = await self._stream.receive_into(self._decoder.feed_all)
            if size_bytes:
                self.on_read(size_bytes)
            elif self._decoder.is_empty:
                return None
            else:
                raise RemoteProtocolError(f"{self._peer_id} closed a stream inside a frame")
        return taken


def _line(text: str) -> bytes:
    return encode_frame(text.encode() + b"\n")


def _frames(messages: Sequence[bytes]) -> bytes:
    return b"".join(map(encode_frame, messages))

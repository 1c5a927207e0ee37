"""Yamux without a socket: two sessions face to face, and one that faces an attacker."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from mirrornode.errors import RemoteProtocolError
from mirrornode.wire.byte_queue import ByteQueue
from mirrornode.wire.yamux import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    HEADER,
    MAX_BUFFERED_BYTES,
    MAX_OUTGOING_BYTES,
    PING,
    RST,
    SYN,
    WINDOW_BYTES,
    WINDOW_UPDATE,
    Session,
    Stream,
)


class End:
    """One end of a connection: its session, and what it was told."""

    def __init__(self, *, is_initiator: bool) -> None:
        self.streams: list[Stream] = []
        self.pongs: list[int] = []
        self.session = Session(
            is_initiator=is_initiator,
            on_stream=self.streams.append,
            on_pong=self.pongs.append,
            on_outgoing=lambda: None,
        )

    def sent(self) -> bytes:
        data = b"".join(self.session.taken())
        self.session.sent(len(data))
        return data


def pair() -> tuple[End, End]:
    return End(is_initiator=True), End(is_initiator=False)


def exchange(one: End, two: End, cut: Callable[[], int] = lambda: 1 << 20) -> None:
    """Bring over what both have to say until they are silent, in pieces of `cut()` bytes."""
    silent = 0
    while silent < 2:
        data = one.sent()
        silent = 0 if data else silent + 1
        while data:
            size = cut()
            two.session.receive(data[:size])
            data = data[size:]
        one, two = two, one


def read(stream: Stream) -> bytes:
    queue = ByteQueue()
    stream.take_by(queue.take_all)
    return queue.take(queue.size)


def frame(kind: int, flags: int, stream_id: int, value: int, body: bytes = b"") -> bytes:
    return HEADER.pack(0, kind, flags, stream_id, value) + body


# SOURCE: hashicorp/yamux spec.md: version, type, flags, stream id, length, all big-endian; stream
# ids of the client are odd, of the server even; a window of 256 KiB at first.
def test_frames_are_those_of_the_specification() -> None:
    one, two = pair()
    stream = one.session.open()
    assert one.sent().hex() == "000100010000000100000000"
    assert stream.send(memoryview(b"abc")) == 3
    assert one.sent().hex() == "000000000000000100000003616263"
    stream.grant(5)
    assert one.sent().hex() == "000100000000000100000005"
    stream.close()
    assert one.sent().hex() == "000100040000000100000000"
    one.session.ping(7)
    assert one.sent().hex() == "000200010000000000000007"
    one.session.go_away()
    assert one.sent().hex() == "000300000000000000000000"
    two.session.receive(frame(WINDOW_UPDATE, SYN, 1, 0))
    assert two.sent().hex() == "000100020000000100000000"
    assert two.session.open().stream_id == 2


@pytest.mark.parametrize("seed", range(12))
def test_streams_carry_their_bytes_both_ways_however_the_connection_is_cut(seed: int) -> None:
    rng = random.Random(seed)
    ends = pair()
    pieces = rng.choice(([1, 5, 12, 13], [100, 5000, 70_000], [1 << 20]))
    todo: dict[tuple[int, int], bytes] = {}
    faces: dict[tuple[int, int], Stream] = {}
    for side, end in enumerate(ends):
        for _ in range(rng.randint(1, 4)):
            stream = end.session.open()
            faces[side, stream.stream_id] = stream
    exchange(*ends)
    for side, end in enumerate(ends):
        for stream in end.streams:
            faces[side, stream.stream_id] = stream
    for key in faces:
        todo[key] = rng.randbytes(rng.choice([0, 1, 3000, 3 * WINDOW_BYTES // len(pieces)]))
    left, got = dict(todo), dict.fromkeys(faces, b"")
    while any(left.values()):
        for key, stream in faces.items():
            if left[key]:
                left[key] = left[key][stream.send(memoryview(left[key])) :]
        exchange(*ends, cut=lambda: rng.choice(pieces))
        for key, stream in faces.items():
            came = read(stream)
            got[key] += came
            stream.grant(len(came))
        exchange(*ends)
    for (side, stream_id), data in got.items():
        assert data == todo[1 - side, stream_id]
    for stream in faces.values():
        stream.close()
    exchange(*ends)
    assert all(stream.is_over and not stream.is_reset for stream in faces.values())
    assert not any(end.session.streams or end.session.buffered_bytes for end in ends)


def test_window_holds_the_sender_back_until_it_is_granted_more() -> None:
    one, two = pair()
    stream, data = one.session.open(), memoryview(bytes(2 * WINDOW_BYTES))
    changes: list[None] = []
    stream.on_change = lambda: changes.append(None)
    sent = 0
    while size := stream.send(data[sent:]):
        sent += size
    assert sent == WINDOW_BYTES
    exchange(one, two)
    assert not changes
    assert len(read(two.streams[0])) == WINDOW_BYTES
    two.streams[0].grant(100)
    exchange(one, two)
    assert changes
    assert stream.send(data[sent:]) == 100


def test_one_side_may_close_and_the_other_go_on() -> None:
    one, two = pair()
    stream = one.session.open()
    stream.send(memoryview(b"question"))
    stream.close()
    exchange(one, two)
    other = two.streams[0]
    assert read(other) == b"question"
    assert other.is_read_closed
    assert not other.is_over
    other.send(memoryview(b"answer"))
    other.close()
    exchange(one, two)
    assert stream.is_over
    assert read(stream) == b"answer"
    assert not one.session.streams
    assert not two.session.streams


def test_reset_drops_what_was_not_read_and_late_frames_are_thrown_away() -> None:
    one, two = pair()
    stream = one.session.open()
    stream.send(memoryview(b"some"))
    exchange(one, two)
    other = two.streams[0]
    other.reset()
    stream.send(memoryview(b"late"))
    exchange(one, two)
    assert stream.is_reset
    assert other.is_reset
    assert read(other) == b""
    assert two.session.buffered_bytes == 0
    fresh = one.session.open()
    fresh.send(memoryview(b"fine"))
    exchange(one, two)
    assert read(two.streams[1]) == b"fine"


def test_ignored_stream_holds_nothing() -> None:
    one, two = pair()
    stream = one.session.open()
    stream.send(memoryview(b"before"))
    exchange(one, two)
    two.streams[0].ignore()
    stream.send(memoryview(bytes(1000)))
    exchange(one, two)
    assert two.session.buffered_bytes == 0
    assert not two.streams[0].unread.size


def test_pings_are_answered() -> None:
    one, two = pair()
    one.session.ping(0xFFFFFFFF)
    exchange(one, two)
    assert one.pongs == [0xFFFFFFFF]


def test_end_keeps_what_has_come_and_takes_no_more_streams() -> None:
    one, two = pair()
    stream = one.session.open()
    stream.send(memoryview(b"last words"))
    one.session.go_away()
    exchange(one, two)
    assert two.session.has_left
    two.session.end()
    assert two.streams[0].is_reset
    assert read(two.streams[0]) == b"last words"
    assert two.session.buffered_bytes == 0
    with pytest.raises(RemoteProtocolError):
        two.session.open()
    two.streams[0].close()
    assert two.sent() == b""


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (HEADER.pack(1, DATA, 0, 1, 0), "version 1"),
        (frame(4, 0, 0, 0), "type 4"),
        (frame(WINDOW_UPDATE, SYN, 2, 0), "number 2"),
        (frame(WINDOW_UPDATE, SYN, 0, 0), "number 0"),
        (2 * frame(WINDOW_UPDATE, SYN, 1, 0), "number 1"),
        (
            frame(DATA, SYN, 1, WINDOW_BYTES + 1, bytes(WINDOW_BYTES + 1)),
            "more than its window",
        ),
        (frame(PING, SYN, 0, 1) * (MAX_OUTGOING_BYTES // 12 + 1), "does not take the answers"),
        (
            b"".join(
                frame(WINDOW_UPDATE, SYN, 1 + 2 * number, 0)
                for number in range(MAX_OUTGOING_BYTES // 12 + 1)
            ),
            "takes no answer",
        ),
        (
            b"".join(
                frame(DATA, SYN, 1 + 2 * number, WINDOW_BYTES, bytes(WINDOW_BYTES))
                for number in range(MAX_BUFFERED_BYTES // WINDOW_BYTES + 1)
            ),
            "more than anybody takes",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_peer_that_breaks_the_rules_is_named(attack: bytes, reason: str) -> None:
    end = End(is_initiator=False)
    with pytest.raises(RemoteProtocolError, match=reason):
        end.session.receive(attack)


def test_frames_of_unknown_streams_change_nothing() -> None:
    end = End(is_initiator=False)
    end.session.receive(
        frame(DATA, FIN, 9, 3, b"abc")
        + frame(WINDOW_UPDATE, RST, 9, 0)
        + frame(WINDOW_UPDATE, ACK, 2, 5)
        + frame(PING, ACK, 0, 3)
    )
    assert end.sent() == b""
    assert not end.streams
    assert end.pongs == [3]


def test_nothing_is_read_behind_a_goodbye() -> None:
    end = End(is_initiator=False)
    end.session.receive(frame(GO_AWAY, 0, 0, 0) + frame(WINDOW_UPDATE, SYN, 1, 0))
    assert end.session.has_left
    assert not end.streams

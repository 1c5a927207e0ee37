"""A sealed connection over a real socket pair, with a careful other side and a hostile one."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from mirrornode.sources.sealed_stream import SealedStream
from mirrornode.wire import sealed

TO_LEFT, TO_RIGHT = bytes([1]) * 32, bytes([2]) * 32
DATA = random.Random(5).randbytes(3 * sealed.MAX_PLAIN_BYTES + 12_345)


@dataclass
class Pair:
    """Two ends; `wire` is the right one's socket, for whoever wants to break the rules."""

    left: SealedStream
    right: SealedStream
    wire: socket.socket


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, two = socket.socketpair()
    one.settimeout(10)
    two.settimeout(10)
    left = SealedStream(one, sealed.Sealer(TO_RIGHT), sealed.Opener(TO_LEFT))
    right = SealedStream(two, sealed.Sealer(TO_LEFT), sealed.Opener(TO_RIGHT))
    yield Pair(left, right, two)
    left.close()
    right.close()


def read(stream: SealedStream, size: int, step: int) -> bytes:
    got = bytearray()
    view = memoryview(bytearray(step))
    while len(got) < size and (count := stream.read_into(view[: size - len(got)])):
        got += view[:count]
    return bytes(got)


@pytest.mark.parametrize("step", [7919, 8192, 262_143, 262_144, 1 << 20])
def test_stream_brings_all_bytes_whatever_the_reader_has_room_for(pair: Pair, step: int) -> None:
    sender = threading.Thread(target=pair.right.sendall, args=(memoryview(DATA),))
    sender.start()
    assert read(pair.left, len(DATA), step) == DATA
    sender.join()


def test_stream_goes_both_ways_and_as_files(pair: Pair) -> None:
    writer, reader = pair.left.writer(), pair.right.makefile("rb")
    assert writer.write(b"GET / HTTP/1.1\r\n") == 16
    writer.write(b"Host: x\r\n\r\nrest")
    assert reader.readline() == b"GET / HTTP/1.1\r\n"
    assert [reader.readline(), reader.readline()] == [b"Host: x\r\n", b"\r\n"]
    pair.right.sendall(b"answer")
    assert read(pair.left, 6, 100) == b"answer"
    assert reader.read(4) == b"rest"
    reader.close()


def test_stream_when_heads_and_bodies_come_in_crumbs_then_the_same(pair: Pair) -> None:
    sealer, room = sealed.Sealer(TO_LEFT), memoryview(bytearray(sealed.MAX_FRAME_BYTES))
    wire = b"".join(bytes(sealer.seal(memoryview(part), room)) for part in (b"one", b"two!"))

    def drip() -> None:
        for at in range(len(wire)):
            pair.wire.sendall(wire[at : at + 1])

    sender = threading.Thread(target=drip)
    sender.start()
    assert read(pair.left, 7, 100) == b"onetwo!"
    sender.join()


def test_stream_counts_what_arrives_while_it_is_told_to(pair: Pair) -> None:
    pair.left.is_counting = True
    pair.right.sendall(b"x" * 1000)
    assert read(pair.left, 1000, 1000) == b"x" * 1000
    assert pair.left.received_bytes == 1000 + sealed.HEAD_BYTES + sealed.TAG_BYTES


@pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\x20", b"\0\0\0\x20" + b"x" * 31])
def test_stream_when_the_other_side_leaves_then_at_its_end(pair: Pair, sent: bytes) -> None:
    pair.wire.sendall(sent)
    pair.wire.shutdown(socket.SHUT_WR)
    assert pair.left.read_into(memoryview(bytearray(100))) == 0


@pytest.mark.parametrize("sent", [b"\xff" * 64, b"\0\0\0\x20" + b"x" * 32, bytes(4)])
@pytest.mark.parametrize("room", [4, 100])
def test_stream_when_what_comes_is_not_of_the_other_side_then_aborted(
    pair: Pair, sent: bytes, room: int
) -> None:
    pair.wire.sendall(sent)
    with pytest.raises(ConnectionAbortedError, match="frame"):
        pair.left.read_into(memoryview(bytearray(room)))

"""A sealed connection over a real socket pair, with a careful other side and a hostile one."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from mirrornode.sources.sealed_stream import SealedStream
from mirrornode.transfer.keeper import READER_BYTES
from mirrornode.wire import sealed

SECRETS = bytes([1]) * 32, bytes([2]) * 32  # of the asker, of the answerer
TO_RIGHT, TO_LEFT = sealed.derive_keys(*SECRETS)
MAX_BYTES = sealed.MAX_ANSWER_BYTES
DATA = random.Random(5).randbytes(3 * MAX_BYTES + 12_345)


@dataclass
class Pair:
    """The left end asks; `wire` is the right one's socket, for whoever breaks the rules."""

    left: SealedStream
    right: SealedStream
    wire: socket.socket


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, two = socket.socketpair()
    one.settimeout(10)
    two.settimeout(10)
    left = SealedStream(one, *SECRETS, is_asker=True)
    right = SealedStream(two, *SECRETS, is_asker=False)
    yield Pair(left, right, two)
    left.close()
    right.close()


def sealed_by_right(*parts: bytes) -> bytes:
    sealer, room = sealed.Sealer(TO_LEFT), memoryview(bytearray(MAX_BYTES + 20))
    return b"".join(bytes(sealer.seal(memoryview(part), room)) for part in parts)


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
    wire = sealed_by_right(b"one", b"two!")

    def drip() -> None:
        for at in range(len(wire)):
            pair.wire.sendall(wire[at : at + 1])

    sender = threading.Thread(target=drip)
    sender.start()
    assert read(pair.left, 7, 100) == b"onetwo!"
    sender.join()


@pytest.mark.parametrize("step", [100, 1000, 2000])
def test_stream_counts_what_it_hands_out_while_it_is_told_to(pair: Pair, step: int) -> None:
    pair.right.sendall(b"x" * 1000)
    assert read(pair.left, 1000, step) == b"x" * 1000
    assert pair.left.received_bytes == 0
    pair.left.is_counting = True
    pair.right.sendall(b"y" * 1000)
    view = memoryview(bytearray(step))
    assert pair.left.received_bytes + pair.left.read_into(view) == pair.left.received_bytes
    assert read(pair.left, 1000 - pair.left.received_bytes, step).endswith(b"y" * (step < 1000))
    assert pair.left.received_bytes == 1000


def test_stream_when_a_frame_is_on_its_way_then_the_count_moves_but_does_not_run_ahead(
    pair: Pair,
) -> None:
    plain = DATA[:MAX_BYTES]
    frame = sealed_by_right(plain)
    pair.left.is_counting = True
    view = memoryview(bytearray(len(plain)))
    seen = []

    def receive() -> None:
        pair.left.read_into(view)

    reader = threading.Thread(target=receive)
    reader.start()
    for start in range(0, len(frame), 50_000):
        before = pair.left.received_bytes
        pair.wire.sendall(frame[start : start + 50_000])
        while pair.left.received_bytes == before:
            reader.join(0.001)
        seen.append(pair.left.received_bytes)
    reader.join()
    assert max(seen[:-1]) < READER_BYTES  # what the keeper leaves out
    assert pair.left.received_bytes == len(plain)
    assert view == plain


def test_stream_when_the_other_side_leaves_between_frames_then_at_its_end(pair: Pair) -> None:
    pair.wire.sendall(sealed_by_right(b"all"))
    pair.wire.shutdown(socket.SHUT_WR)
    assert read(pair.left, 100, 100) == b"all"


ONE_TWO = sealed_by_right(b"one", b"two")
HOSTILE = (
    b"\xff" * 64 + ONE_TWO, b"\0\0\0\x20" + b"x" * 32 + ONE_TWO, bytes(4) + ONE_TWO,
    ONE_TWO[len(ONE_TWO) // 2 :] + ONE_TWO,  # the first one is held back
    ONE_TWO[:2], ONE_TWO[:4], ONE_TWO[: len(ONE_TWO) // 2 - 1],  # cut off
)  # fmt: skip


@pytest.mark.parametrize("sent", HOSTILE)
@pytest.mark.parametrize("room", [2, 100])
def test_stream_when_what_comes_is_not_of_the_other_side_then_aborted_for_good(
    pair: Pair, sent: bytes, room: int
) -> None:
    pair.wire.sendall(sent)
    pair.wire.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionAbortedError, match="frame"):
        pair.left.read_into(memoryview(bytearray(room)))
    with pytest.raises(ConnectionAbortedError, match="failed"):
        pair.left.read_into(memoryview(bytearray(room)))


def test_stream_when_a_frame_takes_too_long_then_nothing_is_read_behind_it(pair: Pair) -> None:
    wire = sealed_by_right(b"one", b"two")
    pair.left.settimeout(0.01)
    pair.wire.sendall(wire[:9])
    with pytest.raises(TimeoutError):
        pair.left.read_into(memoryview(bytearray(100)))
    pair.wire.sendall(wire[9:])
    with pytest.raises(ConnectionAbortedError):
        pair.left.read_into(memoryview(bytearray(100)))


def test_stream_when_a_question_is_longer_than_a_frame_of_one_then_in_several(pair: Pair) -> None:
    question = DATA[: 3 * sealed.MAX_QUESTION_BYTES + 5]
    pair.left.sendall(question)
    assert read(pair.right, len(question), 1 << 20) == question


def test_stream_when_an_asker_sends_a_frame_as_long_as_answers_then_aborted(pair: Pair) -> None:
    too_long = DATA[: sealed.MAX_QUESTION_BYTES + 1]
    room = memoryview(bytearray(len(too_long) + 20))
    pair.left._sock.sendall(sealed.Sealer(TO_RIGHT).seal(memoryview(too_long), room))
    with pytest.raises(ConnectionAbortedError, match="size"):
        pair.right.read_into(memoryview(bytearray(1 << 20)))

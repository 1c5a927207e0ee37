"""Pieces in, other pieces out, the same bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirrornode.wire.byte_queue import SMALL_BYTES, ByteQueue

SIZES = st.sampled_from([0, 1, 2, 100, SMALL_BYTES - 1, SMALL_BYTES, 3 * SMALL_BYTES])


@given(st.lists(st.tuples(SIZES, st.booleans()), max_size=12), st.lists(SIZES, max_size=30))
def test_bytes_come_out_in_order_however_they_are_cut(
    pieces: list[tuple[int, bool]], takes: list[int]
) -> None:
    queue, moved = ByteQueue(), ByteQueue()
    whole = b""
    for number, (size, is_view) in enumerate(pieces):
        piece = bytes([number]) * size
        queue.add(memoryview(piece) if is_view else piece)
        whole += piece
    at = 0
    for number, size in enumerate(takes):
        size = min(size, queue.size)
        assert queue.peek(size) == whole[at : at + size]
        assert queue.take(size) == whole[at : at + size]
        at += size
        if number % 3 == 2:
            assert moved.take_all(queue) == len(whole) - at
            queue, moved = moved, queue
    assert queue.size == len(whole) - at
    assert queue.take(queue.size) == whole[at:]


def test_large_pieces_are_kept_as_they_came_and_small_ones_copied_together() -> None:
    queue, backing = ByteQueue(), bytearray(b"a" * SMALL_BYTES)
    queue.add(memoryview(backing))
    small = bytearray(b"b")
    for _ in range(1000):
        queue.add(memoryview(small))
    backing[:] = b"c" * SMALL_BYTES
    small[:] = b"d"
    assert queue.take(SMALL_BYTES) == b"c" * SMALL_BYTES
    assert queue.take(1000) == b"b" * 1000


def test_peek_leaves_what_it_returns_and_gives_what_there_is() -> None:
    queue = ByteQueue()
    assert queue.peek(5) == b""
    queue.add(b"ab")
    queue.add(memoryview(bytes(SMALL_BYTES)))
    assert queue.peek(3) == b"ab\0"
    assert queue.size == SMALL_BYTES + 2

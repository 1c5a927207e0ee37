"""Cutting streams."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrornode.content.buzhash_table import BUZHASH_TABLE
from mirrornode.content.chunker import BUZHASH_MAX_BYTES, BUZHASH_MIN_BYTES, cut
from mirrornode.errors import TargetError


@given(st.binary(max_size=300), st.integers(1, 80), st.lists(st.integers(0, 300), max_size=10))
def test_cut_by_size_when_pieces_vary_then_chunks_do_not(
    data: bytes, size: int, cuts: list[int]
) -> None:
    bounds = sorted({0, len(data), *(min(stop, len(data)) for stop in cuts)})
    pieces = [data[start:stop] for start, stop in pairwise(bounds)]
    expected = [data[start : start + size] for start in range(0, len(data), size)]
    assert list(cut(pieces, f"size-{size}")) == expected
    assert list(cut([b"", *pieces, b""], f"size-{size}")) == expected


def test_cut_by_size_when_piece_is_a_chunk_then_it_is_passed_on_uncopied() -> None:
    piece = bytes(1000)
    (chunk,) = cut([piece], "size-1000")
    assert chunk is piece


def test_cut_when_no_bytes_then_no_chunk_by_size_and_an_empty_one_by_content() -> None:
    assert list(cut([], "size-10")) == []
    assert list(cut([], "buzhash")) == [b""]


@pytest.mark.parametrize("chunker", ["rabin-1-2-3", "size-0", "buzhash-1", "1000"])
def test_cut_when_unknown_then_target_error(chunker: str) -> None:
    with pytest.raises(TargetError):
        list(cut([b"x"], chunker))


def test_buzhash_when_kubo_content_then_known_cuts() -> None:
    # SOURCE: Kubo 0.40.1, `ipfs add --chunker=buzhash` of these 5 MiB; the CID over these cuts is
    # checked in test_vectors.
    data = hashlib.shake_128(b"mirrornode-5242880").digest(5_242_880)
    chunks = list(cut([data], "buzhash"))
    assert b"".join(chunks) == data
    assert all(BUZHASH_MIN_BYTES <= len(chunk) <= BUZHASH_MAX_BYTES for chunk in chunks[:-1])
    assert len(chunks[-1]) < BUZHASH_MIN_BYTES
    assert len({len(chunk) for chunk in chunks[:-1]}) > 5


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 700_000), st.integers(0, 3))
def test_buzhash_when_pieces_vary_then_cuts_do_not(piece: int, seed: int) -> None:
    data = hashlib.shake_128(bytes([seed])).digest(900_000)
    pieces = [data[start : start + piece] for start in range(0, len(data), max(piece, 1000))]
    data = b"".join(pieces)
    assert list(cut(pieces, "buzhash")) == list(cut([data], "buzhash"))


@pytest.mark.parametrize(("odd_bits", "size"), [(True, BUZHASH_MAX_BYTES), (False, 131_072)])
def test_buzhash_when_one_byte_repeats_then_largest_or_smallest_chunks(
    odd_bits: bool, size: int
) -> None:
    # The 32 rotations of one word cancel out when it has an even number of bits, which always cuts,
    # and give all ones otherwise, which never does. A stream that ends on a cut is followed by an
    # empty chunk, as in boxo.
    byte = next(index for index in range(256) if BUZHASH_TABLE[index].bit_count() % 2 == odd_bits)
    chunks = list(cut([bytes((byte,)) * (2 * size)], "buzhash"))
    assert [len(chunk) for chunk in chunks] == [size, size, 0]


def test_buzhash_table_when_read_then_256_words() -> None:
    # SOURCE: boxo chunker/buzhash.go, first and last entries
    assert len(BUZHASH_TABLE) == 256
    assert BUZHASH_TABLE[0] == 0x6236E7D5
    assert BUZHASH_TABLE[-1] == 0x5C41857D

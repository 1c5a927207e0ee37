"""Batches: what an answer may hold, and what is refused."""

from __future__ import annotations

import pytest

from mirrornode.content.block import multihash_of
from mirrornode.content.car import section_head
from mirrornode.content.cid import RAW, SHA2_256, Cid
from mirrornode.errors import RemoteProtocolError
from mirrornode.wire.batch import decode_sections

BLOCKS = [b"one", b"", b"three" * 1000]
CIDS = [Cid.v1(RAW, multihash_of(SHA2_256, block)) for block in BLOCKS]


def answer(*numbers: int) -> bytes:
    return b"".join(
        section_head(CIDS[number], len(BLOCKS[number])) + BLOCKS[number] for number in numbers
    )


@pytest.mark.parametrize("count", range(4))
def test_sections_when_the_answer_ends_early_then_those_that_came(count: int) -> None:
    assert decode_sections(answer(*range(count)), CIDS) == BLOCKS[:count]


@pytest.mark.parametrize(
    "body",
    [
        answer(1),
        answer(0, 2),
        answer(0, 1, 2, 0),
        answer(0)[:-1],
        answer(0)[:1],
        b"\xff" * 12,
        b"\x00",
    ],
)
def test_sections_when_not_as_asked_then_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_sections(body, CIDS)

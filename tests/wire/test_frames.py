"""Frames: uvarint length and body, cut from a stream in any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.errors import RemoteProtocolError
from mirrornode.wire.frames import FrameDecoder, encode_frame


def frames_of(decoder: FrameDecoder, max_bytes: int) -> list[bytes]:
    found: list[bytes] = []
    while (frame := decoder.next_frame(max_bytes)) is not None:
        found.append(frame)
    return found


def test_encode_frame_when_known_then_as_multistream_writes_it() -> None:
    # SOURCE: multistream-select, "/multistream/1.0.0\n" is 132f6d75…0a on the wire
    assert encode_frame(b"/multistream/1.0.0\n").hex() == "132f6d756c746973747265616d2f312e302e300a"
    assert encode_frame(b"na\n").hex() == "036e610a"
    assert encode_frame(bytes(300))[:2].hex() == "ac02"


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 7))
def test_decoder_when_fed_in_pieces_then_yields_what_was_encoded(
    payloads: list[bytes], piece_bytes: int
) -> None:
    stream = b"".join(encode_frame(payload) for payload in payloads)
    decoder = FrameDecoder()
    found: list[bytes] = []
    for start in range(0, len(stream), piece_bytes):
        decoder.feed(stream[start : start + piece_bytes])
        found += frames_of(decoder, 1000)
    assert found == payloads
    assert decoder.is_empty


def test_decoder_when_length_is_over_the_limit_then_refuses_before_the_body() -> None:
    decoder = FrameDecoder()
    decoder.feed(encode_frame(bytes(101))[:1])
    with pytest.raises(RemoteProtocolError, match="101 bytes, at most 100"):
        decoder.next_frame(100)


def test_decoder_when_frame_is_exactly_the_limit_then_accepts() -> None:
    decoder = FrameDecoder()
    decoder.feed(encode_frame(bytes(100)))
    assert decoder.next_frame(100) == bytes(100)


@pytest.mark.parametrize("prefix", [b"\x80\x00", b"\xff\xff\xff\xff\xff"])
def test_decoder_when_length_is_malformed_then_blames_the_other_side(prefix: bytes) -> None:
    decoder = FrameDecoder()
    decoder.feed(prefix)
    with pytest.raises(RemoteProtocolError):
        decoder.next_frame(1 << 40)


def test_decoder_when_limits_differ_then_each_frame_has_its_own() -> None:
    decoder = FrameDecoder()
    decoder.feed(encode_frame(b"short") + encode_frame(bytes(5000)) + b"raw!")
    assert decoder.next_frame(10) == b"short"
    assert decoder.next_frame(5000) == bytes(5000)
    assert decoder.take_exactly(5) is None
    assert decoder.take_exactly(4) == b"raw!"
    assert decoder.is_empty

"""Sealed frames: what one side seals the other opens, in that order and no other."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mirrornode.errors import RemoteProtocolError
from mirrornode.wire import sealed

ASKER, ANSWERER = bytes(range(32)), bytes(range(32, 64))
KEY = hashlib.sha256(b"a key").digest()
MAX_BYTES = sealed.MAX_ANSWER_BYTES
SIZES = (1, 5, 16, MAX_BYTES - 1, MAX_BYTES)


def seal(sealer: sealed.Sealer, plain: bytes) -> bytes:
    room = memoryview(bytearray(sealed.HEAD_BYTES + len(plain) + sealed.TAG_BYTES))
    return bytes(sealer.seal(memoryview(plain), room))


def opened(opener: sealed.Opener, frame: bytes) -> bytes:
    head, body = frame[: sealed.HEAD_BYTES], frame[sealed.HEAD_BYTES :]
    assert opener.body_bytes(head) == len(body)
    plain = bytearray(len(body) - sealed.TAG_BYTES)
    opener.open(memoryview(body), memoryview(plain))
    return bytes(plain)


def hkdf(secret: bytes, info: bytes, size: int, *, salt: bytes | None = bytes(32)) -> bytes:
    """RFC 5869 with SHA-256, by hand; `salt` None expands only."""
    key = secret if salt is None else hmac.digest(salt, secret, "sha256")
    made, last = b"", b""
    for number in range(1, size // 32 + 1):
        last = hmac.digest(key, last + info + bytes([number]), "sha256")
        made += last
    return made


def test_keys_are_those_of_the_format() -> None:
    both = hkdf(ASKER + ANSWERER, b"mirrornode-sealed/1", 64)
    assert sealed.derive_keys(ASKER, ANSWERER) == (both[:32], both[32:])
    assert sealed.derive_keys(ANSWERER, ASKER) != (both[:32], both[32:])


def test_frames_are_those_of_the_format_also_after_a_change_of_keys() -> None:
    sealer = sealed.Sealer(KEY, frames_a_key=2)
    second = hkdf(KEY, b"mirrornode-sealed/1 next", 32, salt=None)
    third = hkdf(second, b"mirrornode-sealed/1 next", 32, salt=None)
    for number, key in enumerate((KEY, KEY, second, second, third)):
        plain = b"frame %d" % number
        head = (len(plain) + 16).to_bytes(4, "big")
        nonce = (number % 2).to_bytes(12, "big")
        assert seal(sealer, plain) == head + AESGCM(key).encrypt(nonce, plain, head)


def test_what_is_sealed_is_opened_whatever_its_size() -> None:
    sealer, opener = (
        sealed.Sealer(KEY, frames_a_key=3),
        sealed.Opener(KEY, MAX_BYTES, frames_a_key=3),
    )
    for size in SIZES:
        plain = hashlib.shake_128(str(size).encode()).digest(size)
        frame = seal(sealer, plain)
        assert plain not in frame
        assert opened(opener, frame) == plain


def _altered(frames: list[bytes]) -> list[bytes]:
    body = bytearray(frames[0])
    body[sealed.HEAD_BYTES] ^= 1
    return [bytes(body)]


def _altered_tag(frames: list[bytes]) -> list[bytes]:
    return [frames[0][:-1] + bytes([frames[0][-1] ^ 128])]


def _shorter(frames: list[bytes]) -> list[bytes]:
    body = frames[0][sealed.HEAD_BYTES : -1]
    return [len(body).to_bytes(sealed.HEAD_BYTES, "big") + body]


@pytest.mark.parametrize(
    "attack",
    [
        _altered,
        _altered_tag,
        _shorter,
        lambda frames: [frames[0], frames[0]],  # said twice
        lambda frames: [frames[1]],  # one is held back
        lambda frames: [seal(sealed.Sealer(bytes(32)), b"frame 0")],  # another's key
    ],
)
def test_frame_when_it_is_not_the_next_one_of_the_other_side_then_refused(
    attack: Callable[[list[bytes]], list[bytes]],
) -> None:
    sealer, opener = sealed.Sealer(KEY), sealed.Opener(KEY, MAX_BYTES)
    *first, last = attack([seal(sealer, b"frame %d" % number) for number in range(2)])
    for frame in first:
        opened(opener, frame)
    with pytest.raises(RemoteProtocolError, match="altered"):
        opened(opener, last)


@pytest.mark.parametrize("size", [0, 1, 16, MAX_BYTES + 17, (1 << 32) - 1])
def test_head_when_no_frame_has_such_a_size_then_refused(size: int) -> None:
    with pytest.raises(RemoteProtocolError, match="size"):
        sealed.Opener(KEY, MAX_BYTES).body_bytes(size.to_bytes(4, "big"))


def test_secret_is_read_as_it_was_written() -> None:
    assert sealed.decode_secret(sealed.encode_secret(ASKER)) == ASKER


@pytest.mark.parametrize("value", ["", "AAAA", "!" * 44, "A" * 43, "AA==" * 11, "é" * 44])
def test_secret_when_it_is_none_then_refused(value: str) -> None:
    with pytest.raises(RemoteProtocolError, match="secret"):
        sealed.decode_secret(value)


def test_known_answer_of_the_format() -> None:
    # SOURCE: docs/formats/sealed.md
    to_answerer, to_asker = sealed.derive_keys(ASKER, ANSWERER)
    assert to_answerer.hex() == "1a043182d74c5b721884634600b31414b55fd4b018fd57a53dd6bb54b3bfe57d"
    assert to_asker.hex() == "bde99a1b1321f4fcb8dbeba999eb7458209681c3fd177186910ed25724feb418"
    frame = "000000154a4e9ee52f1a09edbb5376f3e6cbbec1c841646843"
    assert seal(sealed.Sealer(to_answerer), b"hello").hex() == frame
    numbers = (sealed.FRAMES_A_KEY, sealed.MAX_ANSWER_BYTES, sealed.MAX_QUESTION_BYTES)
    assert numbers == (65_536, 262_144, 16_384)

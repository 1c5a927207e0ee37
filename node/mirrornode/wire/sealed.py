"""Sealed frames: large encrypted records between two nodes that TLS has introduced to each other.

A TLS record holds 16 KiB, and from Python each costs a call and a turn of the interpreter's lock.
Two nodes whose TLS connection is up, the certificate checked and the bearer shown, may leave it for
frames of 256 KiB under AES-256-GCM (NIST SP 800-38D). The keys come from secrets that both sides
drew and sent through TLS, so whoever could not read that can neither read nor alter what follows.
Format: docs/formats/sealed.md.

This module derives keys, seals and opens; it opens no socket.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from mirrornode.errors import RemoteProtocolError

PATH: Final = "/mirrornode/sealed"
PROTOCOL: Final = "mirrornode-sealed/1"  # the token of `Upgrade`
SECRET_HEADER: Final = "Mirrornode-Secret"
SECRET_BYTES: Final = 32
HEAD_BYTES: Final = 4
TAG_BYTES: Final = 16
# Most bytes in a frame of each side. Answers are sealed and sent while they are in the processor's
# cache; questions are small, and whoever answers has many askers.
MAX_ANSWER_BYTES: Final = 256 * 1024
MAX_QUESTION_BYTES: Final = 16 * 1024
# 16 GiB a key: for GCM the advantage of an attacker grows with the square of what one key seals,
# and RFC 8446 section 5.5 stops at 2^24.5 records of 16 KiB (380 GiB).
FRAMES_A_KEY: Final = 1 << 16

_KEY_BYTES = 32


class Sealer:
    """Seals what one side sends; each frame once, in order."""

    def __init__(self, key: bytes, *, frames_a_key: int = FRAMES_A_KEY) -> None:
        self._keys = _Keys(key, frames_a_key)

    def seal(self, plain: memoryview, frame: memoryview) -> memoryview:
        """Write the frame of one byte or more into `frame`; returns the part used."""
        end = HEAD_BYTES + len(plain) + TAG_BYTES
        head = (len(plain) + TAG_BYTES).to_bytes(HEAD_BYTES, "big")
        frame[:HEAD_BYTES] = head
        cipher, nonce = self._keys.next()
        cipher.encrypt_into(nonce, plain, head, frame[HEAD_BYTES:end])
        return frame[:end]


class Opener:
    """Opens what the other side sent; each frame once, in order."""

    def __init__(
        self, key: bytes, max_plain_bytes: int, *, frames_a_key: int = FRAMES_A_KEY
    ) -> None:
        self._keys = _Keys(key, frames_a_key)
        self.max_plain_bytes = max_plain_bytes

    def body_bytes(self, head: bytes | bytearray) -> int:
        """Return how many bytes follow a frame's head: ciphertext and tag.

        Raises:
            RemoteProtocolError: No frame has such a size.
        """
        size = int.from_bytes(head, "big")
        if not TAG_BYTES < size <= self.max_plain_bytes + TAG_BYTES:
            raise RemoteProtocolError("a sealed frame of a size that none has")
        return size

    def open(self, body: memoryview, plain: memoryview) -> None:
        """Decrypt a frame's body into `plain`, which is shorter by the tag.

        Raises:
            RemoteProtocolError: The frame is not the one that the other side sealed next; `plain`
                holds what nobody vouches for.
        """
        cipher, nonce = self._keys.next()
        try:
            cipher.decrypt_into(nonce, body, len(body).to_bytes(HEAD_BYTES, "big"), plain)
        except InvalidTag as exc:
            raise RemoteProtocolError("a sealed frame was altered on its way") from exc


class _Keys:
    """The keys of one direction, each for so many frames, and the nonce of every frame."""

    def __init__(self, key: bytes, frames_a_key: int) -> None:
        self._key = key
        self._frames_a_key = frames_a_key
        self._frames = 0
        self._cipher = AESGCM(key)

    def next(self) -> tuple[AESGCM, bytes]:
        if self._frames == self._frames_a_key:
            self._key = HKDFExpand(SHA256(), _KEY_BYTES, b"mirrornode-sealed/1 next").derive(
                self._key
            )
            self._cipher = AESGCM(self._key)
            self._frames = 0
        nonce = self._frames.to_bytes(12, "big")
        self._frames += 1
        return self._cipher, nonce


def derive_keys(asker_secret: bytes, answerer_secret: bytes) -> tuple[bytes, bytes]:
    """Return the first keys: of what the asker sends, and of what it is sent."""
    both = HKDF(SHA256(), 2 * _KEY_BYTES, None, PROTOCOL.encode()).derive(
        asker_secret + answerer_secret
    )
    return both[:_KEY_BYTES], both[_KEY_BYTES:]


def encode_secret(secret: bytes) -> str:
    """Return a secret as a header's value."""
    return base64.b64encode(secret).decode()


def decode_secret(text: str) -> bytes:
    """Return the secret that a header holds.

    Raises:
        RemoteProtocolError: It is none.
    """
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise RemoteProtocolError("a secret that is not base64") from exc
    if len(secret) != SECRET_BYTES:
        raise RemoteProtocolError("a secret of another length")
    return secret

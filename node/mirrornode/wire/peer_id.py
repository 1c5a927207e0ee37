"""Peer ids between text and bytes.

A peer id is the multihash of a public key: identity when the key is short (Ed25519, secp256k1),
sha2-256 otherwise (RSA, ECDSA). Its canonical text is base58btc without a multibase prefix; the
other legal text is a CIDv1 of codec libp2p-key. Keys and signatures are the swarm's business.

Spec: libp2p peer-ids.md.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache

from mirrornode.errors import RemoteProtocolError, TargetError

MAX_IDENTITY_KEY_BYTES = 42  # spec: longer keys are hashed
MAX_TEXT_CHARACTERS = 128  # the longest legal form is 77 characters (base16 CID of a hash is 77)

_IDENTITY, _SHA2_256, _SHA2_256_BYTES = 0x00, 0x12, 32
_CID_V1_LIBP2P_KEY = b"\x01\x72"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


def check_peer_id(binary: bytes) -> bytes:
    """Return `binary` when it is a well-formed peer id.

    Raises:
        RemoteProtocolError: It is not.
    """
    is_identity = (
        2 < len(binary) <= 2 + MAX_IDENTITY_KEY_BYTES
        and binary[0] == _IDENTITY
        and binary[1] == len(binary) - 2
    )
    is_hash = len(binary) == 2 + _SHA2_256_BYTES and binary[:2] == b"\x12\x20"
    if not (is_identity or is_hash):
        raise RemoteProtocolError(f"not a peer id ({len(binary)} bytes)")
    return binary


@lru_cache(maxsize=16384)
def peer_id_to_text(binary: bytes) -> str:
    """Return the canonical base58btc text.

    Raises:
        RemoteProtocolError: `binary` is not a peer id.
    """
    return _encode_base(check_peer_id(binary), _BASE58)


@lru_cache(maxsize=16384)
def peer_id_to_bytes(text: str) -> bytes:
    """Return the multihash of a peer id in either text form.

    Raises:
        TargetError: Not the text of a peer id.
    """
    try:
        if len(text) > MAX_TEXT_CHARACTERS:
            raise ValueError("too long")
        if text.startswith(("1", "Qm")):
            return check_peer_id(_decode_base(text, _BASE58))
        cid = _decode_multibase(text)
        if not cid.startswith(_CID_V1_LIBP2P_KEY):
            raise ValueError("not a CIDv1 of a libp2p key")
        return check_peer_id(cid[len(_CID_V1_LIBP2P_KEY) :])
    except (ValueError, RemoteProtocolError) as exc:
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise TargetError(f"{shown!r} is not a peer id: {exc}") from exc


def peer_id_to_cid(binary: bytes) -> str:
    """Return the CIDv1 text in base36, the form IPNS names are written in.

    Raises:
        RemoteProtocolError: `binary` is not a peer id.
    """
    return "k" + _encode_base(_CID_V1_LIBP2P_KEY + check_peer_id(binary), _BASE36)


def _decode_multibase(text: str) -> bytes:
    prefix, body = text[:1], text[1:]
    if prefix == "k":
        return _decode_base(body, _BASE36)
    if prefix == "z":
        return _decode_base(body, _BASE58)
    if prefix == "b":
        if body != body.lower() or "=" in body:
            raise ValueError("base32 is lower case without padding")
        return base64.b32decode(body.upper() + "=" * (-len(body) % 8))
    if prefix == "f":
        return binascii.unhexlify(body)
    raise ValueError("unknown multibase prefix")


def _encode_base(binary: bytes, alphabet: str) -> str:
    base = len(alphabet)
    number = int.from_bytes(binary, "big")
    digits: list[str] = []
    while number:
        number, digit = divmod(number, base)
        digits.append(alphabet[digit])
    zeros = len(binary) - len(binary.lstrip(b"\0"))
    return alphabet[0] * zeros + "".join(reversed(digits))


def _decode_base(text: str, alphabet: str) -> bytes:
    base = len(alphabet)
    number = 0
    for character in text:
        digit = alphabet.find(character)
        if digit < 0:
            raise ValueError(f"{character!r} is not a base{base} digit")
        number = number * base + digit
    zeros = len(text) - len(text.lstrip(alphabet[0]))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")

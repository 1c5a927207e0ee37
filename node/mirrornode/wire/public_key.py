"""Public keys of libp2p as bytes: whose they are, and whether they signed something.

Reads the `PublicKey` message of Ed25519, RSA, secp256k1 and ECDSA keys and verifies their
signatures. Private keys and signing are elsewhere (`swarm.identity`, `wire.ipns`).

Spec: libp2p peer-ids.md, "Keys".
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mirrornode.errors import RemoteProtocolError
from mirrornode.wire.peer_id import MAX_IDENTITY_KEY_BYTES
from mirrornode.wire.protobuf import read_fields

MAX_KEY_BYTES: Final = 4096  # an RSA key of 8192 bits has some 1100
MIN_RSA_BITS: Final = 2048  # go-libp2p's bounds; larger ones only cost the verifier time
MAX_RSA_BITS: Final = 8192

_TYPE, _BYTES = 1, 2


class KeyType(IntEnum):
    """The kinds of keys a peer id or a name may be made of."""

    RSA = 0
    ED25519 = 1
    SECP256K1 = 2
    ECDSA = 3


def peer_id_of_key(message: bytes) -> bytes:
    """Return the binary peer id, also an IPNS name, of a `PublicKey` message."""
    if len(message) <= MAX_IDENTITY_KEY_BYTES:
        return bytes((0x00, len(message))) + message
    return b"\x12\x20" + hashlib.sha256(message).digest()


def is_signed_by(message: bytes, signature: bytes, signed: bytes) -> bool:
    """Tell whether `signature` over `signed` is by the key in a `PublicKey` message.

    Raises:
        RemoteProtocolError: Not a key of a kind we verify.
    """
    kind, raw = _decode(message)
    try:
        if kind is KeyType.ED25519:
            Ed25519PublicKey.from_public_bytes(raw).verify(signature, signed)
        elif kind is KeyType.RSA:
            _rsa(raw).verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        else:
            _elliptic(kind, raw).verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise RemoteProtocolError(f"not a usable {kind.name} key: {exc}") from exc
    return True


def _decode(message: bytes) -> tuple[KeyType, bytes]:
    if len(message) > MAX_KEY_BYTES:
        raise RemoteProtocolError(f"a public key of {len(message)} bytes")
    kind: int | bytes = 0
    raw: int | bytes = b""
    for number, value in read_fields(message, max_fields=8):
        if number == _TYPE:
            kind = value
        elif number == _BYTES:
            raw = value
    if not isinstance(kind, int) or not isinstance(raw, bytes) or kind not in list(KeyType):
        raise RemoteProtocolError("not a public key of a known kind")
    return KeyType(kind), raw


def _rsa(der: bytes) -> rsa.RSAPublicKey:
    key = load_der_public_key(der)
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("it is of another kind")
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise ValueError(f"it has {key.key_size} bits")
    return key


def _elliptic(kind: KeyType, raw: bytes) -> ec.EllipticCurvePublicKey:
    if kind is KeyType.SECP256K1:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), raw)
    key = load_der_public_key(raw)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("it is of another kind")
    return key

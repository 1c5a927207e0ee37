"""Peer ids: the multihash of a public key, as text and as bytes.

Inside this package a peer id is always its base58 text (`12D3Koo…`, `Qm…`), which is also what
people see; the CID forms (`bafz…`, `k51…`) are read and turned into it. Nothing here needs libp2p.
Spec: libp2p peer-ids/peer-ids.md.
"""

from __future__ import annotations

import functools
import hashlib

MAX_TEXT = 128  # the longest form, a base36 CID of a SHA-256, has 65 characters

_INLINE_LIMIT_BYTES = 42  # a key message up to this length is its own multihash
_LIBP2P_KEY = 0x72  # multicodec of a CID that names a peer


def peer_id_of_public_key(protobuf: bytes) -> str:
    """Return the peer id of a libp2p `PublicKey` message."""
    if len(protobuf) <= _INLINE_LIMIT_BYTES:
        return _base58(bytes((0x00, len(protobuf))) + protobuf)
    return _base58(b"\x12\x20" + hashlib.sha256(protobuf).digest())


def normal_peer_id(text: str) -> str:
    """Return the base58 form of a peer id in any of its text forms.

    Raises:
        ValueError: Not a peer id.
    """
    return _base58(peer_id_bytes(text))


@functools.lru_cache(maxsize=4096)
def peer_id_bytes(text: str) -> bytes:
    """Return the multihash of a peer id in any of its text forms.

    Raises:
        ValueError: Not a peer id.
    """
    from multiformats import multibase

    if not text.isascii() or len(text) > MAX_TEXT:
        raise ValueError(f"not a peer id: {text[:MAX_TEXT]!r}")
    is_plain = text.startswith(("1", "Qm"))
    try:
        decoded = bytes(multibase.decode("z" + text if is_plain else text))
    except (ValueError, KeyError) as exc:
        raise ValueError(f"not a peer id: {text!r}") from exc
    if not is_plain:
        if decoded[:2] != bytes((1, _LIBP2P_KEY)):
            raise ValueError(f"not a peer id: {text!r}")
        decoded = decoded[2:]
    is_inline = decoded[:1] == b"\x00" and 2 < len(decoded) <= _INLINE_LIMIT_BYTES + 2
    is_sha256 = decoded[:2] == b"\x12\x20" and len(decoded) == 34
    if not (is_sha256 or (is_inline and decoded[1] == len(decoded) - 2)):
        raise ValueError(f"not a peer id: {text!r}")
    return decoded


def _base58(multihash: bytes) -> str:
    from multiformats import multibase

    return str(multibase.encode(multihash, "base58btc"))[1:]

"""The key space: where peers and contents lie, and how far apart.

A place is the SHA-256 of a binary peer id or of a multihash, kept as an integer; distance is XOR.

Spec: libp2p kad-dht, "Definitions".
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

from mirrornode.wire.peer_id import peer_id_to_bytes

if TYPE_CHECKING:
    import random

KEY_BITS = 256
MAX_TARGET_PREFIX_BITS = 12  # finding a preimage for n bits takes 2^n hashes: 4096 take 4 ms


def kad_id(key: bytes) -> int:
    """Return the place of a message key (a binary peer id, a multihash, any bytes)."""
    return int.from_bytes(hashlib.sha256(key).digest(), "big")


@lru_cache(maxsize=16384)
def peer_kad_id(peer_id: str) -> int:
    """Return the place of a peer, given its text id."""
    return kad_id(peer_id_to_bytes(peer_id))


def common_prefix_bits(left: int, right: int) -> int:
    """Return how many leading bits two places share; `KEY_BITS` when they are equal."""
    return KEY_BITS - (left ^ right).bit_length()


def random_key_near(own_id: int, prefix_bits: int, rng: random.Random) -> bytes:
    """Return a message key whose place shares exactly `prefix_bits` leading bits with `own_id`.

    Servers hash what they are asked for, so a preimage is searched; `prefix_bits` is at most
    `MAX_TARGET_PREFIX_BITS`. The search takes 2^(prefix_bits + 1) hashes on average.
    """
    if not 0 <= prefix_bits <= MAX_TARGET_PREFIX_BITS:
        raise ValueError(f"prefix_bits is {prefix_bits}")
    while True:
        key = b"\x12\x20" + rng.randbytes(32)  # looks like a peer id to servers that check
        if common_prefix_bits(own_id, kad_id(key)) == prefix_bits:
            return key

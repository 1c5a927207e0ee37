"""IPNS names and records for tests."""

from __future__ import annotations

import time

from mirrornode.wire.ipns import IpnsRecord, create_record, dht_key, name_of_seed

DAY_S = 86_400.0
ONE = "/ipfs/bafkqaddwgevxmmraojswg33smq"
TWO = "/ipfs/bafkqadtwgiww63tmpeqhezldn5zgi"


def seed_of(name: str) -> bytes:
    """Return the key of a made-up person."""
    return name.encode().ljust(32, b"\0")


def record_of(
    name: str,
    value: str = ONE,
    *,
    sequence: int = 0,
    expires_at: float | None = None,
    ttl_s: float = 300,
) -> IpnsRecord:
    """Return a record that is signed by somebody, valid for a day from now unless said."""
    end = time.time() + DAY_S if expires_at is None else expires_at
    return create_record(seed_of(name), value, sequence=sequence, expires_at=end, ttl_s=ttl_s)


def key_of(name: str) -> bytes:
    """Return the DHT key of somebody's name."""
    return dht_key(name_of_seed(seed_of(name)))

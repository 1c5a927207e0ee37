"""Provider records others gave us to keep: which peers said they have a multihash, and where.

In memory and bounded per peer, per key and in all; addresses are kept once per peer. What a peer
may claim is checked in `routing.kad.server`. Our own records are not in here.

Driven by: `routing.kad.server`, `now` in seconds of the caller's monotonic clock.
Spec: libp2p kad-dht, "Content provider advertisement"; validity 48 h, republished every 22 h.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mirrornode.wire.kad import bounded_addresses

RECORD_VALIDITY_S = 48 * 3600.0
SWEEP_STEP = 2000  # keys looked at between two breaths of the event loop; some 3 ms


@dataclass(frozen=True, slots=True)
class ProviderRecord:
    """A peer that says it has the content, and the multiaddrs (without /p2p) it may be found at."""

    peer_id: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordLimits:
    """Bounds of the store; a record costs some 400 bytes of memory."""

    max_keys: int = 500_000
    max_providers_per_key: int = 200
    max_keys_per_peer: int = 100_000
    max_peers: int = 4096


@dataclass(slots=True)
class _Provider:
    addresses: tuple[str, ...]
    keys: int = 0


class ProviderStore:
    """Records by multihash. When full it refuses newcomers; known records are still renewed."""

    def __init__(self, limits: RecordLimits | None = None) -> None:
        self._limits = limits or RecordLimits()
        self._expiries: dict[bytes, dict[str, float]] = {}
        self._providers: dict[str, _Provider] = {}

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._expiries)

    def add(self, key: bytes, peer_id: str, addresses: Sequence[str], now: float) -> bool:
        """Keep or renew a record; return whether it is kept."""
        limits = self._limits
        provider = self._providers.get(peer_id)
        holders = self._expiries.get(key)
        if holders is None or peer_id not in holders:
            if provider is None and len(self._providers) >= limits.max_peers:
                return False
            if provider is not None and provider.keys >= limits.max_keys_per_peer:
                return False
            if holders is None and len(self._expiries) >= limits.max_keys:
                return False
            if holders is not None and len(holders) >= limits.max_providers_per_key:
                return False
        if provider is None:
            provider = self._providers[peer_id] = _Provider(())
        provider.addresses = bounded_addresses(addresses)
        if holders is None:
            holders = self._expiries[key] = {}
        if peer_id not in holders:
            provider.keys += 1
        holders[peer_id] = now + RECORD_VALIDITY_S
        return True

    def get(self, key: bytes, now: float) -> list[ProviderRecord]:
        """Return the records still valid, the most recently renewed first."""
        holders = self._expiries.get(key, {})
        valid = [(expiry, peer) for peer, expiry in holders.items() if expiry > now]
        return [
            ProviderRecord(peer, self._providers[peer].addresses)
            for _, peer in sorted(valid, reverse=True)
        ]

    def sweep(self, now: float) -> Iterator[None]:
        """Drop what has expired; yields after every `SWEEP_STEP` keys so others may run."""
        for count, key in enumerate(list(self._expiries), start=1):
            holders = self._expiries.get(key, {})
            for peer_id in [peer for peer, expiry in holders.items() if expiry <= now]:
                del holders[peer_id]
                self._forget_one(peer_id)
            if not holders:
                self._expiries.pop(key, None)
            if count % SWEEP_STEP == 0:
                yield

    def _forget_one(self, peer_id: str) -> None:
        provider = self._providers[peer_id]
        provider.keys -= 1
        if not provider.keys:
            del self._providers[peer_id]

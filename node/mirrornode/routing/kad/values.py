"""Values others gave us to keep: IPNS records, the newest of each name.

In memory, and bounded in number, in bytes and per giver. Nothing gets in that its name did not
sign; nothing comes out that has run out. Public keys (`/pk/`) are not kept: the names that need
them carry them in their records.

Driven by: `routing.kad.server`; `now` in seconds of the caller's monotonic clock.
Spec: libp2p kad-dht, "Entry validation"; ipfs/specs `ipns/ipns-record.md`; validity 48 h.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from mirrornode.errors import RemoteProtocolError
from mirrornode.wire.ipns import KEY_PREFIX, IpnsRecord, verify_record
from mirrornode.wire.kad import KadRecord
from mirrornode.wire.peer_id import check_peer_id

VALUE_VALIDITY_S = 48 * 3600.0  # after that whoever still means it has given it again
SWEEP_STEP = 2000  # values looked at between two breaths of the event loop


@dataclass(frozen=True, slots=True)
class ValueLimits:
    """Bounds of the store."""

    max_values: int = 20_000
    max_bytes: int = 16 << 20  # usual records have 400 bytes, allowed are 10 KiB
    max_values_per_peer: int = 2_000


@dataclass(frozen=True, slots=True)
class _Kept:
    record: IpnsRecord
    giver: str
    expiry: float
    received_at: str


def verified_value(key: bytes, value: bytes, unix_now: float) -> IpnsRecord:
    """Return the record that is a value of the DHT.

    Raises:
        RemoteProtocolError: Not of IPNS, or not to be believed.
    """
    if not key.startswith(KEY_PREFIX):
        raise RemoteProtocolError("only values of IPNS are known here")
    return verify_record(check_peer_id(key[len(KEY_PREFIX) :]), value, unix_now)


class ValueStore:
    """Records by DHT key. When full it refuses new names; known ones are still renewed.

    Args:
        unix_clock: Unix seconds: records end by the calendar.
    """

    def __init__(self, limits: ValueLimits, unix_clock: Callable[[], float]) -> None:
        self._limits = limits
        self._unix_clock = unix_clock
        self._kept: dict[bytes, _Kept] = {}
        self._by_giver: Counter[str] = Counter()
        self._size_bytes = 0

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._kept)

    def put(self, key: bytes, value: bytes, giver: str, now: float) -> None:
        """Keep a record, or renew it.

        Raises:
            RemoteProtocolError: It must not be believed, is older than the one that is kept, or
                there is no room.
        """
        record = verified_value(key, value, self._unix_clock())
        known = self._kept.get(key)
        if known is not None and known.record.rank > record.rank:
            raise RemoteProtocolError("a record that is older than the one kept here")
        freed_bytes = len(known.record.binary) if known is not None else 0
        is_full = (
            self._size_bytes - freed_bytes + len(value) > self._limits.max_bytes
            or (known is None and len(self._kept) >= self._limits.max_values)
            or (
                (known is None or known.giver != giver)
                and self._by_giver[giver] >= self._limits.max_values_per_peer
            )
        )
        if is_full:
            raise RemoteProtocolError("no room for more values")
        if known is not None:
            self._drop(key)
        received_at = datetime.fromtimestamp(self._unix_clock(), UTC).isoformat()
        self._kept[key] = _Kept(
            record, giver, now + VALUE_VALIDITY_S, received_at.replace("+00:00", "Z")
        )
        self._by_giver[giver] += 1
        self._size_bytes += len(value)

    def get(self, key: bytes, now: float) -> KadRecord | None:
        """Return the newest record kept of a key, None when there is none that may be believed."""
        kept = self._kept.get(key)
        if kept is None or not self._is_valid(kept, now):
            return None
        return KadRecord(key, kept.record.binary, kept.received_at)

    def sweep(self, now: float) -> Iterator[None]:
        """Drop what has expired; yields after every `SWEEP_STEP` values so others may run."""
        for count, key in enumerate(list(self._kept), start=1):
            kept = self._kept.get(key)
            if kept is not None and not self._is_valid(kept, now):
                self._drop(key)
            if count % SWEEP_STEP == 0:
                yield

    def _is_valid(self, kept: _Kept, now: float) -> bool:
        return kept.expiry > now and kept.record.is_valid_at(self._unix_clock())

    def _drop(self, key: bytes) -> None:
        kept = self._kept.pop(key)
        self._size_bytes -= len(kept.record.binary)
        self._by_giver[kept.giver] -= 1
        if not self._by_giver[kept.giver]:
            del self._by_giver[kept.giver]

"""Times and bounds of one DHT, with the values IPFS networks use as defaults."""

from __future__ import annotations

from dataclasses import dataclass, field

from mirrornode.routing.kad.lookup import LookupLimits
from mirrornode.routing.kad.records import RecordLimits
from mirrornode.routing.kad.values import ValueLimits


@dataclass(frozen=True, slots=True)
class KadSettings:
    """How a `Kad` behaves; all times in seconds."""

    request_timeout_s: float = 10.0  # go: 10 s per query
    dial_timeout_s: float = 5.0  # a LAN host that is up answers in milliseconds
    lookup_timeout_s: float = 30.0  # a whole walk, whatever the peers do
    first_refresh_s: float = 2.0  # after joining; grows fourfold up to refresh_s
    refresh_s: float = 600.0  # spec: 10 minutes
    retry_s: float = 10.0  # a peer that failed is left alone so long; then links are offered again
    sweep_s: float = 600.0  # how often expired records are dropped
    confirm_delay_s: float = 0.25  # before asking again whether a record was kept
    cover_s: float = 600.0  # how long what walks have shown of a region is built upon
    max_open_requests: int = 64  # of all lookups together
    max_response_bytes: int = 1 << 20  # 20 peers and 512 providers have some 160 KiB
    lookup: LookupLimits = field(default_factory=LookupLimits)
    quorum: int = 16  # spec: equal values after which a better one is not looked for
    records: RecordLimits = field(default_factory=RecordLimits)
    values: ValueLimits = field(default_factory=ValueLimits)

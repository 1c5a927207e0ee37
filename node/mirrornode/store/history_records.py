"""What the history tells of downloads and of their sources: plain records, no SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SOURCE_KINDS = ("peer", "bitswap", "gateway", "http", "hub", "local")
OTHER_KIND = "other"


def kind_of_source(source_id: str) -> str:
    """Return the kind in a source id `<kind>:<id>`; one of a few, whatever the id says."""
    kind = source_id.partition(":")[0]
    return kind if kind in SOURCE_KINDS else OTHER_KIND


@dataclass(frozen=True, slots=True)
class SourceUse:
    """What one source did for one download.

    Attributes:
        source_id: `<kind>:<id>`; "" when requests are not to be kept.
        kind: One of `SOURCE_KINDS` or `OTHER_KIND`.
        received_bytes: What it brought and nobody else had brought before.
        seconds: How long it was asked for anything at all.
        first_byte_s: From the first request to its answer, connecting included; None = unknown.
        rtt_s: Its shortest round trip; None = unknown.
        failures: How often it broke off, refused or fell silent.
        outcome: "ok", "lacked" (did not have what it was asked for), "failed", or "wrong" (sent
            wrong bytes, or named a wrong tree).
        reason: What it did instead of delivering, as a predicate.
    """

    source_id: str
    kind: str
    received_bytes: int = 0
    seconds: float = 0.0
    first_byte_s: float | None = None
    rtt_s: float | None = None
    failures: int = 0
    outcome: str = "ok"
    reason: str = ""

    @property
    def rate_bytes_per_s(self) -> float | None:
        """Average while it was at work; None when it brought nothing, or was not timed."""
        if not self.received_bytes or self.seconds <= 0:
            return None
        return self.received_bytes / self.seconds


@dataclass(frozen=True, slots=True)
class Download:
    """One download of this node, by whomever it was wanted.

    Attributes:
        id: Its number, which only grows; 0 before it was saved.
        kind: "get" (a CID), "hub" (`get hf:`), "gateway" (asked for over HTTP), "pin",
            "sync".
        target: As it was named; "" when requests are not to be kept.
        root: What exactly came: a CID, or `hf:` with its commit; "" when not known or not kept.
        started_at: Unix seconds; so `ended_at`, which is None while it runs.
        size_bytes: Of the whole target; 0 while that is not known.
        received_bytes: What came over the network.
        resumed_bytes: What was on this disk before.
        outcome: "running", "ok", "partial" (some files are missing), "failed" or "cancelled".
        error: Name of the class in `mirrornode.errors`, or `NODE_KILLED`; "" when it is ok.
        reason: The same in words.
    """

    id: int
    kind: str
    target: str
    started_at: float
    root: str = ""
    ended_at: float | None = None
    seconds: float = 0.0
    size_bytes: int = 0
    received_bytes: int = 0
    resumed_bytes: int = 0
    outcome: str = "running"
    error: str = ""
    reason: str = ""
    sources: tuple[SourceUse, ...] = ()

    @property
    def rate_bytes_per_s(self) -> float | None:
        """Average over the whole download; None when nothing had to come over the network."""
        if not self.received_bytes or self.seconds <= 0:
            return None
        return self.received_bytes / self.seconds


@dataclass(frozen=True, slots=True)
class HistoryTotals:
    """Downloads that ended since some moment.

    Attributes:
        outcomes: How many by outcome.
        seconds: How long those took that received anything, one after the other.
        bytes_by_kind: Received by kind of source, "local" left out.
        rtt_by_kind: Mean of the round trips, by kind of source, where any was measured.
    """

    outcomes: Mapping[str, int] = field(default_factory=dict)
    size_bytes: int = 0
    received_bytes: int = 0
    seconds: float = 0.0
    bytes_by_kind: Mapping[str, int] = field(default_factory=dict)
    rtt_by_kind: Mapping[str, float] = field(default_factory=dict)

    @property
    def downloads(self) -> int:
        return sum(self.outcomes.values())

    @property
    def success_ratio(self) -> float | None:
        """Share that is ok, of those that nobody cancelled; None when there were none."""
        judged = self.downloads - self.outcomes.get("cancelled", 0)
        return self.outcomes.get("ok", 0) / judged if judged else None

    @property
    def rate_bytes_per_s(self) -> float | None:
        """Average of a download; None when none received anything."""
        return self.received_bytes / self.seconds if self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class SourceTotals:
    """One source over all downloads that ended since some moment.

    Attributes:
        source_id: "" for all of its kind of which no name was kept.
        uses: How many downloads asked it.
        failed: How many of them it failed, or sent wrong bytes.
    """

    source_id: str
    kind: str
    uses: int
    failed: int
    received_bytes: int
    seconds: float

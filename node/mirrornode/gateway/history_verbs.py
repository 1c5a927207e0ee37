"""The verb `history`, and what `status` says of downloads: records of the history as JSON."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mirrornode.errors import TargetError
from mirrornode.gateway.fields import field
from mirrornode.store.history import DAY_S, MAX_LISTED

if TYPE_CHECKING:
    from mirrornode.mirror.recording import Recorder
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.history_records import Download, HistoryTotals

HOUR_S = 3600.0
DEFAULT_LIMIT = 100


def history(catalog: Catalog, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List downloads, the newest first; blocking.

    Raises:
        TargetError: A field makes no sense.
    """
    since_s = fields.get("since_s")
    if since_s is not None and (
        isinstance(since_s, bool)
        or not isinstance(since_s, int | float)
        or not (math.isfinite(since_s) and since_s > 0)
    ):
        raise TargetError(f"since {since_s!r}: give a number of seconds above 0")
    limit = field(fields, "limit", int)
    limit = DEFAULT_LIMIT if limit is None else limit
    if not 0 < limit <= MAX_LISTED:
        raise TargetError(f"limit {limit}: give a number from 1 to {MAX_LISTED:,}")
    found = catalog.downloads(
        since=time.time() - since_s if since_s is not None else 0.0,
        only_failed=bool(field(fields, "failed", bool)),
        limit=limit,
    )
    return [download_record(download) for download in found]


def history_when_stopped(catalog: Catalog, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """As `history`, for who has the home to himself: nothing runs then."""
    catalog.close_interrupted()
    return history(catalog, fields)


def download_record(download: Download) -> dict[str, Any]:
    """Return a download as the command line's JSON contract has it."""
    sources = [
        {**dataclasses.asdict(use), "rate_bytes_per_s": use.rate_bytes_per_s}
        for use in download.sources
    ]
    return {
        **dataclasses.asdict(download),
        "rate_bytes_per_s": download.rate_bytes_per_s,
        "sources": sources,
    }


def recent(recorder: Recorder) -> dict[str, Any]:
    """Return what `status` says of the last hour and day; blocking."""
    return {
        "last_hour": totals_record(recorder.recent(HOUR_S)),
        "last_day": totals_record(recorder.recent(DAY_S)),
        "hit_ratio": recorder.hit_ratio,
    }


def totals_record(totals: HistoryTotals) -> dict[str, Any]:
    """Return sums over downloads as JSON."""
    return {
        "downloads": totals.downloads,
        "outcomes": dict(totals.outcomes),
        "success_ratio": totals.success_ratio,
        "size_bytes": totals.size_bytes,
        "received_bytes": totals.received_bytes,
        "rate_bytes_per_s": totals.rate_bytes_per_s,
        "bytes_by_kind": dict(totals.bytes_by_kind),
        "rtt_by_kind": dict(totals.rtt_by_kind),
    }

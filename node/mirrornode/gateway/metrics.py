"""`GET /metrics`: the node in numbers, for Prometheus.

Counters and histograms begin at zero with the process; what is said of the last hour and day comes
from the history. Labels are of a few fixed words: kinds of sources and downloads, outcomes, faces,
never a peer or a path, nor a target but the open ones of the settings' `[[sync]]` tables, which
`[log] requests = false` leaves out as well. Nothing is global: a node has a registry of its own.
Reference: docs/metrics.md.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from mirrornode.errors import MirrorError
from mirrornode.gateway.history_verbs import HOUR_S
from mirrornode.store.history import DAY_S
from mirrornode.store.history_records import OTHER_KIND, SOURCE_KINDS
from mirrornode.transfer.pacing import BITSWAP, GATEWAY, HUB_ENDPOINT, PEER_PLANE

if TYPE_CHECKING:
    from mirrornode.gateway.node_numbers import NodeNumbers
    from mirrornode.store.history_records import Download

PATH = "/metrics"
DOWNLOAD_KINDS: Final = ("get", "hub", "gateway", "pin", "sync")
OUTCOMES: Final = ("ok", "partial", "failed", "cancelled")
ASKED_FACES: Final = (GATEWAY, HUB_ENDPOINT)
PEER_KINDS: Final = ("peer", "bitswap")  # what they bring need not come from an origin
WINDOWS: Final = (("hour", HOUR_S), ("day", DAY_S))

_LATENCIES: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_DURATIONS: Final = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600)
_RATES: Final = tuple(
    float(rate) * 1e6 for rate in (0.1, 0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000)
)


class Metrics:
    """The metrics of one node, and the route that shows them."""

    def __init__(self, numbers: NodeNumbers) -> None:
        """Begin to count what ends from now on."""
        self.registry = CollectorRegistry()
        self._downloads = Counter(
            "mirrornode_downloads",
            "Downloads that ended, by kind and outcome.",
            ("kind", "outcome"),
            registry=self.registry,
        )
        for kind in DOWNLOAD_KINDS:
            for outcome in OUTCOMES:
                self._downloads.labels(kind, outcome)  # so that an increase from nothing shows
        self._source_uses = Counter(
            "mirrornode_source_uses",
            "Sources of downloads that ended, by kind of source and how it did.",
            ("source", "outcome"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "mirrornode_download_duration_seconds",
            "How long downloads took that received anything and were not cancelled.",
            buckets=_DURATIONS,
            registry=self.registry,
        )
        self._rate = Histogram(
            "mirrornode_download_rate_bytes_per_second",
            "Average rate of downloads that received anything.",
            buckets=_RATES,
            registry=self.registry,
        )
        self._round_trip = Histogram(
            "mirrornode_source_round_trip_seconds",
            "Shortest round trip to a source during a download.",
            ("source",),
            buckets=_LATENCIES,
            registry=self.registry,
        )
        self._first_byte = Histogram(
            "mirrornode_source_first_byte_seconds",
            "From the first request of a download to a source until its answer began.",
            ("source",),
            buckets=_LATENCIES,
            registry=self.registry,
        )
        self.registry.register(_Node(numbers))
        ProcessCollector(registry=self.registry)
        numbers.recorder.on_end(self.observe)

    def observe(self, download: Download) -> None:
        """Count a download that ended."""
        kind = download.kind if download.kind in DOWNLOAD_KINDS else OTHER_KIND
        self._downloads.labels(kind, download.outcome).inc()
        rate = download.rate_bytes_per_s
        if rate is not None and download.outcome != "cancelled":
            self._seconds.observe(download.seconds)
            self._rate.observe(rate)
        for use in download.sources:
            self._source_uses.labels(use.kind, use.outcome).inc()
            if use.rtt_s is not None:
                self._round_trip.labels(use.kind).observe(use.rtt_s)
            if use.first_byte_s is not None:
                self._first_byte.labels(use.kind).observe(use.first_byte_s)

    def add_to(self, app: web.Application) -> None:
        """Register the route on an application."""
        app.router.add_get(PATH, self.answer)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a scrape."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # The catalog is asked: not in the event loop.
        body: bytes = await asyncio.to_thread(encode, self.registry)
        return web.Response(body=body, headers={"Content-Type": content_type})


class _Node(Collector):
    """What is read at the moment of a scrape."""

    def __init__(self, numbers: NodeNumbers) -> None:
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        numbers = self._numbers
        yield _gauges("build_info", "Always 1.", "version", {numbers.version: 1})
        yield from self._downloads()
        yield from self._faces()
        connected, known = numbers.peers()
        yield _gauge("connected_peers", "Peers that are connected now.", connected)
        yield _gauge("routing_table_peers", "Peers in the routing table.", known)
        yield _gauges("alerts", "Alerts that stand.", "rule", numbers.alerts())
        is_up = True
        try:
            yield from self._history()
            yield from self._shelf()
            yield from self._syncs()
        except MirrorError:
            # A disk that fails must not blind whoever watches: the rest is still told.
            is_up = False
        yield _gauge("catalog_up", "Whether the catalog can be read.", is_up)

    def _downloads(self) -> Iterator[Metric]:
        recorder = self._numbers.recorder
        received = recorder.received_bytes()
        kinds = {kind: received[kind] for kind in (*SOURCE_KINDS, OTHER_KIND)}
        saved = sum(received[kind] for kind in PEER_KINDS)
        yield _counters("received_bytes", "Received by downloads, so far.", "source", kinds)
        yield CounterMetricFamily(
            "mirrornode_origin_saved_bytes", "Came from peers instead of an origin.", saved
        )
        yield _gauge("running_downloads", "Downloads that have not ended.", len(recorder.running))

    def _faces(self) -> Iterator[Metric]:
        recorder, uploads = self._numbers.recorder, self._numbers.uploads
        sent = {PEER_PLANE: 0, BITSWAP: 0, GATEWAY: 0, HUB_ENDPOINT: 0, **uploads.sent_by_face}
        yield _counters("served_bytes", "Content that was sent, by face.", "face", sent)
        asked = recorder.asked
        requests = CounterMetricFamily(
            "mirrornode_content_requests",
            "Content that HTTP clients asked for; a hit was here already.",
            labels=("face", "result"),
        )
        for face in ASKED_FACES:
            for result, is_hit in (("hit", True), ("miss", False)):
                requests.add_metric((face, result), asked.get((face, is_hit), 0))
        yield requests
        if (ratio := recorder.hit_ratio) is not None:
            yield _gauge("cache_hit_ratio", "Share of hits since the node started.", ratio)

    def _history(self) -> Iterator[Metric]:
        recorder = self._numbers.recorder
        found = {name: recorder.recent(seconds) for name, seconds in WINDOWS}
        yield _gauges(
            "average_rate_bytes_per_second",
            "Average rate of a download of late.",
            "window",
            {name: totals.rate_bytes_per_s for name, totals in found.items()},
        )
        yield _gauges(
            "success_ratio",
            "Share of downloads of late that were ok.",
            "window",
            {name: totals.success_ratio for name, totals in found.items()},
        )
        round_trip = GaugeMetricFamily(
            "mirrornode_average_round_trip_seconds",
            "Mean round trip to the sources of late.",
            labels=("window", "source"),
        )
        for name, totals in found.items():
            for kind, rtt_s in totals.rtt_by_kind.items():
                round_trip.add_metric((name, kind), rtt_s)
        yield round_trip

    def _shelf(self) -> Iterator[Metric]:
        catalog = self._numbers.catalog
        total, due, ok = catalog.announce_counts()
        yield _gauge("announcements", "Hashes that this node announces.", total)
        yield _gauge("announcements_due", "Those whose turn has come: the queue.", due)
        yield _gauge("announcements_ok", "Those that the network took last time.", ok)
        files, size_bytes = catalog.file_totals()
        managed = catalog.managed_bytes()
        yield _gauge("shared_files", "Files that are shared.", files)
        yield _gauge("shared_bytes", "Their size.", size_bytes)
        yield _gauge("managed_bytes", "Files on disk that the node made itself.", managed)
        yield _gauge("catalog_bytes", "Size of the catalog's file.", catalog.file_size())
        try:
            disk = shutil.disk_usage(catalog.home)
        except OSError:
            return
        yield _gauge("disk_free_bytes", "Free on the disk of the node's home.", disk.free)
        yield _gauge("disk_size_bytes", "Size of the disk of the node's home.", disk.total)

    def _syncs(self) -> Iterator[Metric]:
        syncs = self._numbers.syncs()
        yield _gauge("sync_targets", "Targets of the settings that are kept in step.", len(syncs))
        running = sum(one.is_running for one in syncs)
        overdue = sum(one.is_overdue for one in syncs)
        yield _gauge("sync_running_targets", "Those of which a run is not over.", running)
        yield _gauge("sync_overdue_targets", "Those without a good run for 2 intervals.", overdue)
        named = [one for one in syncs if one.label]
        yield _gauges(
            "sync_last_success_timestamp_seconds",
            "When a run last ended well; absent before the first.",
            "target",
            {one.label: one.ok_at for one in named},
        )
        yield _gauges(
            "sync_failures",
            "Runs in a row that failed.",
            "target",
            {one.label: one.failures for one in named},
        )


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"mirrornode_{name}", text, value)


def _gauges(
    name: str, text: str, label: str, values: Mapping[str, float | None]
) -> GaugeMetricFamily:
    """Return one gauge a word; what is not known is left out."""
    family = GaugeMetricFamily(f"mirrornode_{name}", text, labels=(label,))
    for word, value in values.items():
        if value is not None:
            family.add_metric((word,), value)
    return family


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"mirrornode_{name}", text, labels=(label,))
    for word, value in values.items():
        family.add_metric((word,), value)
    return family

"""What the web page sees of a running node: the records of the verbs that the command line uses.

Asks the verbs themselves, so that page and command never say different things; what no verb tells
(who was sent how much, the disk) comes from where `/metrics` takes it.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from mirrornode.events import ignore
from mirrornode.gateway.page_view import Glance, Survey, link_records
from mirrornode.mirror.mirror_memory import known_mirrors, standing_records
from mirrornode.store.history import DAY_S

if TYPE_CHECKING:
    from mirrornode.config import Config, StorageConfig
    from mirrornode.gateway.control import Verb
    from mirrornode.gateway.node_numbers import NodeNumbers
    from mirrornode.gateway.page_view import Record
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.history_records import Download

ORIGIN_PREFIX: Final = "hub:"
MAX_DOWNLOADS: Final = 100  # of the history that are shown


class NodeLook:
    """See `page_feed.Look`; belongs to one event loop."""

    def __init__(self, verbs: Mapping[str, Verb], numbers: NodeNumbers, config: Config) -> None:
        """Prepare; `verbs` are those of the control socket."""
        self._verbs = verbs
        self._numbers = numbers
        self._config = config
        self._brought: dict[str, int] = {}  # in the last day, by source id
        self._sent: Mapping[str, int] = numbers.uploads.sent_by_peer
        self._sent_bytes = numbers.uploads.sent_bytes

    def transfers(self) -> Sequence[Record]:
        """Return the running downloads."""
        return [running.live() for running in self._numbers.recorder.running]

    def note_end(self, download: Download) -> None:
        """Count what a download brought, until the next survey reads it in the history."""
        for use in download.sources:
            if use.kind != "local" and use.source_id:
                brought = self._brought.get(use.source_id, 0)
                self._brought[use.source_id] = brought + use.received_bytes

    async def glance(self, elapsed_s: float) -> Glance:
        """Return what is in memory."""
        transfers = self.transfers()
        peers = cast("Sequence[Record]", await self._ask("peers"))
        uploads, elapsed_s = self._numbers.uploads, max(elapsed_s, 0.1)
        sent, sent_bytes = uploads.sent_by_peer, uploads.sent_bytes
        out_rates = {
            peer: max(0, count - self._sent.get(peer, 0)) / elapsed_s
            for peer, count in sent.items()
        }
        out_rate = (sent_bytes - self._sent_bytes) / elapsed_s
        self._sent, self._sent_bytes = sent, sent_bytes
        links = link_records(peers, transfers, self._brought, sent, out_rates)
        in_rate = sum(
            source["rate_bytes_per_s"]
            for transfer in transfers
            for source in transfer["sources"]
            if source["state"] == "active" and source["kind"] != "local"
        )
        return Glance(transfers, links, in_rate, out_rate)

    async def survey(self) -> Survey:
        """Return what takes a while."""
        catalog, now = self._numbers.catalog, time.time()
        status = cast("Record", await self._ask("status"))
        roots = cast("Sequence[Record]", await self._ask("ls"))
        repos = cast("Sequence[Record]", await self._ask("ls", target="hf:"))
        pins = cast("Sequence[Record]", await self._ask("pins"))
        downloads = cast("Sequence[Record]", await self._ask("history", limit=MAX_DOWNLOADS))
        totals = await asyncio.to_thread(catalog.source_totals, now - DAY_S)
        self._brought = {one.source_id: one.received_bytes for one in totals if one.kind != "local"}
        mirrors = await asyncio.to_thread(known_mirrors, catalog, self._config.mirror, now)
        origins = await asyncio.to_thread(origin_standings, catalog)
        disk = await asyncio.to_thread(disk_record, catalog, self._config.storage)
        return Survey(status, roots, repos, pins, downloads, [*mirrors, *origins], disk)

    async def _ask(self, verb: str, **fields: Any) -> object:
        return await self._verbs[verb](fields, ignore)


def origin_standings(catalog: Catalog) -> list[dict[str, Any]]:
    """Return the origins that are put aside or on trial, beside `known_mirrors`; blocking."""
    return [
        {"url": name.removeprefix(ORIGIN_PREFIX), "is_origin": True, "standing": standing}
        for name, standing in standing_records(catalog).items()
        if name.startswith(ORIGIN_PREFIX)
    ]


def disk_record(catalog: Catalog, storage: StorageConfig) -> dict[str, Any]:
    """Return what the node takes of its disk, and what it may; blocking.

    `free_bytes` and `disk_bytes` are None when the operating system does not tell.
    """
    try:
        disk = shutil.disk_usage(catalog.home)
    except OSError:
        disk = None
    return {
        "free_bytes": None if disk is None else disk.free,
        "disk_bytes": None if disk is None else disk.total,
        "managed_bytes": catalog.managed_bytes(),
        "catalog_bytes": catalog.file_size(),
        "quota_bytes": storage.quota,
        "low_water_bytes": round(storage.quota * storage.low_water),
        "keep_free_bytes": storage.keep_free,
    }

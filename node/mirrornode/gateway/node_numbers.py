"""Where the metrics of a node are taken from; apart, so that no short command loads Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirrornode.mirror.recording import Recorder
    from mirrornode.mirror.sync_jobs import SyncNumber
    from mirrornode.store.catalog import Catalog
    from mirrornode.transfer.pacing import Uploads


@dataclass(frozen=True, slots=True)
class NodeNumbers:
    """The parts of a node that know its numbers.

    Attributes:
        peers: Returns how many peers are connected, and how many the routing table holds.
        alerts: Returns how many alerts stand, by rule.
        syncs: Returns how what is kept in step stands; blocking.
    """

    catalog: Catalog
    recorder: Recorder
    uploads: Uploads
    peers: Callable[[], tuple[int, int]]
    version: str
    alerts: Callable[[], Mapping[str, int]] = dict
    syncs: Callable[[], Sequence[SyncNumber]] = tuple

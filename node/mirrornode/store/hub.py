"""The part of the catalog that knows the Hub; each table's methods are in a module of their own."""

from __future__ import annotations

from mirrornode.store.hub_blobs import HubBlobTable
from mirrornode.store.hub_grants import HubAnswerTable, HubGrantTable
from mirrornode.store.hub_names import HubNameTable
from mirrornode.store.hub_records import (
    Grant,
    HubBlob,
    HubListing,
    HubRef,
    HubRevision,
    HubSight,
    KeptAnswer,
)

__all__ = [
    "Grant",
    "HubBlob",
    "HubListing",
    "HubRef",
    "HubRevision",
    "HubSight",
    "HubTables",
    "KeptAnswer",
]


class HubTables(HubNameTable, HubBlobTable, HubGrantTable, HubAnswerTable):
    """Names, blobs, grants and kept answers of the Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contracts.announce_queue import AnnounceQueueContract

if TYPE_CHECKING:
    from mirrornode.store.catalog import Catalog


class TestCatalogQueue(AnnounceQueueContract):
    """The catalog's queue keeps the contract of the announcer."""

    @pytest.fixture
    def queue(self, catalog: Catalog) -> Catalog:
        """Return an empty queue."""
        return catalog

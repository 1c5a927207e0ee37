"""The catalog's announce queue does what the announcer relies on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from contracts.announce_queue import AnnounceQueueContract
from mirrornode.store.catalog import Catalog, open_catalog

if TYPE_CHECKING:
    from pathlib import Path


class TestCatalogQueue(AnnounceQueueContract):
    @pytest.fixture
    def queue(self, tmp_path: Path) -> Iterator[Catalog]:
        with open_catalog(tmp_path) as catalog:
            yield catalog

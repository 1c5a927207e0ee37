"""A catalog for the claims of transfers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrornode.store.catalog import Catalog, open_catalog


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(tmp_path / "home") as opened:
        yield opened

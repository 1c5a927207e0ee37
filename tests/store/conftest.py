"""A catalog in a fresh home for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrornode.store.catalog import Catalog, open_catalog


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return where the home will be; nothing is there yet."""
    return tmp_path / "home"


@pytest.fixture
def catalog(home: Path) -> Iterator[Catalog]:
    """Open an empty catalog."""
    with open_catalog(home) as opened:
        yield opened

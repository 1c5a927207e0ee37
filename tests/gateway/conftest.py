"""A catalog that shares one model in place, as the tests of the sources have it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrornode.store.catalog import open_catalog
from support.models import model_of
from support.planes import Shared
from support.shared_files import SMALL_CHUNKS, record


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    """Share a model of eleven leaves."""
    model = model_of()
    path = model.write(tmp_path)
    with open_catalog(tmp_path / "home") as catalog:
        record(catalog, path, SMALL_CHUNKS)
        yield Shared(catalog, model, path)

"""A stand-in Hub and a node's names over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.hub_office import Office, office_of
from support.hub_origin import Blob, StandInHub, running_hub

FILES: dict[str, bytes | Blob] = {
    "README.md": b"# a model",
    "config.json": b"{}",
    "model.safetensors": Blob(5000, 1),
}


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    """Run a Hub with an open, a gated and a private repo."""
    with running_hub() as running:
        running.add_model("org/open", FILES, licence="apache-2.0")
        running.add_model("org/gated", FILES, gated="manual", licence="llama3")
        running.add_model("org/private", FILES, private=True)
        yield running


@pytest.fixture
def office(hub: StandInHub, tmp_path: Path) -> Iterator[Office]:
    """Open the names of a node whose only origin is that Hub."""
    with office_of(tmp_path / "home", hub) as opened:
        yield opened

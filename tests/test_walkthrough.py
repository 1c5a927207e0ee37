"""docs/walkthrough.md names modules and things in them: they must be there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "walkthrough.md"
NAMED = re.findall(
    r"`(mirrornode(?:_cli)?(?:\.\w+)+)`[^`(]{0,24}\(?(?:`(\w+)`)?", PAGE.read_text(encoding="utf-8")
)


def test_walkthrough_names_something() -> None:
    assert len(NAMED) >= 15


@pytest.mark.parametrize(("module", "name"), NAMED, ids=[module for module, _ in NAMED])
def test_walkthrough_when_it_names_a_thing_then_it_exists(module: str, name: str) -> None:
    found = importlib.import_module(module)
    assert not name or hasattr(found, name)

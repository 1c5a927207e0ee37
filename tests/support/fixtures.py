"""Where the shared conformance fixtures lie; tests that need them are skipped where they do not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

_REPO_ROOT = Path(__file__).resolve().parents[2]


def fixtures_dir() -> Path:
    """Return the fixtures folder, `$MIRRORNODE_FIXTURES` or `../shared/fixtures`, or skip."""
    override = os.environ.get("MIRRORNODE_FIXTURES")
    folder = Path(override) if override else _REPO_ROOT.parent / "shared" / "fixtures"
    if not folder.is_dir():
        pytest.skip(f"the conformance fixtures are not at {folder} (set MIRRORNODE_FIXTURES)")
    return folder


def fixture_json(relative: str) -> Any:
    """Return a parsed JSON fixture, e.g. `vectors/unixfs_cid_vectors.json`, or skip."""
    path = fixtures_dir() / relative
    if not path.is_file():
        pytest.skip(f"fixture {relative} is missing")
    return json.loads(path.read_text(encoding="utf-8"))


def fixture_bytes(relative: str) -> bytes:
    """Return the bytes of a fixture, e.g. `car/carv1-basic.car`, or skip."""
    path = fixtures_dir() / relative
    if not path.is_file():
        pytest.skip(f"fixture {relative} is missing")
    return path.read_bytes()

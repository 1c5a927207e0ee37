"""The same CIDs as ipfs-unixfs-importer, for generated trees; `compare` runs many more."""

from __future__ import annotations

import pytest

from interop.npm import NotInstalled, installed
from interop.unixfs.cases import generate
from interop.unixfs.compare import differences

SAMPLE = 300
SEED = 20_261_123


def test_cids_when_trees_are_generated_then_as_js_names_them() -> None:
    try:
        installed("unixfs-importer")
    except NotInstalled as exc:
        pytest.skip(f"ipfs-unixfs-importer is not here: {exc}")
    found = [
        f"{case.recipe}: {len(case.files)} files, ours {ours}, js {theirs}"
        for case, ours, theirs in differences(list(generate(SEED, SAMPLE)))
    ]
    assert found == []

"""Nodes of this project with real Kubo, Helia and js-libp2p nodes, in both directions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from interop.ipfs.rows import CASES, Feature
from interop.ipfs.world import NotPossible, World, open_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One Kubo, one Helia and the hosts they run on, for all rows."""
    with open_world(tmp_path_factory.mktemp("world")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("feature", "kind", "direction"),
    CASES,
    ids=[f"{feature.name}, {kind}, {direction}" for feature, kind, direction in CASES],
)
def test_feature_when_played_with_a_real_node_then_works(
    world: World, feature: Feature, kind: str, direction: str
) -> None:
    try:
        feature.play(world, kind, direction)
    except NotPossible as exc:
        pytest.skip(f"{feature.name} with {kind}: {exc}")

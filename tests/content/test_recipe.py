"""Recipes: profiles, single parameters, contradictions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mirrornode.content.cid import BLAKE3, IDENTITY, SHA2_256, SHA2_512
from mirrornode.content.leaf_form import LeafForm
from mirrornode.content.recipe import PROFILES, UNIXFS_V0_2015, UNIXFS_V1_2025, recipe_from
from mirrornode.errors import TargetError


def test_profiles_when_named_then_parameters_of_ipip_499() -> None:
    v1, v0 = PROFILES["unixfs-v1-2025"], PROFILES["unixfs-v0-2015"]
    assert (v1.chunk_bytes, v1.max_links, v1.raw_leaves, v1.cid_version) == (1 << 20, 1024, True, 1)
    assert (v0.chunk_bytes, v0.max_links, v0.raw_leaves, v0.cid_version) == (1 << 18, 174, False, 0)
    assert (v1.hamt_estimation, v0.hamt_estimation) == ("block-bytes", "links-bytes")
    assert (v1.hamt_threshold_bytes, v1.hamt_fanout) == (262_144, 256)


def test_recipe_from_when_nothing_changes_then_it_keeps_the_profile_name() -> None:
    assert recipe_from() == UNIXFS_V1_2025
    same = recipe_from("unixfs-v0-2015", chunker="size-262144", max_links=174, cid_version=0)
    assert same == UNIXFS_V0_2015
    assert recipe_from(max_links=1000).name == "custom"


def test_recipe_from_when_version_is_asked_then_leaves_follow_as_in_ipfs_add() -> None:
    assert recipe_from("unixfs-v0-2015", cid_version=1).raw_leaves
    assert not recipe_from(cid_version=0).raw_leaves
    assert recipe_from(cid_version=0, raw_leaves=True).raw_leaves
    assert not recipe_from(cid_version=1, raw_leaves=False).raw_leaves


@pytest.mark.parametrize(
    "chunker",
    [
        "size-0",
        "size-",
        "size--5",
        "size-1e6",
        "size-2097153",
        "size-\uff19",
        "rabin",
        "",
        "size-9" * 9,
    ],
)
def test_recipe_from_when_chunker_is_nonsense_then_target_error(chunker: str) -> None:
    with pytest.raises(TargetError):
        recipe_from(chunker=chunker)


def test_recipe_from_when_leaf_blocks_would_exceed_2_mib_then_target_error() -> None:
    assert recipe_from(chunker="size-2097152").chunk_bytes == 2_097_152
    with pytest.raises(TargetError):
        recipe_from(chunker="size-2097152", raw_leaves=False)


def test_recipe_from_when_parameters_cannot_be_then_target_error() -> None:
    for max_links in (1, 8193):
        with pytest.raises(TargetError):
            recipe_from(max_links=max_links)
    with pytest.raises(TargetError):
        recipe_from(cid_version=2)
    with pytest.raises(TargetError, match="known are"):
        recipe_from("unixfs-v2")


def test_recipe_when_it_contradicts_itself_then_target_error() -> None:
    for wrong in (
        {"hash_code": SHA2_512, "cid_version": 0},
        {"hash_code": 0x11},
        {"hash_code": IDENTITY},
        {"inline_limit_bytes": 129},
        {"inline_limit_bytes": -1},
        {"hamt_fanout": 100},
        {"hamt_fanout": 4},
        {"hamt_fanout": 2048},
    ):
        with pytest.raises(TargetError):
            replace(UNIXFS_V1_2025, **wrong)  # type: ignore[arg-type]  # wrong values on purpose


def test_chunk_bytes_when_buzhash_then_target_error() -> None:
    recipe = recipe_from(chunker="buzhash")
    with pytest.raises(TargetError, match="size-N"):
        _ = recipe.chunk_bytes


def test_leaf_form_when_layout_and_leaves_vary_then_as_kubo() -> None:
    v0 = UNIXFS_V0_2015
    assert v0.leaf_form is LeafForm.DAG_PB
    assert replace(v0, layout="trickle").leaf_form is LeafForm.DAG_PB_OLD
    assert replace(v0, layout="trickle", raw_leaves=True).leaf_form is LeafForm.RAW


def test_hash_code_when_block_is_within_inline_limit_then_identity() -> None:
    inline = replace(UNIXFS_V1_2025, inline_limit_bytes=32, hash_code=BLAKE3)
    assert [inline.block_hash_code(size) for size in (0, 32, 33)] == [IDENTITY, IDENTITY, BLAKE3]
    wrapped = replace(inline, raw_leaves=False)  # 26 bytes become a leaf of 34
    assert [wrapped.leaf_hash_code(size) for size in (24, 26)] == [IDENTITY, BLAKE3]
    assert UNIXFS_V1_2025.leaf_hash_code(0) == SHA2_256

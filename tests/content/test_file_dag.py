"""Building file trees."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from mirrornode.content.block import Block
from mirrornode.content.cid import IDENTITY
from mirrornode.content.dagpb import decode_node
from mirrornode.content.file_dag import build_file_dag, import_bytes
from mirrornode.content.leaf_form import LeafForm
from mirrornode.content.recipe import UNIXFS_V0_2015, UNIXFS_V1_2025, Recipe, recipe_from
from mirrornode.content.unixfs import decode_unixfs
from support.blocks import chacha20_pieces

V0, V1 = UNIXFS_V0_2015, UNIXFS_V1_2025
V1_DAG_PB = recipe_from("unixfs-v0-2015", cid_version=1, raw_leaves=False)
INLINE = replace(V1, inline_limit_bytes=32)


def root_of(content: bytes, recipe: Recipe) -> str:
    return str(import_bytes([content], recipe)[0].root)


# SOURCE: ipfs/kubo test/cli/cid_profiles_test.go, test/cli/add_test.go, sharness t0040;
# ipfs/specs unixfs.md and IPIP-499
@pytest.mark.parametrize(
    ("content", "recipe", "cid"),
    [
        (b"hello world", V0, "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"),
        (b"hello world", V1, "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"),
        (b"hello world", V1_DAG_PB, "bafybeihykld7uyxzogax6vgyvag42y7464eywpf55gxi5qpoisibh3c5wa"),
        (
            b"hello world",
            replace(V1, hash_code=0x13),
            "bafkrgqbqt3gerhas23vuzrapkdeqf4vu2dwxp3srdj6hvg6nhsug2tgyn6mj3u23yx7utftq3i2ckw2fwdh5"
            "qmhid5qf3t35yvkc5e5ottlw6",
        ),
        (b"", V0, "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"),
        (b"", V1_DAG_PB, "bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y"),
        (b"", V1, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
        (b"", INLINE, "bafkqaaa"),
        (b"content\n", V0, "Qme2y5HA5kvo2jAx13UsnV5bQJVijiAJCPvaW3JGQWhvJZ"),
    ],
)
def test_root_when_small_content_then_known_cid(content: bytes, recipe: Recipe, cid: str) -> None:
    assert root_of(content, recipe) == cid


# SOURCE: IPIP-499; ipfs/kubo test/cli/cid_profiles_test.go
@pytest.mark.parametrize(
    ("seed", "size", "recipe", "cid"),
    [
        ("chunk-v0-seed", 262_144, V0, "QmWmRj3dFDZdb6ABvbmKhEL6TmPbAfBZ1t5BxsEyJrcZhE"),
        ("chunk-v0-seed", 262_145, V0, "QmYyLxtzZyW22zpoVAtKANLRHpDjZtNeDjQdJrcQNWoRkJ"),
        ("v0-seed", 174 * 262_144, V0, "QmUbBALi174SnogsUzLpYbD4xPiBSFANF4iztWCsHbMKh2"),
        ("v0-seed", 174 * 262_144 + 1, V0, "QmV81WL765sC8DXsRhE5fJv2rwhS4icHRaf3J9Zk5FdRnW"),
        (
            "chunk-v1-seed",
            1_048_577,
            V1,
            "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64",
        ),
    ],
)
def test_root_when_at_a_boundary_then_known_cid(
    seed: str, size: int, recipe: Recipe, cid: str
) -> None:
    dag, _ = import_bytes(chacha20_pieces(seed, size), recipe)
    assert str(dag.root) == cid
    assert dag.size_bytes == size


# SOURCE: Kubo 0.40.1 `ipfs add --trickle --cid-version=1 --raw-leaves=true --chunker=size-262144
# --max-file-links=174`, content shake_128("mirrornode-<size>")
@pytest.mark.parametrize(
    ("size", "cid"),
    [
        (262_143, "bafybeie6mtdnllral7fc5gvqcthb7b4bodvepzd65hz3je37qzizd2peda"),
        (45_613_057, "bafybeids7uuhrmds6br6qspur6sfp27nnl3qlyl6sjhc3m5gcibvelafxa"),
    ],
)
def test_root_when_trickle_then_as_kubo(size: int, cid: str) -> None:
    recipe = replace(recipe_from("unixfs-v0-2015", cid_version=1), layout="trickle")
    content = hashlib.shake_128(b"mirrornode-%d" % size).digest(size)
    assert root_of(content, recipe) == cid


def test_trickle_when_empty_then_a_root_without_leaves() -> None:
    dag, _ = import_bytes([], replace(V0, layout="trickle"))
    assert str(dag.root) == "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"
    assert (dag.leaves, len(dag.inner)) == (0, 1)


def test_one_leaf_when_built_then_it_is_the_root_and_there_is_no_inner_node() -> None:
    dag, leaves = import_bytes([b"abc"], V1)
    assert (dag.inner, dag.leaves, dag.size_bytes, dag.tsize_bytes) == ([], 1, 3, 3)
    assert [leaf.cid for leaf in leaves] == [dag.root]
    assert dag.leaf_form is LeafForm.RAW


def test_width_plus_one_leaves_when_balanced_then_second_node_has_one_leaf() -> None:
    recipe = recipe_from(chunker="size-1", max_links=3)
    dag, _ = import_bytes([b"abcd"], recipe)
    by_cid = {block.cid: decode_node(block.data) for block in dag.inner}
    children = [by_cid[link.cid] for link in by_cid[dag.root].links]
    assert [len(child.links) for child in children] == [3, 1]


def test_tsize_when_built_then_all_blocks_together() -> None:
    recipe = recipe_from("unixfs-v0-2015", chunker="size-10", max_links=3)
    dag, leaves = import_bytes([bytes(range(250))], recipe)
    blocks = [*dag.inner, *leaves]
    assert dag.tsize_bytes == sum(len(block.data) for block in blocks)
    assert len({block.cid for block in blocks}) == len(blocks)
    for block in blocks:
        Block.verify(block.cid, block.data)


def test_inline_when_last_chunk_is_short_then_its_cid_carries_it() -> None:
    recipe = replace(recipe_from(chunker="size-40"), name="custom", inline_limit_bytes=32)
    dag, leaves = import_bytes([bytes(45)], recipe)
    (root,) = dag.inner
    last = decode_node(root.data).links[1].cid
    assert last.hash_code == IDENTITY
    assert (len(leaves), dag.leaves, dag.tsize_bytes) == (1, 2, 45 + len(root.data))


def test_build_when_lengths_and_hashes_alternate_then_same_as_one_by_one() -> None:
    recipe = replace(recipe_from("unixfs-v0-2015", chunker="size-7"), inline_limit_bytes=20)
    dag, leaves = import_bytes([bytes(7), b"x" * 7, bytes(7), b"yz"], recipe)
    message = decode_unixfs(decode_node(dag.inner[-1].data).data or b"")
    assert message.blocksizes == [7, 7, 7, 2]
    assert leaves == []


def test_build_when_a_hundred_thousand_leaves_then_three_levels() -> None:
    multihashes = [b"\x12\x20" + number.to_bytes(32, "big") for number in range(100_000)]
    dag = build_file_dag(multihashes, [1 << 20] * 100_000, V1)
    assert len(dag.inner) == 98 + 1
    assert dag.size_bytes == 100_000 << 20

"""Every CID that other implementations published or printed for known content, reproduced."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from mirrornode.content.block import MIB, multihash_of
from mirrornode.content.chunker import cut
from mirrornode.content.cid import BLAKE3, SHA2_256, Cid
from mirrornode.content.directory import DirEntry, build_directory, build_symlink
from mirrornode.content.file_dag import FileDag, build_file_dag
from mirrornode.content.leaf_form import leaf_multihash
from mirrornode.content.murmur3 import murmur3_x64_64
from mirrornode.content.recipe import UNIXFS_V0_2015, UNIXFS_V1_2025, Recipe, recipe_from
from support.blocks import chacha20_pieces
from support.fixtures import fixture_json

UNIXFS = "vectors/unixfs_cid_vectors.json"
KUBO = "vectors/kubo_0.40.1_cids.json"


def build(pieces: Iterable[bytes], recipe: Recipe) -> FileDag:
    """Build a file without keeping its leaves."""
    multihashes: list[bytes] = []
    lengths: list[int] = []
    for chunk in cut(pieces, recipe.chunker):
        length = len(chunk)
        hash_code = recipe.leaf_hash_code(length)
        multihashes.append(leaf_multihash(recipe.leaf_form, hash_code, chunk))
        lengths.append(length)
    if not multihashes:
        return build([b""], recipe) if recipe.chunker == "buzhash" else empty(recipe)
    return build_file_dag(multihashes, lengths, recipe)


def empty(recipe: Recipe) -> FileDag:
    multihash = leaf_multihash(recipe.leaf_form, recipe.leaf_hash_code(0), b"")
    return build_file_dag([multihash], [0], recipe)


def recipe_of(params: dict[str, Any]) -> Recipe:
    threshold = params["hamt_threshold"]
    if isinstance(threshold, str):
        threshold = 1 if threshold.startswith("1 byte") else 1 << 30
    return replace(
        recipe_from(
            chunker=f"size-{params['chunk']}",
            cid_version=params["cid_version"],
            raw_leaves=params["raw_leaves"],
            max_links=params["width"],
        ),
        name="custom",
        hamt_threshold_bytes=threshold,
        hamt_estimation=params["hamt_estimation"],
    )


def content_of(vector: dict[str, Any]) -> Iterator[bytes]:
    if "content_utf8" in vector:
        yield vector["content_utf8"].encode()
        return
    content = vector["content"]
    if content["generator"] == "chacha20":
        yield from chacha20_pieces(content["seed"], content["size"])
    else:
        assert content["generator"] == "zeros"
        yield bytes(content["size"])


def build_tree(tree: dict[str, Any], recipe: Recipe) -> DirEntry:
    """Build nested folders of text files; the entry is the folder itself, without a name."""
    entries = []
    for name, node in tree.items():
        if isinstance(node, dict):
            entries.append(replace(build_tree(node, recipe), name=name))
        else:
            dag = build([node.encode()], recipe)
            entries.append(DirEntry(name, dag.root, dag.tsize_bytes))
    directory = build_directory(entries, recipe)
    return DirEntry("", directory.root, directory.tsize_bytes)


def generated_entries(spec: dict[str, Any], recipe: Recipe) -> Iterator[DirEntry]:
    if spec["generator"] == "numbered":
        template, _, bounds = spec["name"].partition(" for i in ")
        first = int(bounds.split("..")[0])
        for number in range(first, first + spec["count"]):
            name = template.replace("{i}", str(number))
            content = name if "name" in spec["content"] else f"{number}\n"
            dag = build([content.encode()], recipe)
            yield DirEntry(name, dag.root, dag.tsize_bytes)
        return
    assert spec["generator"] == "chacha20-names"
    alphabet = "abcdefghijklmnopqrstuvwxyz01234567890-_"
    stream = b"".join(chacha20_pieces(spec["seed"], MIB))
    dag = build([spec["content"].encode()], recipe)
    offset = 0
    for number in range(spec["count"]):
        last = number == spec["count"] - 1
        length = spec["last_name_len"] if last else spec["name_len"]
        name = "".join(alphabet[byte % 39] for byte in stream[offset : offset + length])
        offset += length
        if number == 0:
            assert name == spec["first_name"]
        if last:
            assert name == spec["last_name"]
        yield DirEntry(name, dag.root, dag.tsize_bytes)


def is_gigabyte(vector: dict[str, Any]) -> bool:
    return bool(vector.get("content", {}).get("size", 0) >= 1 << 30)


def test_unixfs_vectors_when_files_then_same_cids() -> None:
    vectors = [v for v in fixture_json(UNIXFS)["vectors"] if v["kind"] == "file"]
    wrong = [
        (vector["source"], vector["cid"])
        for vector in vectors
        if not is_gigabyte(vector)
        and str(build(content_of(vector), recipe_of(vector["params"])).root) != vector["cid"]
    ]
    assert wrong == []
    assert len(vectors) == 29


@pytest.mark.slow
def test_unixfs_vectors_when_a_gibibyte_and_one_byte_more_then_same_cids() -> None:
    # SOURCE: IPIP-499 and ipfs/kubo test/cli/cid_profiles_test.go, "v1-2025-seed": 1024 leaves
    # fill one node, the next byte needs a second level. One pass serves both.
    recipe = UNIXFS_V1_2025
    pieces = chacha20_pieces("v1-2025-seed", (1 << 30) + 1)
    multihashes = []
    lengths = []
    for chunk in cut(pieces, recipe.chunker):
        multihashes.append(leaf_multihash(recipe.leaf_form, SHA2_256, chunk))
        lengths.append(len(chunk))
    exact = build_file_dag(multihashes[:1024], lengths[:1024], recipe)
    more = build_file_dag(multihashes, lengths, recipe)
    assert str(exact.root) == "bafybeihmf37wcuvtx4hpu7he5zl5qaf2ineo2lqlfrapokkm5zzw7zyhvm"
    assert str(more.root) == "bafybeibdsi225ugbkmpbdohnxioyab6jsqrmkts3twhpvfnzp77xtzpyhe"
    assert (len(exact.inner), len(more.inner)) == (1, 3)


def test_unixfs_vectors_when_directories_then_same_cids() -> None:
    vectors = [v for v in fixture_json(UNIXFS)["vectors"] if v["kind"] != "file"]
    wrong = []
    for vector in vectors:
        recipe = recipe_of(vector["params"])
        if "tree" in vector:
            root = build_tree(vector["tree"], recipe)
        else:
            directory = build_directory(generated_entries(vector["entries"], recipe), recipe)
            root = DirEntry("", directory.root, directory.tsize_bytes)
        expected_tsize = vector.get("cumulative_tsize", root.tsize_bytes)
        if (str(root.cid), root.tsize_bytes) != (vector["cid"], expected_tsize):
            wrong.append((vector["source"], vector["cid"], str(root.cid)))
    assert wrong == []
    assert len(vectors) == 17


def test_unixfs_vectors_when_blocks_then_same_bytes() -> None:
    blocks = {block["what"]: block for block in fixture_json(UNIXFS)["blocks"]}
    assert len(blocks) == 5
    for block in blocks.values():
        cid = Cid.parse(block["cid"])
        assert multihash_of(SHA2_256, bytes.fromhex(block["hex"])) == cid.multihash
    two_leaves = build(chacha20_pieces("chunk-v1-seed", MIB + 1), UNIXFS_V1_2025)
    expected = blocks["unixfs-v1 root of 1048577 bytes (2 raw leaves)"]["hex"]
    assert [block.data.hex() for block in two_leaves.inner] == [expected]
    cid, link, tsize = build_symlink("foo", UNIXFS_V0_2015)
    assert link.data.hex() == blocks['symlink to "foo"']["hex"]
    assert (str(cid), tsize) == (blocks['symlink to "foo"']["cid"], 9)


def test_murmur3_when_vectors_then_same_hashes() -> None:
    for key, digest in fixture_json(UNIXFS)["murmur3_x64_64_big_endian_hex"].items():
        assert f"{murmur3_x64_64(key.encode()):016x}" == digest


def kubo_content(size: int) -> bytes:
    return hashlib.shake_128(b"mirrornode-%d" % size).digest(size)


def kubo_recipe(flags: list[str]) -> Recipe:
    """Read the flags of `ipfs add` as Kubo 0.40 does without a profile."""
    given = {}
    for flag in flags:
        key, _, value = flag.lstrip("-").partition("=")
        given[key] = value or "true"
    version = int(given.get("cid-version", "1" if "hash" in given else "0"))
    raw = given["raw-leaves"] == "true" if "raw-leaves" in given else version == 1
    base = recipe_from(
        "unixfs-v0-2015",
        chunker=given.get("chunker"),
        raw_leaves=raw,
        cid_version=version,
        max_links=int(given.get("max-file-links", "174")),
    )
    return replace(
        base,
        name="custom",
        hash_code={"sha2-256": SHA2_256, "blake3": BLAKE3}[given.get("hash", "sha2-256")],
        layout="trickle" if "trickle" in given else "balanced",
        inline_limit_bytes=32 if "inline" in given else 0,
    )


def test_kubo_vectors_when_files_then_same_cids() -> None:
    rows = sorted(fixture_json(KUBO)["files"], key=lambda row: row["size"])
    wrong = []
    size, content = -1, b""
    for row in rows:
        if row["size"] != size:
            size = row["size"]
            content = kubo_content(size)
        if "sha256" in row:
            assert hashlib.sha256(content).hexdigest() == row["sha256"]
        recipe = kubo_recipe(row["flags"])
        dag = build([content], recipe)
        root = dag.root
        if "-w" in row["flags"]:
            entry = DirEntry(f"{size}.bin", dag.root, dag.tsize_bytes)
            root = build_directory([entry], recipe).root
        if str(root) != row["cid"]:
            wrong.append((row["profile"], size, row["cid"], str(root)))
    assert wrong == []
    assert len(rows) == 44


def kubo_tree(spec: Any) -> dict[str, Any]:
    """Turn {path: size | None | link target} into nested dicts."""
    if isinstance(spec, str):
        count = int(spec.split("range(")[1].split(")")[0])
        spec = {f"file-{number:05d}.bin": 1 for number in range(count)}
    tree: dict[str, Any] = {}
    for path, node in spec.items():
        *folders, name = path.split("/")
        below = tree
        for folder in folders:
            below = below.setdefault(folder, {})
        if name:
            below[name] = {} if node is None else node
    return tree


def build_kubo_tree(tree: dict[str, Any], recipe: Recipe, built: dict[int, FileDag]) -> DirEntry:
    entries = []
    for name, node in tree.items():
        if isinstance(node, dict):
            entries.append(replace(build_kubo_tree(node, recipe, built), name=name))
        elif isinstance(node, str):
            cid, _, tsize = build_symlink(node, recipe)
            entries.append(DirEntry(name, cid, tsize))
        else:
            dag = built.get(node) or build([kubo_content(node)], recipe)
            built[node] = dag
            entries.append(DirEntry(name, dag.root, dag.tsize_bytes))
    directory = build_directory(entries, recipe)
    return DirEntry("", directory.root, directory.tsize_bytes)


def test_kubo_vectors_when_directories_then_same_cids() -> None:
    rows = fixture_json(KUBO)["dirs"]
    wrong = []
    for row in rows:
        root = build_kubo_tree(kubo_tree(row["spec"]), kubo_recipe(row["flags"]), {})
        if str(root.cid) != row["cid"]:
            wrong.append((row["name"], row["profile"], row["cid"], str(root.cid)))
    assert wrong == []
    assert len(rows) == 11

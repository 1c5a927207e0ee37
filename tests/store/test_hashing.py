from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrornode.content.cid import BLAKE3
from mirrornode.content.file_dag import build_file_dag, import_bytes
from mirrornode.content.recipe import UNIXFS_V0_2015, UNIXFS_V1_2025, Recipe, recipe_from
from mirrornode.errors import FileChanged
from mirrornode.store.hashing import (
    BUFFER_BYTES,
    MAX_GIT_BYTES,
    PIPELINE_FROM_BYTES,
    RING_BUFFERS,
    hash_file,
)
from support.shared_files import content, digests_of, overwrite, write

MIB = 1024 * 1024


def _git_sha1(data: bytes) -> bytes:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).digest()


def _check(path: Path, data: bytes, recipe: Recipe) -> None:
    digests = digests_of(path, recipe)
    dag = build_file_dag(digests.multihashes, digests.lengths, recipe)
    assert dag.root == import_bytes([data], recipe)[0].root
    assert sum(digests.lengths) == len(data)
    assert digests.sha256 == hashlib.sha256(data).digest()
    assert digests.git_sha1 == (_git_sha1(data) if len(data) < MAX_GIT_BYTES else None)


@given(
    size=st.integers(0, 5000),
    chunk=st.integers(1, 3000),
    raw=st.booleans(),
    inline=st.sampled_from([0, 32]),
    hash_code=st.sampled_from([0x12, 0x13, BLAKE3]),
    layout=st.sampled_from(["balanced", "trickle"]),
)
@settings(max_examples=60, deadline=None)
def test_hash_file_when_any_recipe_then_as_from_memory(
    size: int, chunk: int, raw: bool, inline: int, hash_code: int, layout: str
) -> None:
    recipe = Recipe(
        name="custom",
        chunker=f"size-{chunk}",
        max_links=3,
        raw_leaves=raw,
        cid_version=1,
        hash_code=hash_code,
        layout="trickle" if layout == "trickle" else "balanced",
        inline_limit_bytes=inline,
    )
    data = content(size)
    with tempfile.TemporaryDirectory() as folder:
        _check(write(Path(folder) / "f", data), data, recipe)


@pytest.mark.parametrize("recipe", [UNIXFS_V1_2025, UNIXFS_V0_2015], ids=lambda r: str(r.name))
@pytest.mark.parametrize(
    "size",
    [
        PIPELINE_FROM_BYTES - 1,
        PIPELINE_FROM_BYTES,
        PIPELINE_FROM_BYTES + RING_BUFFERS * BUFFER_BYTES + 12_345,
    ],
)
def test_hash_file_when_large_then_both_threads_agree_with_memory(
    tmp_path: Path, size: int, recipe: Recipe
) -> None:
    data = os.urandom(MIB) * (size // MIB) + content(size % MIB)
    _check(write(tmp_path / "f", data), data, recipe)


def test_hash_file_when_chunks_do_not_divide_the_buffer_then_as_from_memory(
    tmp_path: Path,
) -> None:
    data = content(3 * MIB + 7)
    for chunk in (1_000_003, 700_000, 2 * MIB):
        _check(write(tmp_path / "f", data), data, recipe_from(chunker=f"size-{chunk}"))


def test_hash_file_when_buzhash_then_as_from_memory(tmp_path: Path) -> None:
    data = content(700_000)
    _check(write(tmp_path / "f", data), data, recipe_from(chunker="buzhash"))
    _check(write(tmp_path / "empty", b""), b"", recipe_from(chunker="buzhash"))


def test_hash_file_when_known_file_then_known_digests(tmp_path: Path) -> None:
    digests = digests_of(write(tmp_path / "f", b"hello world"))
    assert digests.sha256.hex() == (
        "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"  # SOURCE: sha256sum
    )
    assert digests.git_sha1 is not None
    # SOURCE: printf 'hello world' | git hash-object --stdin
    assert digests.git_sha1.hex() == "95d09f2b10159347eece71399a7e2e907ea3df4f"


@pytest.mark.parametrize("size", [5000, PIPELINE_FROM_BYTES + MIB])
@pytest.mark.parametrize("change", ["rewritten", "shrunk", "grown"])
def test_hash_file_when_changed_while_read_then_refused(
    tmp_path: Path, size: int, change: str
) -> None:
    path = write(tmp_path / "f", bytes(size))
    after = {"rewritten": b"x" * size, "shrunk": b"", "grown": b"x" * (size + 1)}[change]
    reads = 0

    def interfere(count: int) -> None:
        nonlocal reads
        reads += 1
        if reads == 1:
            overwrite(path, after)

    with pytest.raises(FileChanged) as caught:
        hash_file(path, UNIXFS_V1_2025, interfere)
    assert caught.value.reason == "changed"


@pytest.mark.parametrize("size", [5000, PIPELINE_FROM_BYTES + 20 * MIB])
def test_hash_file_when_stopped_then_raises_what_the_counter_raised(
    tmp_path: Path, size: int
) -> None:
    path = write(tmp_path / "f", bytes(size))

    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hash_file(path, UNIXFS_V1_2025, stop)


def test_hash_file_when_counted_then_every_byte_once(tmp_path: Path) -> None:
    size = PIPELINE_FROM_BYTES + 5
    counts: list[int] = []
    hash_file(write(tmp_path / "f", bytes(size)), UNIXFS_V1_2025, counts.append)
    assert sum(counts) == size
    assert max(counts) <= BUFFER_BYTES

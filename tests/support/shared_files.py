"""Builders for tests of the store and of what stands on it: files on disk, hashed and recorded."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from mirrornode.content.file_dag import FileDag, build_file_dag
from mirrornode.content.recipe import UNIXFS_V1_2025, Recipe
from mirrornode.store.catalog import Catalog
from mirrornode.store.files import profile_key
from mirrornode.store.hashing import FileDigests, hash_file
from mirrornode.store.records import FileRecord

_NOBODY = 65534

SMALL_CHUNKS = Recipe(
    name="custom", chunker="size-1000", max_links=4, raw_leaves=True, cid_version=1
)


def content(size_bytes: int) -> bytes:
    """Return the incompressible bytes that the Kubo vectors were made from."""
    return hashlib.shake_128(b"mirrornode-%d" % size_bytes).digest(size_bytes)


def write(path: Path, data: bytes) -> Path:
    """Write a file, its folders included, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def overwrite(path: Path, data: bytes, *, keep_time: bool = False) -> None:
    """Write over a file in place; its time moves by a second, or is what it was."""
    before = path.stat()
    path.write_bytes(data)
    moved_ns = 0 if keep_time else 1_000_000_000
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + moved_ns))


@contextlib.contextmanager
def denied(path: Path) -> Iterator[None]:
    """Take away the right to read a file, also from root, for as long as the block lasts."""
    was_root = os.geteuid() == 0
    mode = path.stat().st_mode
    path.chmod(0)
    if was_root:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)
        path.chmod(mode)


def digests_of(path: Path, recipe: Recipe = UNIXFS_V1_2025) -> FileDigests:
    """Hash a file and forget how many bytes were read."""
    return hash_file(path, recipe, lambda count: None)


def record(catalog: Catalog, path: Path, recipe: Recipe = UNIXFS_V1_2025) -> FileDag:
    """Hash a file, record it with its inner blocks, and return its tree."""
    digests = digests_of(path, recipe)
    dag = build_file_dag(digests.multihashes, digests.lengths, recipe)
    catalog.record_files(
        [
            FileRecord(
                path=path,
                stamp=digests.stamp,
                cid=dag.root,
                leaf_form=dag.leaf_form,
                multihashes=digests.multihashes,
                lengths=digests.lengths,
                profile=profile_key(recipe),
                tsize_bytes=dag.tsize_bytes,
                sha256=digests.sha256,
                git_sha1=digests.git_sha1,
                blocks=dag.inner,
            )
        ]
    )
    return dag


def record_root(catalog: Catalog, path: Path, dags: dict[Path, FileDag]) -> None:
    """Record a folder over files; its CID is the first file's, which is all the store looks at."""
    first = next(iter(dags.values()))
    catalog.record_root(
        cid=first.root,
        kind="directory",
        name=path.name,
        path=path,
        size_bytes=sum(dag.size_bytes for dag in dags.values()),
        profile="unixfs-v1-2025",
        files=[(file, dag.root) for file, dag in dags.items()],
        announce=[first.root.multihash],
        added_at=1.0,
    )

"""One read pass over a file gives all its names: leaf hashes, whole SHA-256, and git's SHA-1.

The leaves and the whole file are hashed by different threads over the same buffers, so on two
cores a large file goes at the speed of one SHA-256. Buffers are a small ring, reused; file bytes
are never copied in Python. Which files to read, and how many at once, is `hash_pool`'s business.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from mirrornode.buffers import page_aligned
from mirrornode.content.chunker import cut
from mirrornode.content.cid import SHA2_256
from mirrornode.content.leaf_form import leaf_multihash
from mirrornode.errors import FileChanged, PathRefused
from mirrornode.store.stamps import CHANGED, FileStamp, open_regular

if TYPE_CHECKING:
    from mirrornode.content.block import Buffer
    from mirrornode.content.recipe import Recipe

MIB = 1024 * 1024
MAX_GIT_BYTES = 32 * MIB  # git-sha1 is asked for small files only; large ones go by SHA-256
PIPELINE_FROM_BYTES = 32 * MIB  # smaller files are hashed side by side, one thread each
BUFFER_BYTES = MIB
RING_BUFFERS = 4

BytesRead = Callable[[int], None]
"""Told how many bytes more were read, from any thread; what it raises ends the hashing."""


@dataclass(frozen=True, slots=True)
class FileDigests:
    """Every name of one file, as it was at `stamp`.

    Attributes:
        multihashes: Of the leaves, in file order; one for an empty file.
        lengths: File bytes of each leaf.
        git_sha1: Of the git blob; None from `MAX_GIT_BYTES` on.
    """

    stamp: FileStamp
    multihashes: Sequence[bytes]
    lengths: Sequence[int]
    sha256: bytes
    git_sha1: bytes | None


def hash_file(path: Path, recipe: Recipe, on_bytes: BytesRead) -> FileDigests:
    """Read a regular file once and return all its digests.

    Raises:
        FileChanged: It is not there, is no regular file, or changed while it was read.
        PathRefused: The operating system denies access, or the disk failed.
    """
    descriptor = open_regular(path)
    try:
        stamp = FileStamp.of(descriptor)
        if hasattr(os, "posix_fadvise"):  # not on macOS
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        source = _Source(descriptor, stamp.size_bytes, on_bytes)
        leaves = _Leaves(recipe)
        whole = _WholeHashes(stamp.size_bytes, with_sha256=not leaves.is_whole(stamp.size_bytes))
        if recipe.chunker == "buzhash":
            _hash_cut(source, recipe.chunker, leaves, whole)
        elif stamp.size_bytes >= PIPELINE_FROM_BYTES:
            _hash_piped(source, leaves, whole)
        else:
            _hash_inline(source, leaves, whole)
        if source.offset != stamp.size_bytes or FileStamp.of(descriptor) != stamp:
            raise FileChanged(path, CHANGED)
    except OSError as error:
        raise PathRefused(path, "read", os.strerror(error.errno or 0)) from error
    finally:
        os.close(descriptor)
    if not leaves.multihashes:
        leaves.add(b"")  # an empty file is one empty leaf
    sha256 = whole.sha256.digest() if whole.sha256 else leaves.multihashes[0][2:]
    git_sha1 = whole.git_sha1.digest() if whole.git_sha1 else None
    return FileDigests(stamp, leaves.multihashes, leaves.lengths, sha256, git_sha1)


@dataclass(slots=True)
class _Source:
    """The bytes of a file in order, into buffers of the caller's; never more than its size."""

    descriptor: int
    size_bytes: int
    on_bytes: BytesRead
    offset: int = 0

    def fill(self, buffer: memoryview) -> memoryview:
        """Return the part of `buffer` that was filled; empty at the end of the file."""
        wanted = min(len(buffer), self.size_bytes - self.offset)
        filled = 0
        while filled < wanted:
            count = os.preadv(self.descriptor, [buffer[filled:wanted]], self.offset + filled)
            if not count:
                break
            filled += count
        self.offset += filled
        if filled:
            self.on_bytes(filled)
        return buffer[:filled]


class _Leaves:
    """Collects the leaves' multihashes; chunks are hashed where they lie."""

    def __init__(self, recipe: Recipe) -> None:
        self.multihashes: list[bytes] = []
        self.lengths = array("Q")
        self._recipe = recipe
        self._form = recipe.leaf_form
        self._chunk_bytes = 0 if recipe.chunker == "buzhash" else recipe.chunk_bytes

    def is_whole(self, size_bytes: int) -> bool:
        """Whether the SHA-256 of a file of that size is its only leaf's multihash already."""
        return (
            self._recipe.raw_leaves
            and size_bytes <= self._chunk_bytes
            and self._recipe.leaf_hash_code(size_bytes) == SHA2_256
        )

    def buffer_bytes(self, size_bytes: int) -> int:
        """Return a buffer size that no chunk straddles, no larger than the file needs."""
        whole_chunks = self._chunk_bytes * max(1, BUFFER_BYTES // self._chunk_bytes)
        return min(whole_chunks, max(1, size_bytes))

    def add(self, chunk: Buffer) -> None:
        hash_code = self._recipe.leaf_hash_code(len(chunk))
        self.multihashes.append(leaf_multihash(self._form, hash_code, chunk))
        self.lengths.append(len(chunk))

    def add_all(self, view: memoryview) -> None:
        for start in range(0, len(view), self._chunk_bytes):
            self.add(view[start : start + self._chunk_bytes])


class _WholeHashes:
    """The hashes over the file as a whole; None is one that is not computed."""

    def __init__(self, size_bytes: int, *, with_sha256: bool) -> None:
        self.sha256 = hashlib.sha256(usedforsecurity=False) if with_sha256 else None
        self.git_sha1 = None
        if size_bytes < MAX_GIT_BYTES:
            self.git_sha1 = hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)

    def update(self, data: Buffer) -> None:
        if self.sha256 is not None:
            self.sha256.update(data)
        if self.git_sha1 is not None:
            self.git_sha1.update(data)


def _hash_inline(source: _Source, leaves: _Leaves, whole: _WholeHashes) -> None:
    buffer = page_aligned(leaves.buffer_bytes(source.size_bytes))
    while view := source.fill(buffer):
        leaves.add_all(view)
        whole.update(view)


def _hash_cut(source: _Source, chunker: str, leaves: _Leaves, whole: _WholeHashes) -> None:
    """Hash content-defined chunks; the chunker wants bytes of its own, so this one copies."""

    def pieces() -> Iterator[bytes]:
        buffer = page_aligned(BUFFER_BYTES)
        while view := source.fill(buffer):
            whole.update(view)
            yield bytes(view)

    for chunk in cut(pieces(), chunker):
        leaves.add(chunk)


def _hash_piped(source: _Source, leaves: _Leaves, whole: _WholeHashes) -> None:
    """Read and hash leaves in this thread, the whole file in another, over a ring of buffers.

    A buffer is free again when the other thread is done with it; this thread is done with its own
    before it takes the next. None in a queue means that no more will come.
    """
    free: SimpleQueue[memoryview | None] = SimpleQueue()
    full: SimpleQueue[tuple[memoryview, memoryview] | None] = SimpleQueue()
    for _ in range(RING_BUFFERS):
        free.put(page_aligned(leaves.buffer_bytes(source.size_bytes)))

    def hash_whole() -> None:
        try:
            while filled := full.get():
                buffer, view = filled
                whole.update(view)
                free.put(buffer)
        finally:
            free.put(None)

    with ThreadPoolExecutor(1, thread_name_prefix="hash-whole") as executor:
        other = executor.submit(hash_whole)
        try:
            while buffer := free.get():
                view = source.fill(buffer)
                if not view:
                    break
                full.put((buffer, view))
                leaves.add_all(view)
        finally:
            full.put(None)
        other.result()

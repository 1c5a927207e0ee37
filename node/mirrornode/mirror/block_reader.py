"""Reading blocks that are on this disk, each verified: from the catalog or out of shared files.

The bytes of a leaf are read into one buffer that is used again; no copy is made in Python.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mirrornode.buffers import page_aligned
from mirrornode.content.block import MAX_BLOCK_BYTES, Block, multihash_of
from mirrornode.content.leaf_form import leaf_prefix, leaf_suffix
from mirrornode.errors import BlockNotFound, CidMismatch, FileChanged, PathRefused
from mirrornode.store.slices import open_slice
from mirrornode.store.stamps import CHANGED

if TYPE_CHECKING:
    from types import TracebackType

    from mirrornode.content.cid import Cid
    from mirrornode.mirror.local_dag import LocalBlock
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.records import FileSlice


class BlockReader:
    """Reads blocks one after the other and keeps the last file open; not thread-safe."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._open: tuple[object, int] | None = None
        self._buffer: memoryview | None = None

    def __enter__(self) -> BlockReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def kept(self, cid: Cid) -> Block:
        """Return a block that the catalog keeps, or that its CID holds.

        Raises:
            BlockNotFound: It is not kept.
            CidMismatch: The catalog is damaged.
        """
        data = cid.digest if cid.is_identity else self._catalog.get_block(cid.multihash)
        if data is None:
            raise BlockNotFound(cid)
        return Block.verify(cid, data)

    def read(self, block: LocalBlock) -> bytes | memoryview:
        """Return the verified bytes of a block; a view is good until the next call.

        Raises:
            CidMismatch: It is not what its CID names; a file that holds it is marked and named.
            PathRefused: The operating system denies access, or the disk failed.
        """
        if block.kept is not None:
            return Block.verify(block.cid, block.kept).data
        leaf = block.leaf
        assert leaf is not None, "only what is here is read"
        try:
            view = self._read_leaf(leaf)
            if multihash_of(block.cid.hash_code, view) != block.cid.multihash:
                raise FileChanged(leaf.path, CHANGED)
        except FileChanged as exc:
            self._catalog.mark_changed(exc.path, exc.reason)
            raise CidMismatch(block.cid, str(exc)) from exc
        return view

    def _read_leaf(self, leaf: FileSlice) -> memoryview:
        if self._buffer is None:
            self._buffer = page_aligned(MAX_BLOCK_BYTES)
        prefix, suffix = leaf_prefix(leaf.form, leaf.length), leaf_suffix(leaf.form, leaf.length)
        start, stop = len(prefix), len(prefix) + leaf.length
        end = stop + len(suffix)
        buffer = self._buffer if end <= len(self._buffer) else page_aligned(end)
        buffer[:start] = prefix
        buffer[stop:end] = suffix
        descriptor = self._descriptor(leaf)
        filled = start
        while filled < stop:
            try:
                count = os.preadv(descriptor, [buffer[filled:stop]], leaf.offset + filled - start)
            except OSError as exc:
                raise PathRefused(leaf.path, "read", os.strerror(exc.errno or 0)) from exc
            if not count:
                raise FileChanged(leaf.path, CHANGED)
            filled += count
        return buffer[:end]

    def _descriptor(self, leaf: FileSlice) -> int:
        key = leaf.path, leaf.stamp
        if self._open is None or self._open[0] != key:
            self._close()
            self._open = key, open_slice(leaf)
        return self._open[1]

    def _close(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            os.close(opened[1])

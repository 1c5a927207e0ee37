"""The blocks of a DAG that are on this disk, in depth-first order: where each lies, or that it is
not here. Nothing of a file is read; inner blocks come from the catalog.

A block that occurs again is left out. What is remembered of those seen is some 100 bytes a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mirrornode.content.cid import RAW, Cid
from mirrornode.content.dag_links import NamedLink, links_of
from mirrornode.content.leaf_form import leaf_block_size
from mirrornode.content.walk import DEFAULT_LIMITS
from mirrornode.errors import LimitExceeded
from mirrornode.store.stamps import FileStamp, look

if TYPE_CHECKING:
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.records import FileSlice

LOOKUP_LINKS = 256  # blocks looked up together: inner ones are held for that long
MAX_DEPTH = DEFAULT_LIMITS.max_path_depth + DEFAULT_LIMITS.max_depth


class LocalBlock(NamedTuple):
    """One block; both `kept` and `leaf` are None when it is not here.

    Attributes:
        path: The file or folder it belongs to; "" for the root's own.
        kept: Its bytes, when the catalog keeps them.
        leaf: Where in a shared file it lies, unverified.
    """

    cid: Cid
    path: str
    kept: bytes | None = None
    leaf: FileSlice | None = None

    @property
    def is_here(self) -> bool:
        return self.kept is not None or self.leaf is not None

    @property
    def size_bytes(self) -> int:
        """Size of the block; 0 when it is not here."""
        if self.kept is not None:
            return len(self.kept)
        return 0 if self.leaf is None else leaf_block_size(self.leaf.form, self.leaf.length)


class LocalDag:
    """Finds blocks in one catalog.

    Attributes:
        changed: Files that were met and differ from what was recorded; the same as in the catalog.
    """

    def __init__(self, catalog: Catalog, made: Mapping[bytes, bytes]) -> None:
        """Look into `catalog`, and into blocks that were made for the occasion."""
        self._catalog = catalog
        self._made = made
        self._looks: dict[tuple[Path, FileStamp], str] = {}
        self.changed: dict[Path, str] = {}

    def blocks(self, root: Cid) -> Iterator[LocalBlock]:
        """Yield the root and all below it, each block once and before what it links to.

        Raises:
            ContentError: A block is malformed, or the DAG is deeper than `MAX_DEPTH`.
        """
        seen: set[bytes] = set()
        levels = [self._find([NamedLink(root, "")], "")]
        while levels:
            block = next(levels[-1], None)
            if block is None:
                levels.pop()
                continue
            key = _key(block.cid)
            if key in seen:
                continue
            seen.add(key)
            if not block.cid.is_identity:
                yield block
            links = links_of(block.cid, block.kept) if block.kept is not None else ()
            if links:
                if len(levels) > MAX_DEPTH:
                    raise LimitExceeded(f"{root}: more than {MAX_DEPTH} levels deep")
                levels.append(self._find(links, block.path))

    def _find(self, links: Sequence[NamedLink], path: str) -> Iterator[LocalBlock]:
        for start in range(0, len(links), LOOKUP_LINKS):
            batch = links[start : start + LOOKUP_LINKS]
            asked = [link.cid.multihash for link in batch]
            # Most links lead to leaves only, or to inner blocks only: seldom both questions.
            leaves = self._leaves([link.cid.multihash for link in batch if link.cid.codec == RAW])
            rest = [multihash for multihash in asked if multihash not in leaves]
            kept = self._catalog.get_blocks(rest)
            rest = [multihash for multihash in rest if multihash not in kept]
            leaves |= self._leaves(rest) if rest else {}
            for link in batch:
                below = "/".join(filter(None, (path, link.name)))
                yield self._block(link.cid, below, kept, leaves)

    def _block(
        self,
        cid: Cid,
        path: str,
        kept: Mapping[bytes, bytes],
        leaves: Mapping[bytes, FileSlice],
    ) -> LocalBlock:
        if cid.is_identity:
            return LocalBlock(cid, path, cid.digest)
        found = self._made.get(cid.multihash) or kept.get(cid.multihash)
        if found is not None:
            return LocalBlock(cid, path, found)
        leaf = leaves.get(cid.multihash)
        fits = leaf is not None and leaf.form.codec == cid.codec
        return LocalBlock(cid, path, leaf=leaf if fits else None)

    def _leaves(self, multihashes: Sequence[bytes]) -> dict[bytes, FileSlice]:
        """Return the leaves that lie in files which look as they did; one look at each file."""
        found: dict[bytes, FileSlice] = {}
        while multihashes:
            places = self._catalog.find_leaves(multihashes)
            good = {key: leaf for key, leaf in places.items() if self._is_unchanged(leaf)}
            found |= good
            # Another file may hold what a changed one has lost; that one is not found again.
            multihashes = [key for key in places if key not in good]
        return found

    def _is_unchanged(self, leaf: FileSlice) -> bool:
        key = leaf.path, leaf.stamp
        if key not in self._looks:
            self._looks[key] = state = look(leaf.path, leaf.stamp)
            if state != "ok":
                self.changed[leaf.path] = state
                self._catalog.mark_changed(leaf.path, state)
        return self._looks[key] == "ok"


def _key(cid: Cid) -> bytes:
    """Return what tells blocks apart: the same bytes read as another codec have other links."""
    return cid.multihash if cid.codec == RAW else bytes((cid.codec & 0xFF,)) + cid.multihash

"""What this node can hand out, found by CID: blocks, whole files, parts of files in transfer.

Nothing here is trusted to be unchanged: a file is compared with its stamp before a byte of it is
read, and one that differs is marked and no longer announced.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.content.cid import DAG_PB
from mirrornode.content.dagpb import decode_node
from mirrornode.content.leaf_form import leaf_block_size
from mirrornode.content.unixfs import Kind, decode_unixfs
from mirrornode.errors import ContentError, FileChanged, PathRefused
from mirrornode.store.slices import open_slice, read_leaf
from mirrornode.store.stamps import FileStamp, look, open_regular
from mirrornode.wire.ticket import Holding

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.mirror.active import ActiveTransfers
    from mirrornode.mirror.claims import Claims
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.records import StoredRoot
    from mirrornode.wire.ranges import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file ready to be read; the caller closes `descriptor`.

    Attributes:
        cid: Root under which it was found; for an alias the root it stands for.
        runs: What may be read of it; None means all.
        stamp: What the descriptor's status must still be while it is read; None for a part.
    """

    cid: Cid
    descriptor: int
    size_bytes: int
    runs: tuple[Run, ...] | None
    stamp: FileStamp | None
    path: Path

    def is_unchanged(self) -> bool:
        """Tell whether the open file is still the one that was hashed."""
        return self.stamp is None or FileStamp.of(self.descriptor) == self.stamp


class Shelf:
    """Finds content in the catalog and in running transfers. Blocking, short; thread-safe."""

    def __init__(self, catalog: Catalog, active: ActiveTransfers) -> None:
        self._catalog = catalog
        self._active = active

    def read_block(self, cid: Cid) -> bytes | None:
        """Return the bytes of a block, None when it is not here."""
        if cid.is_identity:
            return cid.digest
        kept = self._catalog.get_block(cid.multihash)
        if kept is not None:
            return kept
        leaf = self._catalog.find_leaf(cid.multihash)
        if leaf is None or leaf.form.codec != cid.codec:
            return None
        self._active.uses.note(leaf.path)
        try:
            return read_leaf(leaf)
        except FileChanged as exc:
            self.withdraw(exc)
        except PathRefused as exc:
            log.warning("shared file not readable reason=%s", exc.reason)
        return None

    def has_block(self, cid: Cid) -> bool:
        """Tell whether `read_block` would find a block, without reading it."""
        if cid.is_identity or self._catalog.has_blocks([cid.multihash]):
            return True
        leaf = self._catalog.find_leaf(cid.multihash)
        return (
            leaf is not None
            and leaf.form.codec == cid.codec
            and look(leaf.path, leaf.stamp) == "ok"
        )

    def block_sizes(self, cids: Sequence[Cid]) -> dict[Cid, int | None]:
        """Return the sizes of blocks, None for those that are not here; reads none of them.

        A shared file that has changed is noticed by `read_block` only.
        """
        sizes: dict[Cid, int | None] = {
            cid: len(cid.digest) if cid.is_identity else None for cid in cids
        }
        kept = self._catalog.kept_sizes([cid.multihash for cid in cids])
        rest = [cid for cid in cids if sizes[cid] is None and cid.multihash not in kept]
        leaves = self._catalog.find_leaves([cid.multihash for cid in rest])
        for cid in cids:
            leaf = leaves.get(cid.multihash)
            if cid.multihash in kept:
                sizes[cid] = kept[cid.multihash]
            elif leaf is not None and leaf.form.codec == cid.codec:
                sizes[cid] = leaf_block_size(leaf.form, leaf.length)
        return sizes

    def open_file(self, cid: Cid) -> OpenFile | None:
        """Open the file whose root, or whose whole-content SHA-256, is `cid`."""
        stored = self._catalog.find_file(cid.multihash)
        if stored is not None:
            self._active.uses.note(stored.path)
            try:
                descriptor = open_slice(stored)
            except FileChanged as exc:
                self.withdraw(exc)
            except PathRefused as exc:
                log.warning("shared file not readable reason=%s", exc.reason)
            else:
                return OpenFile(
                    stored.cid, descriptor, stored.size_bytes, None, stored.stamp, stored.path
                )
        part = self._active.partial(cid.multihash)
        if part is None:
            return None
        try:
            descriptor = open_regular(part.path)
        except (FileChanged, PathRefused):
            return None
        return OpenFile(part.cid, descriptor, part.size_bytes, part.runs, None, part.path)

    @property
    def claims(self) -> Claims:
        """What this node is fetching from an origin, unproven."""
        return self._active.claims

    def find_root(self, cid: Cid) -> StoredRoot | None:
        """Return what the user added or got under this CID, None when that was nothing."""
        return self._catalog.find_root(cid.multihash)

    def note_served(self) -> None:
        """Note that something of the shelf is being sent."""
        self._active.note_served()

    def withdraw(self, exc: FileChanged) -> None:
        """Take a changed file out of everything this node offers."""
        log.warning("shared file changed reason=%s", exc.reason)
        self._catalog.mark_changed(exc.path, exc.reason)

    def holdings(self, roots: Sequence[Cid]) -> tuple[Holding, ...]:
        """Return what is here of the asked roots; see `Holding`."""
        found = (self._holding(root) for root in roots)
        return tuple(holding for holding in found if holding is not None)

    def _holding(self, asked: Cid) -> Holding | None:
        opened = self.open_file(asked)
        if opened is not None:
            os.close(opened.descriptor)
            root = opened.cid if opened.cid.multihash != asked.multihash else asked
            return Holding(asked, root, opened.size_bytes, opened.runs)
        stored = self._catalog.find_root(asked.multihash)
        if stored is not None and stored.state in ("ok", "partial"):
            return Holding(asked, asked, stored.size_bytes, None, stored.state == "ok")
        part = self._active.partial(asked.multihash)
        if part is not None:  # not a byte of it is on the disk yet
            return Holding(asked, asked, part.size_bytes, ())
        size = self._active.folder_size(asked.multihash)
        if size is not None:
            return Holding(asked, asked, size, None, is_complete=False)
        block = self._catalog.get_block(asked.multihash)
        if block is None:
            return None
        # Below something that was added, or read for a `get` that has only begun: the structure
        # is here. What is here of a folder's files they tell by their own CIDs.
        return Holding(asked, asked, 0, None if is_folder(asked, block) else (), is_complete=False)


def is_folder(cid: Cid, block: bytes) -> bool:
    """Tell whether a block is the root of a folder."""
    if cid.codec != DAG_PB:
        return False
    try:
        node_data = decode_node(block).data
        return node_data is not None and decode_unixfs(node_data).kind in (
            Kind.DIRECTORY,
            Kind.HAMT_SHARD,
        )
    except ContentError:
        return False

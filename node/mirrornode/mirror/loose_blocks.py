"""Blocks of a CAR that are no files: kept in the catalog as they are, if they are few.

Such as the DAG-CBOR documents of other programs. Files belong into files: a root of this kind that
would bring more than `MAX_LOOSE_BYTES` into the catalog is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirrornode.content.dag_links import links_of
from mirrornode.content.walk import DEFAULT_LIMITS
from mirrornode.errors import LimitExceeded
from mirrornode.sources.car_files import CarFile, find_block

if TYPE_CHECKING:
    from mirrornode.content.block import Block
    from mirrornode.content.cid import Cid
    from mirrornode.store.catalog import Catalog

MAX_LOOSE_BYTES = 64 << 20
MAX_LOOSE_BLOCKS = DEFAULT_LIMITS.max_nodes
FLUSH_BYTES = 8 << 20


@dataclass(slots=True)
class Kept:
    """What became of one root; `missing` are paths that its links spell."""

    size_bytes: int = 0
    missing: list[str] = field(default_factory=list)


def keep_loose(catalog: Catalog, cars: Sequence[CarFile], root: Cid) -> Kept:
    """Keep all that is there of a root. Blocking.

    Raises:
        LimitExceeded: It is too much to be kept as blocks; the first part of it was.
        ContentError: A block is damaged or malformed.
    """
    kept = Kept()
    seen = {root.multihash}
    todo: list[tuple[Cid, str]] = [(root, "")]
    batch: list[Block] = []
    batch_bytes = 0
    while todo:
        cid, path = todo.pop()
        if cid.is_identity:
            data = cid.digest
        else:
            block = find_block(cars, cid)
            if block is None:
                if catalog.get_block(cid.multihash) is None:
                    kept.missing.append(path)
                continue
            data = block.data
            batch.append(block)
            batch_bytes += len(data)
            kept.size_bytes += len(data)
        if kept.size_bytes > MAX_LOOSE_BYTES or len(seen) > MAX_LOOSE_BLOCKS:
            raise LimitExceeded(
                f"{root} is no file or folder, and more than {MAX_LOOSE_BYTES >> 20} MiB hang "
                "below it: too much to keep as blocks"
            )
        if batch_bytes >= FLUSH_BYTES:
            catalog.put_blocks(batch)
            batch, batch_bytes = [], 0
        for link in links_of(cid, data):
            if link.cid.multihash not in seen:
                seen.add(link.cid.multihash)
                todo.append((link.cid, "/".join(filter(None, (path, link.name)))))
    catalog.put_blocks(batch)
    return kept

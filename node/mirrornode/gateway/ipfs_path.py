"""Following a content path through folders, one segment after the other.

Reads basic and sharded directories; symlinks are not followed, and a path does not lead into the
fields of a CBOR or JSON document.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from mirrornode.content.cid import DAG_PB, Cid
from mirrornode.content.walk import resolve_path, run_walk
from mirrornode.errors import TargetError

if TYPE_CHECKING:
    from mirrornode.content.block import Block
    from mirrornode.gateway.ipfs_blocks import LocalBlocks


class Place(NamedTuple):
    """Where a path leads.

    Attributes:
        cid: What lies there.
        roots: The CID that each part of the path names, the root first and `cid` last.
        way: The blocks that prove it: directories and shards from the root on, without `cid`.
    """

    cid: Cid
    roots: tuple[Cid, ...]
    way: tuple[Cid, ...]


def follow(root: Cid, segments: Sequence[str], blocks: LocalBlocks) -> Place:
    """Return where a path leads; without segments nothing is read.

    Raises:
        TargetError: There is no such entry, or no folder where one is needed.
        BlockNotFound: A block on the way is not here.
        ContentError: A directory on the way is malformed.
    """
    roots = [root]
    way: list[Cid] = []

    def load(cids: Sequence[Cid]) -> list[Block]:
        way.extend(cids)
        return blocks.load(cids)

    for segment in segments:
        if roots[-1].codec != DAG_PB:
            raise TargetError(f"{roots[-1]} is not a folder")
        roots.append(run_walk(resolve_path(roots[-1], [segment]), load))
    return Place(roots[-1], tuple(roots), tuple(way))

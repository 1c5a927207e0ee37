"""Files that do not lie on this disk as files: their bytes out of blocks, any range of them.

Only the nodes that overlap the range are read. Files that do lie on the disk are opened and sent
by the kernel instead; see `ipfs_answers`.
Spec: unixfs.md, "File".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mirrornode.errors import LimitExceeded, MalformedNode
from mirrornode.gateway.ipfs_car import file_children

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.gateway.ipfs_blocks import LocalBlocks

MAX_DEPTH = 64
MAX_HELD_LINKS = 1 << 18


def file_pieces(root: Cid, start: int, stop: int, blocks: LocalBlocks) -> Iterator[bytes]:
    """Yield the bytes `[start, stop)` of a file, a block at a time.

    Raises:
        BlockNotFound: A block that holds some of them is not here.
        ContentError: A node contradicts its parent, or a limit is reached.
    """
    stack: list[Iterator[tuple[Cid, int, int | None]]] = [iter([(root, 0, None)])]
    held = [1]
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
            held.pop()
            continue
        cid, offset, expected = step
        entity = blocks.entity(cid)
        if not entity.is_file:
            raise MalformedNode(f"{cid}: not a part of a file")
        if expected is not None and entity.size_bytes != expected:
            raise MalformedNode(f"{cid}: its parent says another size")
        own = entity.block.data if entity.message is None else entity.message.data or b""
        if offset < stop and start < offset + len(own):
            yield own[max(0, start - offset) : stop - offset]
        below: list[tuple[Cid, int, int | None]] = [
            part
            for part in file_children(entity, offset)
            if part[2] and part[1] < stop and start < part[1] + part[2]
        ]
        if below:
            stack.append(iter(below))
            held.append(len(below))
            if len(stack) > MAX_DEPTH or sum(held) > MAX_HELD_LINKS:
                raise LimitExceeded(f"{root}: a file too deep or too wide")

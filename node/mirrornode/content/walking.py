"""How a walk over a DAG is run: it yields the CIDs it needs next and is sent their blocks.

A walk is a generator without I/O, so that the same code walks blocks in memory, in a catalog, or on
the other side of the network, and tests need none of these. It asks for many blocks at a time; the
driver may fetch them in parallel and answers in the same order with verified blocks. Every walk is
bounded by `WalkLimits`, because who made the DAG is not trusted.
Driven by: `run_walk` and `run_walk_async`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from mirrornode.content.block import MIB, Block, check_verifiable
from mirrornode.content.cid import DAG_PB, RAW, Cid
from mirrornode.content.dagpb import MAX_LINKS_PER_NODE, Node, decode_node
from mirrornode.content.unixfs import UnixFs, decode_unixfs
from mirrornode.errors import ContentError, HashNotAllowed, LimitExceeded, MalformedNode

T = TypeVar("T")

Walk: TypeAlias = Generator[list[Cid], list[Block], T]


@dataclass(frozen=True, slots=True)
class WalkLimits:
    """What a walk accepts before it raises `LimitExceeded`. A repeated sub-DAG counts every time.

    Attributes:
        max_depth: Levels of nodes below the root of one file. A balanced file of 1 EiB has 5.
        max_path_depth: Folders inside folders.
        max_path_bytes: Length of one joined path.
        max_nodes: Nodes visited that are not leaves taken from their parent's word.
        max_links_per_node: Links of one node.
        max_entries: Directory entries in all.
        max_leaves: Leaves in all; a terabyte has a million of 1 MiB.
        max_file_bytes: Size of one file.
        max_held_bytes: Inner nodes and bytes kept in memory in all.
        max_batch: CIDs in one request of the walk.
    """

    max_depth: int = 64
    max_path_depth: int = 128
    max_path_bytes: int = 4096
    max_nodes: int = 500_000
    max_links_per_node: int = MAX_LINKS_PER_NODE
    max_entries: int = 250_000
    max_leaves: int = 1 << 22
    max_file_bytes: int = 1 << 44
    max_held_bytes: int = 512 * MIB
    max_batch: int = 256


DEFAULT_LIMITS = WalkLimits()


class Ledger:
    """What one walk has used of its limits; shared by the walks it is made of."""

    def __init__(self, limits: WalkLimits) -> None:
        self.limits = limits
        self._nodes = 0
        self._entries = 0
        self._leaves = 0
        self._held_bytes = 0

    def count_nodes(self, number: int) -> None:
        """Account for nodes about to be visited."""
        self._nodes += number
        if self._nodes > self.limits.max_nodes:
            raise LimitExceeded(f"a DAG of more than {self.limits.max_nodes} nodes")

    def count_entries(self, number: int) -> None:
        """Account for directory entries about to be listed."""
        self._entries += number
        if self._entries > self.limits.max_entries:
            raise LimitExceeded(f"more than {self.limits.max_entries} directory entries")

    def count_leaves(self, number: int) -> None:
        """Account for leaves about to be listed."""
        self._leaves += number
        if self._leaves > self.limits.max_leaves:
            raise LimitExceeded(f"more than {self.limits.max_leaves} leaves")

    def hold(self, size_bytes: int) -> None:
        """Account for bytes that stay in memory with the result."""
        self._held_bytes += size_bytes
        if self._held_bytes > self.limits.max_held_bytes:
            raise LimitExceeded(f"a DAG that needs more than {self.limits.max_held_bytes} bytes")

    def has_room_for(self, size_bytes: int) -> bool:
        """Tell whether optional bytes may be held: they take at most a quarter of the limit."""
        return self._held_bytes + size_bytes <= self.limits.max_held_bytes // 4


def load(cids: Sequence[Cid], limits: WalkLimits) -> Walk[list[Block]]:
    """Ask for blocks and return them in the order of `cids`, at most `max_batch` in one request.

    Each block is asked for once however often it occurs; identity CIDs are never asked for.

    Raises:
        HashNotAllowed: A block that could not be verified, or is neither raw nor dag-pb.
    """
    wanted: dict[bytes, Cid] = {}
    found: dict[bytes, bytes] = {}
    for cid in cids:
        if cid.codec not in (RAW, DAG_PB):
            raise HashNotAllowed(f"{cid}: codec 0x{cid.codec:x} is neither raw nor dag-pb")
        check_verifiable(cid)
        if cid.is_identity:
            found[cid.multihash] = cid.digest
        else:
            wanted.setdefault(cid.multihash, cid)
    requests = list(wanted.values())
    for start in range(0, len(requests), limits.max_batch):
        batch = requests[start : start + limits.max_batch]
        blocks = yield batch
        assert len(blocks) == len(batch), "a driver answers every CID of a batch"
        for cid, block in zip(batch, blocks, strict=True):
            assert block.cid.multihash == cid.multihash, "a driver answers in order"
            found[cid.multihash] = block.data
    return [Block(cid, found[cid.multihash]) for cid in cids]


def read_node(block: Block, limits: WalkLimits) -> tuple[Node, UnixFs]:
    """Decode a dag-pb block and its UnixFS message; errors name the block.

    Raises:
        ContentError: As `decode_node` and `decode_unixfs`.
    """
    try:
        node = decode_node(block.data, max_links=limits.max_links_per_node)
        if node.data is None:
            raise MalformedNode("no UnixFS message inside")
        return node, decode_unixfs(node.data)
    except ContentError as error:
        raise type(error)(f"{block.cid}: {error}") from error


def together(walks: Iterable[Walk[T]], width: int) -> Walk[list[T]]:
    """Run walks side by side, merging what they ask for into requests of about `width` CIDs.

    Walks are started only when there is room for their first request, in order.

    Returns:
        Their results in the order of `walks`.
    """
    results: dict[int, T] = {}
    waiting: dict[int, tuple[Walk[T], list[Cid]]] = {}
    source = enumerate(walks)
    exhausted = False
    while True:
        asked = sum(len(cids) for _, cids in waiting.values())
        while asked < width and not exhausted:
            index, walk = next(source, (-1, None))
            if walk is None:
                exhausted = True
                break
            try:
                cids = next(walk)
            except StopIteration as stop:
                results[index] = stop.value
            else:
                waiting[index] = (walk, cids)
                asked += len(cids)
        if not waiting:
            return [results[index] for index in range(len(results))]
        turn: dict[int, tuple[Walk[T], list[Cid]]] = {}
        batch: dict[Cid, None] = {}
        for index, (walk, cids) in waiting.items():
            if batch and len(batch) + len(cids) > width:
                break
            turn[index] = (walk, cids)
            batch.update(dict.fromkeys(cids))
        requests = list(batch)
        blocks = dict(zip(requests, (yield requests), strict=True))
        for index, (walk, cids) in turn.items():
            try:
                waiting[index] = (walk, walk.send([blocks[cid] for cid in cids]))
            except StopIteration as stop:
                results[index] = stop.value
                del waiting[index]


def run_walk(walk: Walk[T], load_blocks: Callable[[Sequence[Cid]], list[Block]]) -> T:
    """Drive a walk with a function that returns the verified blocks of some CIDs, in order."""
    try:
        cids = next(walk)
        while True:
            cids = walk.send(load_blocks(cids))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        walk.close()


async def run_walk_async(
    walk: Walk[T], load_blocks: Callable[[Sequence[Cid]], Awaitable[list[Block]]]
) -> T:
    """Drive a walk with an async function; cancelling between requests leaves nothing behind."""
    try:
        cids = next(walk)
        while True:
            cids = walk.send(await load_blocks(cids))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        walk.close()

"""The CAR of a path: its parameters, and its blocks in depth-first order, one at a time.

Held in memory are the links of the nodes between the root and the block that is sent, the seen-set
of `ipfs_seen` when duplicates are left out, and one block. What is missing ends the walk with an
error; whoever sends cuts the answer then.
Spec: trustless gateway, "CAR"; IPIP-0402, IPIP-0412.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mirrornode.content.car import encode_header, section_head
from mirrornode.content.cid import DAG_PB, Cid
from mirrornode.content.dagcbor import Value, decode_dagcbor
from mirrornode.content.hamt import read_shard
from mirrornode.content.unixfs import Kind
from mirrornode.errors import LimitExceeded, MalformedNode
from mirrornode.gateway.ipfs_blocks import Entity, LocalBlocks, entity_of
from mirrornode.gateway.ipfs_request import Refused
from mirrornode.gateway.ipfs_seen import SeenBlocks

if TYPE_CHECKING:
    from mirrornode.content.block import Block
    from mirrornode.gateway.ipfs_path import Place

DAG_CBOR_CODEC = 0x71
MAX_DEPTH = 256  # 128 folders, and files below them
MAX_VISITS = 1 << 22  # of blocks, repeated ones too; as many as `ipfs_seen` takes
MAX_HELD_LINKS = 1 << 18  # of all nodes on the way together

_SCOPES = ("block", "entity", "all")
_ENTITY_BYTES = re.compile(r"(-?\d{1,18}):(\*|-?\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`entity-bytes`: both ends inclusive, negative ones count from the end, None is the end."""

    first: int
    last: int | None

    def within(self, size_bytes: int) -> tuple[int, int]:
        """Return the range as `[start, stop)` of a file of this size; empty when outside."""
        start = self.first if self.first >= 0 else max(0, size_bytes + self.first)
        last = size_bytes - 1 if self.last is None else self.last
        stop = last + 1 if last >= 0 or self.last is None else size_bytes + last + 1
        stop = min(stop, size_bytes)
        return (start, stop) if start < stop else (0, 0)


@dataclass(frozen=True, slots=True)
class CarWanted:
    """What a CAR is to hold: `scope` is "block", "entity" or "all"."""

    scope: str = "all"
    byte_range: ByteRange | None = None
    duplicates: bool = False

    @property
    def media_type(self) -> str:
        return (
            "application/vnd.ipld.car; version=1; order=dfs; "
            f"dups={'y' if self.duplicates else 'n'}"
        )


def car_wanted(query: Mapping[str, str], type_params: Mapping[str, str]) -> CarWanted:
    """Return what the query asks for, and where it is silent the parameters of `Accept`.

    Raises:
        Refused: 400 for a value that does not exist.
    """
    version = query.get("car-version") or type_params.get("version", "1")
    order = query.get("car-order") or type_params.get("order", "dfs")
    duplicates = query.get("car-dups") or type_params.get("dups", "n")
    scope = query.get("dag-scope", "")
    asked_bytes = query.get("entity-bytes", "")
    if version != "1":
        raise Refused(400, "only version 1 of CAR is made here")
    if order not in ("dfs", "unk"):
        raise Refused(400, "car-order is dfs or unk")
    if duplicates not in ("y", "n"):
        raise Refused(400, "car-dups is y or n")
    if scope not in ("", *_SCOPES):
        raise Refused(400, "dag-scope is block, entity or all")
    byte_range = _byte_range(asked_bytes) if asked_bytes else None
    if byte_range is not None and scope != "block":
        scope = "entity"
    return CarWanted(scope or "all", byte_range, duplicates == "y")


def _byte_range(text: str) -> ByteRange:
    match = _ENTITY_BYTES.fullmatch(text)
    if match is None:
        raise Refused(400, "entity-bytes is FROM:TO, such as 0:1023 or -1024:*")
    first = int(match[1])
    last = None if match[2] == "*" else int(match[2])
    if last is not None and (first < 0) == (last < 0) and last < first:
        raise Refused(400, "entity-bytes ends before it begins")
    return ByteRange(first, last)


def car_pieces(place: Place, wanted: CarWanted, blocks: LocalBlocks) -> Iterator[bytes]:
    """Yield the bytes of the CAR of a path: header, the way there, and what lies there.

    Raises:
        BlockNotFound: A block is not here.
        ContentError: A node is malformed, or a limit is reached.
    """
    walk = _CarWalk(wanted, blocks)
    yield encode_header([place.cid])
    for cid in place.way:
        yield from walk.section(cid)
    yield from walk.below(place.cid)


_Children: TypeAlias = Callable[["Block", int], Iterable[tuple[Cid, int]]]
"""Gives the children of a block and a number for each: what of it is wanted."""


class _CarWalk:
    def __init__(self, wanted: CarWanted, blocks: LocalBlocks) -> None:
        self._wanted = wanted
        self._blocks = blocks
        self._seen = None if wanted.duplicates else SeenBlocks()
        self._visits = 0

    def section(self, cid: Cid) -> Iterator[bytes]:
        """Yield one block of the way, unless it was sent before."""
        if self._is_new(cid):
            yield from _section(self._blocks.read(cid))

    def below(self, cid: Cid) -> Iterator[bytes]:
        """Yield what the scope holds from `cid` on."""
        wanted = self._wanted
        if wanted.scope == "all":
            return self._walk(cid, 0, _all_links, prune=True)
        if wanted.scope == "block":
            return self._walk(cid, 0, _no_links, prune=True)
        entity = self._blocks.entity(cid)
        if entity.is_file:
            if wanted.byte_range is None:
                return self._walk(cid, 0, _all_links, prune=True)
            start, stop = wanted.byte_range.within(entity.size_bytes)
            return self._walk(cid, 0, _links_between(start, stop), prune=False)
        if entity.message is not None and entity.message.kind is Kind.HAMT_SHARD:
            return self._walk(cid, 0, _shard_links(entity.message.fanout), prune=True)
        return self._walk(cid, 0, _no_links, prune=True)

    def _walk(self, root: Cid, state: int, children: _Children, *, prune: bool) -> Iterator[bytes]:
        """Walk depth first.

        Args:
            prune: What is below a block that was sent has been sent, too.
        """
        stack = [iter([(root, state)])]
        held = [1]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                held.pop()
                continue
            cid, state = step
            is_new = self._is_new(cid)
            if not is_new and prune and not cid.is_identity:
                continue
            block = self._blocks.read(cid)
            if is_new:
                yield from _section(block)
            below = list(children(block, state))
            if below:
                stack.append(iter(below))
                held.append(len(below))
                if len(stack) > MAX_DEPTH or sum(held) > MAX_HELD_LINKS:
                    raise LimitExceeded(f"{root}: a DAG too deep or too wide for a CAR")

    def _is_new(self, cid: Cid) -> bool:
        """Tell whether a block is to be written now; identity CIDs carry theirs."""
        self._visits += 1
        if self._visits > MAX_VISITS:
            raise LimitExceeded(f"a CAR of more than {MAX_VISITS} blocks")
        if cid.is_identity:
            return False
        return self._seen is None or self._seen.add(cid.multihash)


def _section(block: Block) -> Iterator[bytes]:
    yield section_head(block.cid, len(block.data))
    yield block.data


def _no_links(block: Block, state: int) -> Iterable[tuple[Cid, int]]:
    return ()


def _all_links(block: Block, state: int) -> Iterable[tuple[Cid, int]]:
    if block.cid.codec == DAG_PB:
        entity = entity_of(block)
        return [(link.cid, 0) for link in entity.node.links] if entity.node else ()
    if block.cid.codec == DAG_CBOR_CODEC:
        return [(cid, 0) for cid in _links_of(decode_dagcbor(block.data))]
    return ()


def _links_of(value: Value) -> Iterator[Cid]:
    """Yield the links of a document, whose depth its decoder has bounded."""
    if isinstance(value, Cid):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _links_of(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _links_of(inner)


def _links_between(start: int, stop: int) -> _Children:
    """Follow a file to what overlaps `[start, stop)`; a block's number is its offset."""

    def children(block: Block, offset: int) -> Iterator[tuple[Cid, int]]:
        entity = entity_of(block)
        for cid, at, size in file_children(entity, offset):
            if size and at < stop and start < at + size:
                yield cid, at

    return children


def file_children(entity: Entity, offset: int) -> Iterator[tuple[Cid, int, int]]:
    """Yield (CID, offset, size) of the parts below a node of a file.

    Raises:
        MalformedNode: The node is no part of a file, or contradicts itself.
    """
    if not entity.is_file:
        raise MalformedNode(f"{entity.block.cid}: not a part of a file")
    if entity.node is None or entity.message is None:
        return
    entity.size_bytes  # noqa: B018 - raises when the sizes do not agree
    at = offset + len(entity.message.data or b"")
    for link, size in zip(entity.node.links, entity.message.blocksizes, strict=True):
        yield link.cid, at, size
        at += size


def _shard_links(fanout: int | None) -> _Children:
    """Follow a sharded directory to its shards; a block's number is its level."""

    def children(block: Block, level: int) -> Iterator[tuple[Cid, int]]:
        entity = entity_of(block)
        if entity.node is None or entity.message is None:
            raise MalformedNode(f"{block.cid}: not a shard of its directory")
        shard = read_shard(entity.node, entity.message, level=level, fanout=fanout)
        return ((found.link.cid, level + 1) for found in shard.links if not found.name)

    return children

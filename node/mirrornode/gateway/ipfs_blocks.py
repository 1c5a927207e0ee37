"""Blocks of this node's shelf for the gateway's walks. Nothing is ever fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from mirrornode.content.block import Block
from mirrornode.content.cid import DAG_PB, RAW, Cid
from mirrornode.content.dagpb import Node, decode_node
from mirrornode.content.unixfs import Kind, UnixFs, decode_unixfs
from mirrornode.errors import BlockNotFound, ContentError, MalformedNode

if TYPE_CHECKING:
    from mirrornode.mirror.shelf import Shelf

_FILE_KINDS = (Kind.FILE, Kind.RAW)
_FOLDER_KINDS = (Kind.DIRECTORY, Kind.HAMT_SHARD)


class Entity(NamedTuple):
    """A block and what it is the root of; `node` and `message` are None where it is not that."""

    block: Block
    node: Node | None
    message: UnixFs | None

    @property
    def is_file(self) -> bool:
        if self.block.cid.codec == RAW:
            return True
        return self.message is not None and self.message.kind in _FILE_KINDS

    @property
    def is_folder(self) -> bool:
        return self.message is not None and self.message.kind in _FOLDER_KINDS

    @property
    def is_symlink(self) -> bool:
        return self.message is not None and self.message.kind is Kind.SYMLINK

    @property
    def size_bytes(self) -> int:
        """Bytes of the file, by the word of its root block.

        Raises:
            MalformedNode: The block contradicts itself.
        """
        if self.node is None or self.message is None:
            return len(self.block.data)
        total = len(self.message.data or b"") + sum(self.message.blocksizes)
        links = len(self.node.links)
        if len(self.message.blocksizes) != links or self.message.filesize not in (None, total):
            raise MalformedNode(f"{self.block.cid}: the sizes in it do not agree")
        return total


class LocalBlocks:
    """Reads blocks of one shelf. Blocking; a block that is not here is an error."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def read(self, cid: Cid) -> Block:
        """Return one block; that of an identity CID without a look-up.

        Raises:
            BlockNotFound: It is not here.
        """
        if cid.is_identity:
            return Block.of_identity(cid)
        found = self._shelf.read_block(cid)
        if found is None:
            raise BlockNotFound(cid)
        return Block(cid, found)

    def load(self, cids: Sequence[Cid]) -> list[Block]:
        """Return blocks in the order asked, for `run_walk`; raises as `read`."""
        return [self.read(cid) for cid in cids]

    def entity(self, cid: Cid) -> Entity:
        """Return a block and what it means.

        A dag-pb block that holds no UnixFS is one without a `message`.

        Raises:
            BlockNotFound: It is not here.
            ContentError: It is not dag-pb although its CID says so.
        """
        return entity_of(self.read(cid))

    def is_folder(self, cid: Cid) -> bool:
        """Tell whether a CID is that of a folder; one that is not here is taken for a file."""
        try:
            return cid.codec == DAG_PB and self.entity(cid).is_folder
        except (BlockNotFound, ContentError):
            return False


def entity_of(block: Block) -> Entity:
    """Return what a block means; see `LocalBlocks.entity`."""
    if block.cid.codec != DAG_PB:
        return Entity(block, None, None)
    node = decode_node(block.data)
    try:
        message = None if node.data is None else decode_unixfs(node.data)
    except ContentError:
        message = None
    return Entity(block, node, message)

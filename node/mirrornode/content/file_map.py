"""A file map: where in a file each leaf lies and which multihash it has. The plan for a transfer.

Made by `file_walk`. Compact: a terabyte of 1 MiB leaves is a million entries of about 100 bytes.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirrornode.content.cid import Cid

if TYPE_CHECKING:
    from mirrornode.content.block import Block
    from mirrornode.content.leaf_form import LeafForm


@dataclass(slots=True)
class FileMap:
    """The leaves of one file, all of one form and hash function, and whatever does not fit that.

    Leaves and `inline` together cover [0, size_bytes) without gap or overlap. Lengths are the word
    of the verified parent node (in a tree also of the verified directory); that a leaf has this
    length is proven when its bytes hash to its multihash.

    Attributes:
        root: CID of the file.
        size_bytes: File bytes.
        leaf_form: How leaf blocks are wrapped.
        hash_code: Hash function of the leaves.
        starts: File offset of each leaf.
        lengths: File bytes of each leaf.
        multihashes: Multihash of each leaf's block.
        inline: (offset, bytes) of what is in the DAG but is not a uniform leaf: identity CIDs,
            bytes inside inner nodes, leaves of another form. In file order.
        inner: Every non-leaf block, each once, root first; with inline leaves that have a CID.
        inner_root_bytes: The file's bytes when its root block is the whole file and was loaded.
        leaf_cid_version: CID version by which the file's nodes link to the leaves.
    """

    root: Cid
    size_bytes: int
    leaf_form: LeafForm
    hash_code: int
    starts: array[int] = field(default_factory=lambda: array("Q"))
    lengths: array[int] = field(default_factory=lambda: array("L"))
    multihashes: list[bytes] = field(default_factory=list)
    inline: list[tuple[int, bytes]] = field(default_factory=list)
    inner: list[Block] = field(default_factory=list)
    inner_root_bytes: bytes | None = None
    leaf_cid_version: int = 1

    @property
    def leaves(self) -> int:
        """Number of leaves."""
        return len(self.multihashes)

    def leaf_cid(self, index: int) -> Cid:
        """Return the CID of leaf `index`, as the file's nodes write it."""
        return Cid(self.leaf_cid_version, self.leaf_form.codec, self.multihashes[index])

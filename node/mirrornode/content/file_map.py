"""A file map: where in a file each leaf lies and which multihash it has. The plan for a transfer.

Made by `file_walk`. Compact: a terabyte of 1 MiB leaves is a million entries of about 100 bytes.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirrornode.content.cid import Cid
from mirrornode.content.leaf_form import LeafForm

if TYPE_CHECKING:
    from mirrornode.content.block import Block

PORTION_BYTES = 256 * 1024  # on a slow line a reader must not wait long for the next one
MAX_PORTIONS = 800_000  # of files above 200 GB the portions are larger


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

    @property
    def has_hashes(self) -> bool:
        """Whether each leaf can be checked by itself; see `unhashed_map`."""
        return not self.multihashes or bool(self.multihashes[0])

    def leaf_cid(self, index: int) -> Cid:
        """Return the CID of leaf `index`, as the file's nodes write it."""
        return Cid(self.leaf_cid_version, self.leaf_form.codec, self.multihashes[index])


def unhashed_map(root: Cid, size_bytes: int) -> FileMap:
    """Return the map of a file of which only the hash of the whole is known.

    Its leaves are mere portions of the file: their multihashes are empty, none can be checked by
    itself, and nothing of the file may be called verified before all of it is.

    Args:
        root: Names the file in claims and messages, for example the raw CID of its SHA-256.
    """
    portion = PORTION_BYTES * -(-size_bytes // (PORTION_BYTES * MAX_PORTIONS) or 1)
    file_map = FileMap(root, size_bytes, LeafForm.RAW, root.hash_code)
    file_map.starts.extend(range(0, size_bytes, portion))
    file_map.lengths.extend(
        min(portion, size_bytes - start) for start in range(0, size_bytes, portion)
    )
    file_map.multihashes.extend([b""] * len(file_map.starts))
    return file_map

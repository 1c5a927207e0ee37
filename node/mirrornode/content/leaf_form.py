"""How a run of file bytes becomes a leaf block, so that leaves are hashed without being built.

A leaf is its chunk with a few constant bytes around it: none for a raw leaf, the canonical dag-pb
and UnixFS wrapping otherwise. Knowing the form and the length is enough to turn file bytes into the
block and back. Leaves that were written in any other way are not described here; `walk` loads them.
Spec: UnixFS, "dag-pb leaf"; see `dagpb` and `unixfs` for the fields.
"""

from __future__ import annotations

from enum import IntEnum

from mirrornode.content.block import Buffer, multihash_of, multihash_prefix, new_hash
from mirrornode.content.cid import DAG_PB as DAG_PB_CODEC
from mirrornode.content.cid import IDENTITY, RAW
from mirrornode.content.varint import encode_uvarint, uvarint_size


class LeafForm(IntEnum):
    """The forms a leaf has in the wild; the numbers are stored in catalogs and never change."""

    RAW = 0
    """The bytes themselves, codec raw."""
    DAG_PB = 1
    """dag-pb with UnixFS type File: what balanced layouts without raw leaves have."""
    DAG_PB_OLD = 2
    """dag-pb with UnixFS type Raw: what trickle layouts without raw leaves have."""

    @property
    def codec(self) -> int:
        """The multicodec of such a leaf's CID."""
        return RAW if self is LeafForm.RAW else DAG_PB_CODEC


def leaf_prefix(form: LeafForm, length: int) -> bytes:
    """Return the block bytes before a chunk of `length` bytes."""
    if form == LeafForm.RAW:
        return b""
    kind = b"\x08\x02" if form == LeafForm.DAG_PB else b"\x08\x00"
    # An empty file has no Data field at all: known answer 0a0408021800.
    unixfs = kind + b"\x12" + encode_uvarint(length) if length else kind
    unixfs_size = len(unixfs) + length + 1 + uvarint_size(length)
    return b"\x0a" + encode_uvarint(unixfs_size) + unixfs


def leaf_suffix(form: LeafForm, length: int) -> bytes:
    """Return the block bytes after a chunk of `length` bytes."""
    return b"" if form == LeafForm.RAW else b"\x18" + encode_uvarint(length)


def leaf_block_size(form: LeafForm, length: int) -> int:
    """Return the size in bytes of the block of a chunk of `length` bytes."""
    if form == LeafForm.RAW:
        return length
    size = uvarint_size(length)
    unixfs_size = 2 + (1 + size + length if length else 0) + 1 + size
    return 1 + uvarint_size(unixfs_size) + unixfs_size


def leaf_multihash(form: LeafForm, hash_code: int, chunk: Buffer) -> bytes:
    """Return the multihash of the leaf block of `chunk`; does not copy the chunk.

    Raises:
        HashNotAllowed: As `block.new_hash`, or an identity leaf of more than 128 bytes.
    """
    length = len(chunk)
    if hash_code == IDENTITY:
        block = leaf_prefix(form, length) + bytes(chunk) + leaf_suffix(form, length)
        return multihash_of(IDENTITY, block)
    running = new_hash(hash_code)
    if form != LeafForm.RAW:
        running.update(leaf_prefix(form, length))
    running.update(chunk)
    if form != LeafForm.RAW:
        running.update(leaf_suffix(form, length))
    return multihash_prefix(hash_code) + running.digest()

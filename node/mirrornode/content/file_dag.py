"""Building the tree of a file from the multihashes and lengths of its leaves.

Leaves are hashed elsewhere (see `leaf_form`), so a terabyte needs only its million multihashes.
Both layouts of `ipfs add` are built byte for byte: balanced, and trickle (where early bytes lie
near the root). Reading a tree back is `walk`.
Spec: ipfs/specs unixfs.md, "File"; boxo importer/balanced and importer/trickle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from mirrornode.content.block import Block
from mirrornode.content.chunker import cut
from mirrornode.content.cid import DAG_PB, Cid
from mirrornode.content.dagpb import encode_data
from mirrornode.content.leaf_form import (
    LeafForm,
    leaf_block_size,
    leaf_multihash,
    leaf_prefix,
    leaf_suffix,
)
from mirrornode.content.varint import encode_uvarint

if TYPE_CHECKING:
    from mirrornode.content.recipe import Recipe

_TRICKLE_REPEAT = 4  # boxo trickle: subtrees of each depth below one node


@dataclass(frozen=True, slots=True)
class FileDag:
    """The tree of one file.

    Attributes:
        root: CID of the file; of its single leaf when there is only one.
        size_bytes: File bytes.
        tsize_bytes: All blocks together, what a directory entry's Tsize says.
        leaf_form: How leaves are wrapped.
        inner: Every block that is neither a leaf nor carried inside its CID, root included.
        leaves: Number of leaves.
    """

    root: Cid
    size_bytes: int
    tsize_bytes: int
    leaf_form: LeafForm
    inner: list[Block]
    leaves: int


def build_file_dag(multihashes: Sequence[bytes], lengths: Sequence[int], recipe: Recipe) -> FileDag:
    """Return the tree over leaves given by multihash and length in bytes, in file order.

    An empty file is one leaf of length 0. Leaves no longer than the recipe's inline limit must
    come with identity multihashes, which is what `Recipe.leaf_hash_code` says.
    """
    assert multihashes, "an empty file has one empty leaf"
    assert len(multihashes) == len(lengths), "one length for every leaf"
    builder = _Builder(multihashes, lengths, recipe)
    if recipe.layout == "trickle":
        # Without any bytes the trickle layout of boxo has a root and no leaf.
        leaves = len(multihashes) if any(lengths) else 0
        return builder.finish(builder.trickle(leaves), leaves)
    if len(multihashes) == 1:
        only = builder.leaves(0, 1)
        root = Cid.from_bytes(builder.leaf_cid_prefix(multihashes[0]) + multihashes[0])
        return FileDag(root, only.size_bytes, only.tsize_bytes, recipe.leaf_form, [], 1)
    return builder.finish(builder.balanced(), len(multihashes))


def import_bytes(pieces: Iterable[bytes], recipe: Recipe) -> tuple[FileDag, list[Block]]:
    """Cut, hash and build a file that is at hand as bytes; for small files and tests.

    Returns:
        The tree and its leaf blocks in file order. Leaves carried inside their CID are left out.
    """
    form = recipe.leaf_form
    multihashes: list[bytes] = []
    lengths: list[int] = []
    leaves: list[Block] = []
    for chunk in _at_least_one(cut(pieces, recipe.chunker)):
        length = len(chunk)
        hash_code = recipe.leaf_hash_code(length)
        multihash = leaf_multihash(form, hash_code, chunk)
        cid = Cid.from_bytes(recipe.cid_prefix(hash_code, form.codec) + multihash)
        if not cid.is_identity:
            block = leaf_prefix(form, length) + chunk + leaf_suffix(form, length)
            leaves.append(Block(cid, block))
        multihashes.append(multihash)
        lengths.append(length)
    return build_file_dag(multihashes, lengths, recipe), leaves


def _at_least_one(chunks: Iterable[bytes]) -> Iterable[bytes]:
    empty = True
    for chunk in chunks:
        empty = False
        yield chunk
    if empty:
        yield b""


class _Run(NamedTuple):
    """Neighbouring children as their parent writes them: Links, blocksizes, and their sums."""

    links: bytes
    blocksizes: bytes
    size_bytes: int
    tsize_bytes: int


class _Builder:
    """Builds the nodes over some leaves by one recipe and collects their blocks.

    A million leaves pass through here, so equal ones in a row are joined at once: their Links
    differ in the multihash only.
    """

    def __init__(
        self, multihashes: Sequence[bytes], lengths: Sequence[int], recipe: Recipe
    ) -> None:
        self._multihashes = multihashes
        self._lengths = lengths
        self._recipe = recipe
        self._blocks: list[Block] = []
        self._root: Cid | None = None

    def leaf_cid_prefix(self, multihash: bytes) -> bytes:
        """Return what stands before a leaf's multihash in its binary CID."""
        return self._recipe.cid_prefix(multihash[0], self._recipe.leaf_form.codec)

    def leaves(self, start: int, stop: int) -> _Run:
        """Return the leaves [start, stop) as children."""
        runs = []
        pairs = zip(self._lengths[start:stop], self._multihashes[start:stop], strict=True)
        for (length, head), group in groupby(pairs, key=lambda pair: (pair[0], pair[1][:2])):
            multihashes = [multihash for _, multihash in group]
            tsize = leaf_block_size(self._recipe.leaf_form, length)
            cid_prefix = self.leaf_cid_prefix(head)
            before, after = _link_around(cid_prefix, len(multihashes[0]), tsize)
            count = len(multihashes)
            runs.append(
                _Run(
                    before + (after + before).join(multihashes) + after,
                    _blocksize(length) * count,
                    length * count,
                    tsize * count,
                )
            )
        return runs[0] if len(runs) == 1 else _joined(runs)

    def node(self, children: Sequence[_Run]) -> _Run:
        """Build one inner node over children and return it as a child."""
        below = _joined(children)
        size = encode_uvarint(below.size_bytes)
        node = below.links + encode_data(b"\x08\x02\x18" + size + below.blocksizes)
        block = self._recipe.node_block(node)
        if not block.cid.is_identity:
            self._blocks.append(block)
        self._root = block.cid
        multihash = block.cid.multihash
        tsize = len(node) + below.tsize_bytes
        cid_prefix = self._recipe.cid_prefix(multihash[0], DAG_PB)
        before, after = _link_around(cid_prefix, len(multihash), tsize)
        blocksize = _blocksize(below.size_bytes)
        return _Run(before + multihash + after, blocksize, below.size_bytes, tsize)

    def balanced(self) -> _Run:
        """Build the balanced tree over two leaves or more and return its root."""
        width = self._recipe.max_links
        total = len(self._multihashes)
        level = [
            self.node([self.leaves(start, min(start + width, total))])
            for start in range(0, total, width)
        ]
        while len(level) > 1:
            level = [
                self.node(level[start : start + width]) for start in range(0, len(level), width)
            ]
        return level[0]

    def trickle(self, total: int) -> _Run:
        """Build the trickle tree over the first `total` leaves and return its root."""
        position = 0

        def fill(max_depth: int | None) -> _Run:
            nonlocal position
            start, position = position, min(position + self._recipe.max_links, total)
            children = [self.leaves(start, position)] if position > start else []
            depth = 1
            while position < total and (max_depth is None or depth < max_depth):
                repeats = 0
                while repeats < _TRICKLE_REPEAT and position < total:
                    children.append(fill(depth))
                    repeats += 1
                depth += 1
            return self.node(children)

        return fill(None)

    def finish(self, root: _Run, leaves: int) -> FileDag:
        """Return the tree under the node that was built last."""
        assert self._root is not None, "a node was built"
        return FileDag(
            self._root,
            root.size_bytes,
            root.tsize_bytes,
            self._recipe.leaf_form,
            self._blocks,
            leaves,
        )


def _joined(runs: Sequence[_Run]) -> _Run:
    return _Run(
        b"".join([run.links for run in runs]),
        b"".join([run.blocksizes for run in runs]),
        sum(run.size_bytes for run in runs),
        sum(run.tsize_bytes for run in runs),
    )


def _link_around(cid_prefix: bytes, multihash_size: int, tsize: int) -> tuple[bytes, bytes]:
    """Return a Links field without the multihash in its middle; the name is present and empty."""
    cid_size = len(cid_prefix) + multihash_size
    hash_tag = b"\x0a" + encode_uvarint(cid_size) + cid_prefix
    rest = b"\x12\x00\x18" + encode_uvarint(tsize)
    return b"\x12" + encode_uvarint(len(hash_tag) + multihash_size + len(rest)) + hash_tag, rest


def _blocksize(size: int) -> bytes:
    return b"\x20" + encode_uvarint(size)

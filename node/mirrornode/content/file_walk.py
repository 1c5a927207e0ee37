"""Reading the tree of a file into a `FileMap`, without loading its leaves.

A raw link is a leaf. A dag-pb link is taken for a canonical leaf when its Tsize is exactly that of
one; the first and last of these are loaded to learn which of the two canonical forms they have. All
else is loaded and looked at. Sizes must agree on every level, and everything is bounded.
Spec: ipfs/specs unixfs.md, "File", with its list of what to reject.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from mirrornode.content.block import MAX_BLOCK_BYTES, Block, check_verifiable
from mirrornode.content.cid import DAG_PB, IDENTITY, RAW, Cid, split_cid
from mirrornode.content.file_map import FileMap
from mirrornode.content.leaf_form import LeafForm, leaf_block_size, leaf_prefix, leaf_suffix
from mirrornode.content.unixfs import Kind, UnixFs
from mirrornode.content.walking import (
    DEFAULT_LIMITS,
    Ledger,
    Walk,
    WalkLimits,
    load,
    read_node,
)
from mirrornode.errors import LimitExceeded, MalformedNode, TargetError

if TYPE_CHECKING:
    from mirrornode.content.dagpb import Link, Node

_ODD_LEAF_BATCH = 16  # whole leaves, up to 2 MiB each, so few at a time


class _Shape(NamedTuple):
    """What neighbouring leaves have in common.

    Attributes:
        form: None while it is only known to be dag-pb.
        version: CID version of the links.
        hash_head: First two bytes of the multihashes: hash code and digest length.
    """

    form: LeafForm | None
    version: int
    hash_head: bytes


class _Pending(NamedTuple):
    """A node to load; `size` is what its parent says of the file bytes below, None at the root."""

    cid: Cid
    offset: int
    size: int | None


class _Leaves(NamedTuple):
    """Neighbouring leaves of one shape."""

    shape: _Shape
    starts: list[int]
    lengths: list[int]
    multihashes: list[bytes]


class _Inline(NamedTuple):
    """File bytes that were met on the way."""

    offset: int
    data: bytes


_Part: TypeAlias = _Pending | _Leaves | _Inline


def walk_file(root: Cid, limits: WalkLimits = DEFAULT_LIMITS) -> Walk[FileMap]:
    """Return the map of the file under `root`.

    The root block is always loaded; when it is the whole file its bytes are in the map as well.

    Raises:
        TargetError: `root` is a directory or a symlink.
        ContentError: The DAG is malformed, cannot be verified, or exceeds a limit.
    """
    (block,) = yield from load([root], limits)
    return (yield from map_file(block, Ledger(limits)))


def map_file(block: Block, ledger: Ledger) -> Walk[FileMap]:
    """Return the map of the file whose root block is at hand; errors as `walk_file`."""
    return (yield from _FileWalk(block.cid, ledger).run(block))


def map_raw_file(cid: Cid, size_bytes: int, data: bytes | None) -> FileMap:
    """Return the map of a file that is one raw block of this size."""
    file = FileMap(cid, size_bytes, LeafForm.RAW, cid.hash_code, inner_root_bytes=data)
    file.starts.append(0)
    file.lengths.append(size_bytes)
    file.multihashes.append(cid.multihash)
    return file


class _FileWalk:
    """One file: the parts known so far, in file order, each level refined from the one above."""

    def __init__(self, root: Cid, ledger: Ledger) -> None:
        self._root = root
        self._ledger = ledger
        self._limits = ledger.limits
        self._inner: dict[bytes, Block] = {}
        # A file of zeros, or one made to explode, repeats one node many times in a row.
        self._last: tuple[bytes, Node, UnixFs] | None = None

    def run(self, block: Block) -> Walk[FileMap]:
        """Return the map of the file whose root block is `block`."""
        self._ledger.count_nodes(1)
        if self._root.codec == RAW:
            if self._root.is_identity:
                return self._map_inline(block, block.data)
            return map_raw_file(self._root, len(block.data), self._spare(block.data))
        at = _Pending(self._root, 0, None)
        node, message = self._read(at, block)
        data = message.data or b""
        if node.links:
            return (yield from self._map_tree(at, block, len(data) + sum(message.blocksizes)))
        form = None if self._root.is_identity else _canonical_form(block.data, data)
        if form is None:
            return self._map_inline(block, data)
        file = map_raw_file(self._root, len(data), self._spare(data))
        file.leaf_form = form
        file.leaf_cid_version = self._root.version
        return file

    def _map_inline(self, block: Block, data: bytes) -> FileMap:
        """Map a file of one block that is no canonical leaf: all its bytes are inline."""
        file = FileMap(self._root, len(data), LeafForm.RAW, self._root.hash_code)
        self._ledger.hold(len(block.data))
        file.inline = [(0, data)] if data else []
        file.inner = [] if self._root.is_identity else [block]
        file.inner_root_bytes = data
        return file

    def _map_tree(self, root: _Pending, block: Block, size: int) -> Walk[FileMap]:
        parts = self._expand(root, block)
        for _ in range(self._limits.max_depth):
            pending = [part for part in parts if isinstance(part, _Pending)]
            if not pending:
                break
            parts = yield from self._refine(parts, pending)
        else:
            raise LimitExceeded(f"{self._root}: more than {self._limits.max_depth} levels deep")
        parts = yield from self._learn_form(parts)
        shape = _commonest_shape(parts)
        parts = yield from self._load_leaves(parts, lambda other: other != shape)
        return self._assemble(parts, shape, size)

    def _refine(self, parts: Sequence[_Part], pending: Sequence[_Pending]) -> Walk[list[_Part]]:
        """Replace every pending node by what it consists of."""
        expanded: list[list[_Part]] = []
        width = self._limits.max_batch
        for start in range(0, len(pending), width):
            batch = pending[start : start + width]
            unknown = [part.cid for part in batch if part.cid.multihash not in self._inner]
            fetched = yield from load(unknown, self._limits)
            blocks = {block.cid.multihash: block for block in fetched}
            for at in batch:
                block = self._inner.get(at.cid.multihash) or blocks[at.cid.multihash]
                expanded.append(self._expand(at, block))
        replacements = iter(expanded)
        refined: list[_Part] = []
        for part in parts:
            if isinstance(part, _Pending):
                refined += next(replacements)
            else:
                refined.append(part)
        return refined

    def _expand(self, at: _Pending, block: Block) -> list[_Part]:
        """Return what a loaded dag-pb node consists of, in file order."""
        node, message = self._read(at, block)
        data = message.data or b""
        if not node.links:
            return self._loaded_leaf(at, block, data)
        self._keep(block)
        return self._inline(at.offset, data) + self._children(at, node, message, len(data))

    def _loaded_leaf(self, at: _Pending, block: Block, data: bytes) -> list[_Part]:
        form = None if at.cid.is_identity else _canonical_form(block.data, data)
        if form is None:
            self._keep(block)
            return self._inline(at.offset, data)
        self._ledger.count_leaves(1)
        shape = _Shape(form, at.cid.version, at.cid.multihash[:2])
        return [_Leaves(shape, [at.offset], [len(data)], [at.cid.multihash])]

    def _read(self, at: _Pending, block: Block) -> tuple[Node, UnixFs]:
        """Decode a file node and check that its sizes agree with each other and its parent."""
        if self._last is None or self._last[0] is not block.data:
            node_read = read_node(Block(at.cid, block.data), self._limits)
            self._last = (block.data, *node_read)
        _, node, message = self._last
        if message.kind not in (Kind.FILE, Kind.RAW):
            kind = message.kind.name.lower().replace("hamt_shard", "directory")
            if at.size is None:
                raise TargetError(f"{at.cid} is a {kind}, not a file")
            raise MalformedNode(f"{at.cid}: a {kind} inside a file")
        if len(message.blocksizes) != len(node.links):
            raise MalformedNode(
                f"{at.cid}: {len(message.blocksizes)} blocksizes for {len(node.links)} links"
            )
        size = len(message.data or b"") + sum(message.blocksizes)
        if message.filesize not in (None, size):
            raise MalformedNode(f"{at.cid}: filesize {message.filesize}, its parts have {size}")
        if at.size not in (None, size):
            raise MalformedNode(f"{at.cid}: its parent says {at.size} bytes, it has {size}")
        if size > self._limits.max_file_bytes:
            raise LimitExceeded(f"{at.cid}: a file of {size} bytes")
        return node, message

    def _children(self, at: _Pending, node: Node, message: UnixFs, data_size: int) -> list[_Part]:
        parts: list[_Part] = []
        offsets = accumulate(message.blocksizes, initial=at.offset + data_size)
        for link, size, offset in zip(node.links, message.blocksizes, offsets, strict=False):
            if link.name:
                raise MalformedNode(f"{at.cid}: a part of a file is named {link.name[:40]!r}")
            version, codec, multihash = split_cid(link.cid_bytes)
            if multihash[0] == IDENTITY and codec == RAW:
                inlined = link.cid.digest
                if len(inlined) != size:
                    raise MalformedNode(
                        f"{at.cid}: an inline part of {len(inlined)} bytes, blocksize {size}"
                    )
                parts += self._inline(offset, inlined)
            elif codec == RAW:
                if size > MAX_BLOCK_BYTES:
                    raise LimitExceeded(f"{at.cid}: a leaf of {size} bytes")
                shape = _Shape(LeafForm.RAW, version, multihash[:2])
                self._add_leaf(parts, shape, multihash, offset, size)
            elif codec == DAG_PB and multihash[0] != IDENTITY and _has_leaf_tsize(link, size):
                self._add_leaf(parts, _Shape(None, version, multihash[:2]), multihash, offset, size)
            else:
                self._ledger.count_nodes(1)
                parts.append(_Pending(link.cid, offset, size))
        return parts

    def _add_leaf(
        self, parts: list[_Part], shape: _Shape, multihash: bytes, offset: int, size: int
    ) -> None:
        self._ledger.count_leaves(1)
        last = parts[-1] if parts else None
        if not isinstance(last, _Leaves) or last.shape != shape:
            last = _Leaves(shape, [], [], [])
            parts.append(last)
            check_verifiable(Cid(shape.version, _codec(shape), multihash))
        last.starts.append(offset)
        last.lengths.append(size)
        last.multihashes.append(multihash)

    def _learn_form(self, parts: list[_Part]) -> Walk[list[_Part]]:
        """Find out which canonical form the leaves have that were taken for one."""
        unknown = [part for part in parts if isinstance(part, _Leaves) and part.shape.form is None]
        if not unknown:
            return parts
        first, last = unknown[0], unknown[-1]
        samples = yield from load([_leaf_cid(first, 0), _leaf_cid(last, -1)], self._limits)
        lengths = (first.lengths[0], last.lengths[-1])
        forms = {
            _form_of_length(block.data, length)
            for block, length in zip(samples, lengths, strict=True)
        }
        if len(forms) > 1 or None in forms:
            # Written by several programs, or by one with habits of its own: look at each leaf.
            return (yield from self._load_leaves(parts, lambda shape: shape.form is None))
        (form,) = forms
        return [
            part._replace(shape=part.shape._replace(form=form))
            if isinstance(part, _Leaves) and part.shape.form is None
            else part
            for part in parts
        ]

    def _load_leaves(
        self, parts: list[_Part], is_odd: Callable[[_Shape], bool]
    ) -> Walk[list[_Part]]:
        """Load the leaves whose shape is odd and put what they are in their place."""
        result: list[_Part] = []
        for part in parts:
            if not isinstance(part, _Leaves) or not is_odd(part.shape):
                result.append(part)
                continue
            count = len(part.multihashes)
            for start in range(0, count, _ODD_LEAF_BATCH):
                indexes = range(start, min(start + _ODD_LEAF_BATCH, count))
                cids = [_leaf_cid(part, index) for index in indexes]
                blocks = yield from load(cids, self._limits)
                for index, block in zip(indexes, blocks, strict=True):
                    at = _Pending(block.cid, part.starts[index], part.lengths[index])
                    result += self._odd_leaf(at, block, part.shape)
        return result

    def _odd_leaf(self, at: _Pending, block: Block, shape: _Shape) -> list[_Part]:
        if at.cid.codec == RAW:
            if len(block.data) != at.size:
                raise MalformedNode(
                    f"{at.cid}: its parent says {at.size} bytes, it has {len(block.data)}"
                )
            self._keep(block)
            return self._inline(at.offset, block.data)
        node, message = self._read(at, block)
        if node.links:
            raise MalformedNode(f"{at.cid}: its parent gives it the Tsize of a leaf")
        if shape.form is None:
            return self._loaded_leaf(at, block, message.data or b"")
        self._keep(block)
        return self._inline(at.offset, message.data or b"")

    def _assemble(self, parts: Sequence[_Part], shape: _Shape | None, size: int) -> FileMap:
        file = FileMap(self._root, size, LeafForm.RAW, self._root.hash_code)
        if shape is not None and shape.form is not None:
            file.leaf_form = shape.form
            file.hash_code = shape.hash_head[0]
            file.leaf_cid_version = shape.version
        for part in parts:
            if isinstance(part, _Leaves):
                file.starts.extend(part.starts)
                file.lengths.extend(part.lengths)
                file.multihashes += part.multihashes
            elif isinstance(part, _Inline):
                file.inline.append(part)
        file.inner = list(self._inner.values())
        return file

    def _inline(self, offset: int, data: bytes) -> list[_Part]:
        if not data:
            return []
        self._ledger.hold(len(data))
        return [_Inline(offset, data)]

    def _keep(self, block: Block) -> None:
        """Keep a block of the tree that is not a leaf of the map, once."""
        multihash = block.cid.multihash
        if not block.cid.is_identity and multihash not in self._inner:
            self._ledger.hold(len(block.data))
            self._inner[multihash] = block

    def _spare(self, data: bytes) -> bytes | None:
        """Return the bytes of a one-block file if there is room to keep them."""
        if not self._ledger.has_room_for(len(data)):
            return None
        self._ledger.hold(len(data))
        return data


def _codec(shape: _Shape) -> int:
    return RAW if shape.form is LeafForm.RAW else DAG_PB


def _leaf_cid(leaves: _Leaves, index: int) -> Cid:
    return Cid(leaves.shape.version, _codec(leaves.shape), leaves.multihashes[index])


def _has_leaf_tsize(link: Link, size: int) -> bool:
    block_size = leaf_block_size(LeafForm.DAG_PB, size)
    return link.tsize_bytes == block_size and block_size <= MAX_BLOCK_BYTES


def _form_of_length(block: bytes, length: int) -> LeafForm | None:
    """Return the canonical form of a block known to have the size of such a leaf."""
    prefix_size = len(leaf_prefix(LeafForm.DAG_PB, length))
    return _canonical_form(block, block[prefix_size : prefix_size + length])


def _canonical_form(block: bytes, chunk: bytes) -> LeafForm | None:
    """Return the dag-pb form in which `chunk` becomes exactly `block`, None if there is none."""
    length = len(chunk)
    for form in (LeafForm.DAG_PB, LeafForm.DAG_PB_OLD):
        if block == leaf_prefix(form, length) + chunk + leaf_suffix(form, length):
            return form
    return None


def _commonest_shape(parts: Sequence[_Part]) -> _Shape | None:
    counts: Counter[_Shape] = Counter()
    for part in parts:
        if isinstance(part, _Leaves):
            counts[part.shape] += len(part.multihashes)
    return counts.most_common(1)[0][0] if counts else None

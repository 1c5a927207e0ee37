"""Sharded directories: a hash array mapped trie of dag-pb nodes over the murmur3 of the names.

Building makes all shards of a directory; reading checks one shard at a time, and `walk` follows the
links. The prefix of a link's name is its bucket in upper-case hex; a link that is only a prefix
leads to the shard of the next level.
Spec: ipfs/specs unixfs.md, "HAMTDirectory"; bit order and bitfield as boxo writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from mirrornode.content.dagpb import Link, Node, encode_node
from mirrornode.content.murmur3 import murmur3_x64_64
from mirrornode.content.unixfs import MURMUR3_X64_64, Kind, UnixFs, encode_unixfs
from mirrornode.errors import LimitExceeded, MalformedNode

if TYPE_CHECKING:
    from mirrornode.content.block import Block
    from mirrornode.content.cid import Cid
    from mirrornode.content.recipe import Recipe

MIN_FANOUT = 8
MAX_FANOUT = 1024  # boxo: a larger shard is refused

_HASH_BITS = 64


class HamtEntry(NamedTuple):
    """One directory entry on its way into a trie."""

    name: bytes
    cid_bytes: bytes
    tsize_bytes: int


class HamtRoot(NamedTuple):
    """What building gives: the root shard's CID, the size of the whole trie and its entries."""

    cid: Cid
    tsize_bytes: int


class ShardLink(NamedTuple):
    """One used bucket; `name` is empty when the link leads to a deeper shard."""

    bucket: int
    name: bytes
    link: Link


class Shard(NamedTuple):
    """One checked shard."""

    fanout: int
    links: Sequence[ShardLink]


def is_fanout(number: int) -> bool:
    """Tell whether a shard may have this many buckets: a power of two, 8 to 1024."""
    return MIN_FANOUT <= number <= MAX_FANOUT and number & (number - 1) == 0


def bucket_of(name: bytes, level: int, fanout: int) -> int:
    """Return the bucket of a name in the shards of `level` (0 is the root).

    Raises:
        LimitExceeded: The 64 bits of the hash are used up.
    """
    return murmur3_x64_64(name) >> _shift(level, fanout) & fanout - 1


def build_hamt(entries: Sequence[HamtEntry], recipe: Recipe, blocks: list[Block]) -> HamtRoot:
    """Build all shards of a directory, append their blocks to `blocks` and return the root.

    Raises:
        LimitExceeded: More names share their murmur3 hash than a trie can tell apart.
    """
    fanout = recipe.hamt_fanout
    digits = _prefix_digits(fanout)

    def build(members: Sequence[HamtEntry], level: int) -> HamtRoot:
        buckets: dict[int, list[HamtEntry]] = {}
        for entry in members:
            buckets.setdefault(bucket_of(entry.name, level, fanout), []).append(entry)
        links = []
        bitfield = 0
        for bucket, held in sorted(buckets.items()):
            bitfield |= 1 << bucket
            prefix = b"%0*X" % (digits, bucket)
            if len(held) == 1:
                name, cid_bytes, tsize = held[0]
                links.append(Link(cid_bytes, prefix + name, tsize))
            else:
                below = build(held, level + 1)
                links.append(Link(below.cid.binary, prefix, below.tsize_bytes))
        message = UnixFs(
            Kind.HAMT_SHARD,
            data=bitfield.to_bytes((bitfield.bit_length() + 7) // 8, "big"),
            hash_type=MURMUR3_X64_64,
            fanout=fanout,
        )
        block = recipe.node_block(encode_node(links, encode_unixfs(message)))
        if not block.cid.is_identity:
            blocks.append(block)
        tsize = len(block.data) + sum(link.tsize_bytes or 0 for link in links)
        return HamtRoot(block.cid, tsize)

    return build(entries, 0)


def read_shard(node: Node, message: UnixFs, *, level: int, fanout: int | None = None) -> Shard:
    """Check one shard and return its used buckets in order.

    Args:
        node: The decoded block.
        message: Its decoded Data.
        level: How deep the shard is; 0 is the root.
        fanout: That of the root, which all shards share; None for the root itself.

    Raises:
        MalformedNode: Wrong hash function, fanout, bitfield, prefix, or a name in a wrong bucket.
        LimitExceeded: Deeper than the hash has bits.
    """
    if message.hash_type != MURMUR3_X64_64:
        raise MalformedNode(f"a directory shard with hash function {message.hash_type}")
    own_fanout = message.fanout or 0
    if not is_fanout(own_fanout) or own_fanout != (fanout or own_fanout):
        raise MalformedNode(f"a directory shard with fanout {message.fanout}")
    _shift(level, own_fanout)
    buckets = _used_buckets(message.data or b"", own_fanout)
    if len(buckets) != len(node.links):
        raise MalformedNode(
            f"a directory shard whose bitfield says {len(buckets)} links, it has {len(node.links)}"
        )
    digits = _prefix_digits(own_fanout)
    links = []
    for bucket, link in zip(buckets, node.links, strict=True):
        full_name = link.name or b""
        if full_name[:digits] != b"%0*X" % (digits, bucket):
            raise MalformedNode(f"a directory shard whose link {full_name[:40]!r} is misplaced")
        name = full_name[digits:]
        if name and bucket_of(name, level, own_fanout) != bucket:
            raise MalformedNode(f"a directory shard where {name[:40]!r} is in a wrong bucket")
        links.append(ShardLink(bucket, name, link))
    return Shard(own_fanout, links)


def _shift(level: int, fanout: int) -> int:
    """Return how many bits of the hash are left below a level; raises when it has no bits."""
    shift = _HASH_BITS - (fanout.bit_length() - 1) * (level + 1)
    if shift < 0:
        raise LimitExceeded(f"a directory shard {level + 1} levels deep")
    return shift


def _used_buckets(bitfield: bytes, fanout: int) -> list[int]:
    if len(bitfield) > fanout // 8:
        raise MalformedNode(f"a directory shard with a bitfield of {len(bitfield)} bytes")
    bits = int.from_bytes(bitfield, "big")
    return [bucket for bucket in range(fanout) if bits >> bucket & 1]


def _prefix_digits(fanout: int) -> int:
    return (max(fanout - 1, 1).bit_length() + 3) // 4

"""What a block links to, whatever DAG it is of: for carrying blocks about, not for reading files.

Unlike `walk`, nothing is asked of the shape of the DAG; names only say where something belongs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mirrornode.content.cid import DAG_PB, Cid
from mirrornode.content.dagcbor import Value, decode_dagcbor
from mirrornode.content.dagpb import Node, decode_node
from mirrornode.content.unixfs import Kind, UnixFs, decode_unixfs
from mirrornode.errors import ContentError

DAG_CBOR = 0x71


class NamedLink(NamedTuple):
    """A link and what it is called inside its block's folder; "" when it is a part of the same."""

    cid: Cid
    name: str


def links_of(cid: Cid, block: bytes) -> list[NamedLink]:
    """Return the links of a block, in its order; a raw block has none.

    Blocks of codecs that are neither dag-pb nor dag-cbor are taken for raw ones.

    Raises:
        ContentError: The block is not what its codec says.
    """
    if cid.codec == DAG_PB:
        node = decode_node(block)
        message = _unixfs_of(node)
        return [NamedLink(link.cid, _name(link.name or b"", message)) for link in node.links]
    if cid.codec == DAG_CBOR:
        return list(_cbor_links(decode_dagcbor(block), ""))
    return []


def _unixfs_of(node: Node) -> UnixFs | None:
    if node.data is None:
        return None
    try:
        return decode_unixfs(node.data)
    except ContentError:
        return None  # dag-pb of some other use


def _name(raw: bytes, message: UnixFs | None) -> str:
    if message is not None and message.kind is Kind.HAMT_SHARD and message.fanout:
        raw = raw[len(f"{message.fanout - 1:X}") :]
    return raw.decode("utf-8", "replace")


def _cbor_links(value: Value, name: str) -> Iterator[NamedLink]:
    if isinstance(value, Cid):
        yield NamedLink(value, name)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _cbor_links(item, f"{name}/{key}" if name else key)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for number, item in enumerate(value):
            yield from _cbor_links(item, f"{name}/{number}" if name else str(number))

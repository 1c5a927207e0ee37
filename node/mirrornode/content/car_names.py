"""What a CAR's roots are called: a small DAG-CBOR block that is one more root of the CAR.

Other tools see a root they have no use for. Nothing that stands here is proven: a name is the word
of whoever made the file. The format is in docs/formats/car.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mirrornode.content.block import Block, multihash_of
from mirrornode.content.cid import SHA2_256, Cid
from mirrornode.content.dag_links import DAG_CBOR
from mirrornode.content.dagcbor import Value, decode_dagcbor, encode_dagcbor
from mirrornode.content.names import check_name
from mirrornode.errors import ContentError

MAX_NAMES_BYTES = 1 << 20  # larger blocks are looked at by nobody
MAX_NAMED = 1000
_KEY = "mirrornode"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class CarName:
    """What one root is called; a plain file name."""

    root: Cid
    name: str


def encode_names(names: Sequence[CarName]) -> Block:
    """Return the block that says what roots are called."""
    entries: list[Value] = [{"name": one.name, "root": one.root} for one in names]
    data = encode_dagcbor({_KEY: {"names": entries, "version": _VERSION}})
    return Block(Cid.v1(DAG_CBOR, multihash_of(SHA2_256, data)), data)


def decode_names(block: Block) -> list[CarName] | None:
    """Return the names that a block tells, None when it is none of this kind.

    Entries that are malformed, or whose name is no plain file name, are left out.
    """
    if block.cid.codec != DAG_CBOR or len(block.data) > MAX_NAMES_BYTES:
        return None
    try:
        document = decode_dagcbor(block.data)
    except ContentError:
        return None
    inside = document.get(_KEY) if isinstance(document, Mapping) else None
    if not isinstance(inside, Mapping) or inside.get("version") != _VERSION:
        return None
    entries = inside.get("names")
    if not isinstance(entries, list) or len(entries) > MAX_NAMED:
        return None
    return [name for name in map(_decode, entries) if name is not None]


def _decode(entry: Value) -> CarName | None:
    if not isinstance(entry, Mapping):
        return None
    root, name = entry.get("root"), entry.get("name")
    if not isinstance(root, Cid) or not isinstance(name, str) or not name.isprintable():
        return None
    try:
        return CarName(root, check_name(name))
    except ContentError:
        return None

"""CAR files for tests: made of blocks, in any order, and read back with every block verified."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mirrornode.content.block import Block, multihash_of
from mirrornode.content.car import encode_header, section_head
from mirrornode.content.car_reader import CarHeader, iter_sections, read_car_header
from mirrornode.content.cid import DAG_PB, RAW, SHA2_256, Cid
from mirrornode.content.dag_links import DAG_CBOR
from mirrornode.content.dagcbor import Value, encode_dagcbor
from mirrornode.events import Event
from mirrornode.mirror.active import ActiveTransfers
from mirrornode.mirror.export import Exported, ExportRequest, export_car, subject_of
from mirrornode.mirror.import_car import Imported, ImportPorts, ImportRequest, import_cars
from mirrornode.store.catalog import Catalog

PRAGMA = bytes.fromhex("0aa16776657273696f6e02")  # SOURCE: ipld/specs carv2, "Pragma"


class Bytes:
    """A CAR in memory that hands out at most `piece_bytes` at a time, and counts them."""

    def __init__(self, content: bytes, piece_bytes: int = 1 << 30) -> None:
        self._content = content
        self._piece_bytes = piece_bytes
        self.given_bytes = 0

    @property
    def size_bytes(self) -> int:
        return len(self._content)

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        found = self._content[offset : offset + min(size_bytes, self._piece_bytes)]
        self.given_bytes += len(found)
        return found


def blocks_of(content: bytes) -> list[Block]:
    """Return the blocks of a CAR, each verified."""
    source = Bytes(content)
    return [
        Block.verify(cid, content[offset : offset + size])
        for cid, offset, size in iter_sections(source, read_car_header(source))
    ]


def header_of(path: Path) -> CarHeader:
    return read_car_header(Bytes(path.read_bytes()))


def raw(content: bytes) -> Block:
    return Block(Cid.v1(RAW, multihash_of(SHA2_256, content)), content)


def dag_pb(content: bytes) -> Block:
    return Block(Cid.v1(DAG_PB, multihash_of(SHA2_256, content)), content)


def dag_cbor(value: Value) -> Block:
    encoded = encode_dagcbor(value)
    return Block(Cid.v1(DAG_CBOR, multihash_of(SHA2_256, encoded)), encoded)


def car_of(blocks: Sequence[Block], roots: Iterable[Cid] | None = None) -> bytes:
    """Return a CARv1; its root is the first block unless others are given."""
    made = encode_header([block.cid for block in blocks[:1]] if roots is None else list(roots))
    return made + b"".join(section_head(b.cid, len(b.data)) + b.data for b in blocks)


def v2_of(inner: bytes, *, gap: int = 0, index: bytes = b"", after: int = 0) -> bytes:
    """Return a CARv2 around a CARv1, with room before, an index, and room before that."""
    start = 51 + gap
    place = start + len(inner) + after if index else 0
    numbers = b"".join(n.to_bytes(8, "little") for n in (start, len(inner), place))
    return PRAGMA + bytes(16) + numbers + bytes(gap) + inner + bytes(after) + index


def export(catalog: Catalog, target: str, output: Path, **options: Any) -> Exported:
    request = ExportRequest(target, output, **options)
    return export_car(catalog, request, subject_of(catalog, target), lambda event: None)


async def import_files(
    catalog: Catalog,
    *paths: Path,
    destination: Path | None = None,
    events: list[Event] | None = None,
) -> Imported:
    ports = ImportPorts(catalog, ActiveTransfers(), lambda: None)
    request = ImportRequest(paths, paths[0].parent, destination)
    heard: list[Event] = [] if events is None else events
    return await import_cars(ports, request, heard.append)

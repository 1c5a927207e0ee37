from __future__ import annotations

from pathlib import Path

from mirrornode.content.cid import Cid
from mirrornode.store.catalog import Catalog, open_catalog

ROOT = Cid.raw_sha256(b"\1" * 32)
OTHER = Cid.raw_sha256(b"\2" * 32)


def test_save_transfer_when_opened_again_then_the_last_bits_are_there(home: Path) -> None:
    out, part = Path("/x/out"), Path("/x/out.part")
    with open_catalog(home) as catalog:
        catalog.save_transfer(ROOT, out, part, 7, 70, b"\x01")
        catalog.save_transfer(ROOT, out, part, 8, 80, b"\x03")
    with open_catalog(home) as catalog:
        record = catalog.open_transfer(ROOT, out)
    assert record is not None
    assert (record.root, record.out, record.part) == (ROOT, out, part)
    assert (record.part_inode, record.part_mtime_ns, record.leaf_bits) == (8, 80, b"\x03")


def test_open_transfer_when_root_or_place_differs_then_none(catalog: Catalog) -> None:
    catalog.save_transfer(ROOT, Path("/x/out"), Path("/x/out.part"), 7, 70, b"\x01")
    assert catalog.open_transfer(OTHER, Path("/x/out")) is None
    assert catalog.open_transfer(ROOT, Path("/x/elsewhere")) is None


def test_close_transfer_when_closed_then_forgotten(catalog: Catalog) -> None:
    for root in (ROOT, OTHER):
        catalog.save_transfer(root, Path("/x/out"), Path("/x/out.part"), 7, 70, b"\x01")
    catalog.close_transfer(ROOT, Path("/x/out"))
    assert [record.root for record in catalog.transfers()] == [OTHER]

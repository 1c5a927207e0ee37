"""What a node hands out, and what becomes of a download: recorded, offered, fingerprinted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrornode.content.cid import DAG_PB, Cid
from mirrornode.errors import PathRefused
from mirrornode.mirror.active import ActiveTransfers
from mirrornode.mirror.on_disk import local_offer, look_at_outputs
from mirrornode.mirror.record import record_files, record_root
from mirrornode.mirror.shelf import Shelf
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.transfer.journal import Journal
from mirrornode.transfer.outputs import lay_out
from mirrornode.transfer.session import TransferSession
from mirrornode.wire.ticket import Holding
from support.models import LEAF, Model, folder_of, model_of
from support.shared_files import SMALL_CHUNKS, content, overwrite, record

MODEL = model_of()
FOLDER = folder_of({"a.bin": content(5 * LEAF), "b.bin": content(3 * LEAF)})


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(tmp_path / "home") as opened:
        yield opened


def session_of(catalog: Catalog, out: Path, model: Model = MODEL, done: int = 0) -> TransferSession:
    bits = bytearray([1] * done + [0] * (model.manifest.leaves - done))
    return TransferSession(
        model.manifest, lay_out(model.manifest, out), bits, Journal(catalog), resumed_bytes=0,
        on_progress=lambda _: None, check_whole=lambda _: None, on_finished=lambda _: None,
    )  # fmt: skip


def test_has_block_then_as_read_block_would_find_it(catalog: Catalog, tmp_path: Path) -> None:
    shelf = Shelf(catalog, ActiveTransfers())
    path = MODEL.write(tmp_path)
    record(catalog, path, SMALL_CHUNKS)
    leaf = MODEL.file.map.leaf_cid(1)
    asked = [
        *(block.cid for block in MODEL.blocks),
        Cid(1, DAG_PB, leaf.multihash),  # no leaf of ours, though the bytes are here
        Cid.parse("bafkqaaa"),
        Cid.raw_sha256(b"z" * 32),
    ]
    found = [shelf.has_block(cid) for cid in asked]
    assert found == [shelf.read_block(cid) is not None for cid in asked]
    assert found == [*([True] * len(MODEL.blocks)), False, True, False]
    overwrite(path, b"other")
    assert not shelf.has_block(leaf)
    assert shelf.has_block(MODEL.root)  # inner nodes are kept whole


def test_holdings_tell_files_aliases_folders_and_parts(catalog: Catalog, tmp_path: Path) -> None:
    active = ActiveTransfers()
    shelf = Shelf(catalog, active)
    record(catalog, MODEL.write(tmp_path), SMALL_CHUNKS)
    alias = Cid.raw_sha256(hashlib.sha256(MODEL.data).digest())
    session = session_of(catalog, tmp_path / "out", FOLDER, done=4)
    active.add(session)
    for output in session.outputs:
        output.open()
    small, large = FOLDER.manifest.files
    asked = [MODEL.root, alias, FOLDER.root, small.root, large.root, Cid.raw_sha256(b"z" * 32)]
    assert shelf.holdings(asked) == (
        Holding(MODEL.root, MODEL.root, 10 * LEAF + 7),
        Holding(alias, MODEL.root, 10 * LEAF + 7),
        Holding(FOLDER.root, FOLDER.root, 8 * LEAF, None, is_complete=False),
        Holding(small.root, small.root, 3 * LEAF, ((0, 3 * LEAF),)),
        Holding(large.root, large.root, 5 * LEAF, ((0, LEAF),)),
    )
    active.remove(session)
    assert len(shelf.holdings(asked)) == 2
    for output in session.outputs:
        output.close()


def test_active_when_one_target_is_fetched_twice_then_the_other_stays(
    catalog: Catalog, tmp_path: Path
) -> None:
    active = ActiveTransfers()
    first = session_of(catalog, tmp_path / "one", done=2)
    second = session_of(catalog, tmp_path / "two", done=5)
    active.add(first)
    active.add(second)
    active.remove(first)
    assert active.sessions == [second]
    partial = active.partial(MODEL.root.multihash)
    assert partial is not None
    assert partial.path == tmp_path / "two.part"
    assert active.folder_size(MODEL.root.multihash) == len(MODEL.data)
    active.remove(second)
    assert active.partial(MODEL.root.multihash) is None
    assert active.folder_size(MODEL.root.multihash) is None
    assert active.sessions == []


def test_blocks_of_a_changed_file_are_withdrawn(catalog: Catalog, tmp_path: Path) -> None:
    path = MODEL.write(tmp_path)
    record(catalog, path, SMALL_CHUNKS)
    shelf = Shelf(catalog, ActiveTransfers())
    leaf = MODEL.file.map.leaf_cid(1)
    assert shelf.read_block(leaf) == MODEL.data[LEAF : 2 * LEAF]
    assert shelf.read_block(Cid.parse("bafkqaaa")) == b""
    overwrite(path, b"x" * len(MODEL.data))
    assert shelf.read_block(leaf) is None
    assert shelf.holdings([MODEL.root]) != (Holding(MODEL.root, MODEL.root, len(MODEL.data)),)


def test_outputs_that_are_there_and_blocks_elsewhere_on_the_disk_are_used(
    catalog: Catalog, tmp_path: Path
) -> None:
    twin = tmp_path / "twin.bin"
    twin.write_bytes(FOLDER.files["a.bin"])
    record(catalog, twin, SMALL_CHUNKS)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.bin").write_bytes(FOLDER.files["b.bin"])
    outputs = lay_out(FOLDER.manifest, tmp_path / "out")
    on_disk = look_at_outputs(catalog, FOLDER.manifest, outputs)
    assert [output.is_finished for output in outputs] == [True, False]
    assert on_disk.size_bytes == 3 * LEAF
    offer = local_offer(catalog, FOLDER.manifest, on_disk.done)
    assert offer is not None
    assert offer.available == bytearray([0, 0, 0, 1, 1, 1, 1, 1])
    assert local_offer(catalog, MODEL.manifest, bytearray(b"\x01" * 11)) is None


def test_download_is_recorded_with_its_root_and_announced(catalog: Catalog, tmp_path: Path) -> None:
    folder = FOLDER.write(tmp_path / "out")
    outputs = lay_out(FOLDER.manifest, folder)
    record_files(catalog, outputs)
    record_root(catalog, FOLDER.manifest, folder, "out")
    (root,) = catalog.roots()
    assert (root.cid, root.kind, root.path, root.files) == (FOLDER.root, "directory", folder, 2)
    shelf = Shelf(catalog, ActiveTransfers())
    for file in FOLDER.manifest.files:
        (holding,) = shelf.holdings([file.root])
        assert holding.size_bytes == file.map.size_bytes
    assert catalog.announce_counts()[0] == 3


def test_download_when_it_is_gone_before_it_is_recorded_then_path_refused(
    catalog: Catalog, tmp_path: Path
) -> None:
    folder = FOLDER.write(tmp_path / "out")
    os.unlink(folder / "a.bin")
    with pytest.raises(PathRefused):
        record_files(catalog, lay_out(FOLDER.manifest, folder))

"""Exporting what is here: the blocks and their order, and what must not be written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mirrornode.content.car_names import CarName, decode_names
from mirrornode.content.cid import Cid
from mirrornode.content.dag_links import links_of
from mirrornode.content.recipe import UNIXFS_V0_2015, UNIXFS_V1_2025, Recipe, recipe_from
from mirrornode.errors import CidMismatch, DiskFull, NotAllHere, PathRefused, TargetError
from mirrornode.events import Added, AddProgress, Event
from mirrornode.mirror.add import AddRequest, add_paths
from mirrornode.mirror.export import ExportRequest, export_car, subject_of
from mirrornode.store.catalog import Catalog, open_catalog
from support.cars import blocks_of, dag_cbor, export, header_of
from support.shared_files import SMALL_CHUNKS, content, overwrite, write

SMALL_V0 = recipe_from("unixfs-v0-2015", chunker="size-1000")
ABSENT = (
    "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
    "/ipfs/bafybeihgttqphpg67ibo3nznokb4tucvgxe5hikbswnwcfdqkb7euo4nuu/a",
)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(tmp_path / "home") as opened:
        yield opened


def add(catalog: Catalog, path: Path, **options: Any) -> Added:
    [added] = add_paths(catalog, AddRequest([path], **options))
    return added


def make_model(folder: Path) -> Path:
    write(folder / "weights.bin", content(23_456))
    write(folder / "config.json", b"{}")
    write(folder / "sub/copy.bin", content(23_456))
    write(folder / "empty", b"")
    (folder / "latest").symlink_to("config.json")
    return folder


def depth_first(blocks: dict[bytes, bytes], root: Cid) -> list[bytes]:
    """Return the multihashes in the order that a reader of a stream expects."""
    order: list[bytes] = []
    todo = [root]
    while todo:
        cid = todo.pop()
        if cid.multihash in order:
            continue
        order.append(cid.multihash)
        links = links_of(cid, blocks[cid.multihash])
        todo += [link.cid for link in reversed(links)]
    return order


@pytest.mark.parametrize(
    "recipe",
    [SMALL_CHUNKS, UNIXFS_V1_2025, UNIXFS_V0_2015, SMALL_V0],
    ids=["small", "v1", "v0", "small-v0"],
)
def test_export_when_folder_then_every_block_once_and_depth_first(
    catalog: Catalog, tmp_path: Path, recipe: Recipe
) -> None:
    added = add(catalog, make_model(tmp_path / "model"), recipe=recipe)
    done = export(catalog, added.cid, tmp_path / "model.car")
    car = (tmp_path / "model.car").read_bytes()
    root = Cid.parse(added.cid)
    assert header_of(tmp_path / "model.car").roots[0] == root
    blocks = blocks_of(car)
    *inside, last = blocks
    assert decode_names(last) == [CarName(root, "model")]
    known = {block.cid.multihash: block.data for block in inside}
    assert len(known) == len(inside)
    assert [block.cid.multihash for block in inside] == depth_first(known, root)
    assert (done.size_bytes, done.blocks) == (len(car), len(blocks))
    assert (done.name, done.missing_count) == ("model", 0)
    assert not list(tmp_path.glob("*.part"))


def test_export_when_without_names_then_one_root(catalog: Catalog, tmp_path: Path) -> None:
    added = add(catalog, write(tmp_path / "a.bin", content(5000)), recipe=SMALL_CHUNKS)
    export(catalog, added.cid, tmp_path / "a.car", names=False)
    assert header_of(tmp_path / "a.car").roots == (Cid.parse(added.cid),)


def test_export_when_sharded_folder_then_all_shards(catalog: Catalog, tmp_path: Path) -> None:
    for number in range(600):
        write(tmp_path / "many" / f"file-with-a-longer-name-{number:04}", b"%d" % number)
    sharding = dataclasses.replace(UNIXFS_V1_2025, name="custom", hamt_threshold_bytes=1000)
    added = add(catalog, tmp_path / "many", recipe=sharding)
    done = export(catalog, added.cid, tmp_path / "many.car")
    assert done.blocks > 602
    assert len(blocks_of((tmp_path / "many.car").read_bytes())) == done.blocks


def test_export_when_path_below_then_that_alone(catalog: Catalog, tmp_path: Path) -> None:
    added = add(catalog, make_model(tmp_path / "model"), recipe=SMALL_CHUNKS)
    done = export(catalog, f"/ipfs/{added.cid}/sub/copy.bin", tmp_path / "c.car")
    *leaves, names = blocks_of((tmp_path / "c.car").read_bytes())
    assert done.name == "copy.bin"
    assert decode_names(names) == [CarName(Cid.parse(done.cid), "copy.bin")]
    assert b"".join(b.data for b in leaves if b.cid.codec == 0x55) == content(23_456)
    with pytest.raises(TargetError, match="no entry"):
        export(catalog, f"/ipfs/{added.cid}/sub/other", tmp_path / "d.car")


@pytest.mark.parametrize("keep_time", [False, True])
def test_export_when_file_changed_then_integrity_error_names_it_and_nothing_stays(
    catalog: Catalog, tmp_path: Path, keep_time: bool
) -> None:
    model = make_model(tmp_path / "model")
    added = add(catalog, model, recipe=SMALL_CHUNKS)
    overwrite(model / "sub/copy.bin", bytes(23_456), keep_time=keep_time)
    overwrite(model / "weights.bin", bytes(23_456), keep_time=keep_time)
    for _ in range(2):  # once more, now that the catalog knows
        with pytest.raises(CidMismatch, match=r"(copy|weights)\.bin"):
            export(catalog, added.cid, tmp_path / "model.car")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "model"]


def test_export_when_one_of_two_equal_files_changed_then_the_other_serves(
    catalog: Catalog, tmp_path: Path
) -> None:
    model = make_model(tmp_path / "model")
    added = add(catalog, model, recipe=SMALL_CHUNKS)
    overwrite(model / "weights.bin", bytes(23_456))
    assert export(catalog, added.cid, tmp_path / "model.car").missing_count == 0


def test_export_when_file_gone_then_not_all_here_unless_partial(
    catalog: Catalog, tmp_path: Path
) -> None:
    model = make_model(tmp_path / "model")
    added = add(catalog, model, recipe=SMALL_CHUNKS)
    (model / "config.json").unlink()
    with pytest.raises(NotAllHere, match=r"config\.json.*--partial") as caught:
        export(catalog, added.cid, tmp_path / "model.car")
    assert caught.value.missing == ("config.json",)
    done = export(catalog, added.cid, tmp_path / "model.car", partial=True)
    assert (done.missing, done.missing_count) == (("config.json",), 1)
    assert done.to_record()["complete"] is False
    assert len(blocks_of((tmp_path / "model.car").read_bytes())) == done.blocks


def test_export_when_nothing_here_then_not_all_here_even_partial(
    catalog: Catalog, tmp_path: Path
) -> None:
    for target in ABSENT:
        with pytest.raises(NotAllHere, match="is not here"):
            export(catalog, target, tmp_path / "x.car", partial=True)
    assert not (tmp_path / "x.car").exists()


def test_export_when_file_is_there_then_refused_unless_forced(
    catalog: Catalog, tmp_path: Path
) -> None:
    added = add(catalog, write(tmp_path / "a.bin", content(5000)))
    output = write(tmp_path / "a.car", b"mine")
    with pytest.raises(TargetError, match="--force"):
        export(catalog, added.cid, output)
    assert output.read_bytes() == b"mine"
    export(catalog, added.cid, output, force=True)
    assert blocks_of(output.read_bytes())
    with pytest.raises(TargetError, match="no file"):
        export(catalog, added.cid, tmp_path / "home", force=True)
    with pytest.raises(TargetError, match="no folder"):
        export(catalog, added.cid, tmp_path / "none" / "a.car")


def test_export_when_leftover_of_a_killed_one_then_written_over(
    catalog: Catalog, tmp_path: Path
) -> None:
    added = add(catalog, write(tmp_path / "a.bin", content(5000)))
    write(tmp_path / "a.car.part", bytes(100_000))
    done = export(catalog, added.cid, tmp_path / "a.car")
    assert (tmp_path / "a.car").stat().st_size == done.size_bytes
    assert not (tmp_path / "a.car.part").exists()


class Stop(Exception):
    """Ends an export from its progress."""


def test_export_when_stopped_then_nothing_stays(catalog: Catalog, tmp_path: Path) -> None:
    added = add(catalog, make_model(tmp_path / "model"), recipe=SMALL_CHUNKS)

    def stop(event: Event) -> None:
        assert isinstance(event, AddProgress)
        raise Stop

    request = ExportRequest(added.cid, tmp_path / "x.car")
    with pytest.raises(Stop):
        export_car(catalog, request, subject_of(catalog, added.cid), stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "model"]


def test_export_when_catalog_keeps_other_blocks_then_they_are_written_too(
    catalog: Catalog, tmp_path: Path
) -> None:
    leaf = dag_cbor([1, 2])
    root = dag_cbor({"a": leaf.cid, "list": [leaf.cid, {"x": leaf.cid}]})
    catalog.put_blocks([root, leaf])
    done = export(catalog, str(root.cid), tmp_path / "x.car")
    assert blocks_of((tmp_path / "x.car").read_bytes()) == [root, leaf]
    assert done.name == str(root.cid)


def test_export_when_no_room_then_disk_full_before_it_begins(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mirrornode.transfer.space as space

    added = add(catalog, write(tmp_path / "a.bin", content(5000)))
    monkeypatch.setattr(space, "free_bytes", lambda folder: 1000)
    with pytest.raises(DiskFull):
        export(catalog, added.cid, tmp_path / "a.car")
    assert not list(tmp_path.glob("a.car*"))


def test_export_when_folder_cannot_be_written_then_path_refused(
    catalog: Catalog, tmp_path: Path
) -> None:
    added = add(catalog, write(tmp_path / "a.bin", content(5000)))
    (tmp_path / "a.car.part").mkdir()
    with pytest.raises(PathRefused):
        export(catalog, added.cid, tmp_path / "a.car")

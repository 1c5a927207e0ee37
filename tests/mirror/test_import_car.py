"""Importing CARs: whole, partial, damaged, of other programs, cut off and begun again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mirrornode.content.block import Block
from mirrornode.content.car_names import CarName, encode_names
from mirrornode.content.cid import Cid
from mirrornode.content.recipe import UNIXFS_V0_2015, UNIXFS_V1_2025, Recipe, recipe_from
from mirrornode.errors import CidMismatch, ContentError, LimitExceeded, MalformedCar, TargetError
from mirrornode.events import Added, AddProgress, Event, Note
from mirrornode.mirror import loose_blocks
from mirrornode.mirror.active import ActiveTransfers
from mirrornode.mirror.add import AddRequest, add_paths
from mirrornode.mirror.shelf import Shelf
from mirrornode.store.catalog import Catalog, open_catalog
from support.cars import (
    blocks_of,
    car_of,
    dag_cbor,
    dag_pb,
    export,
    import_files,
    raw,
    v2_of,
)
from support.fixtures import fixture_bytes
from support.shared_files import SMALL_CHUNKS, content, overwrite, write
from support.waiting import until

SMALL_V0 = recipe_from("unixfs-v0-2015", chunker="size-1000")


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Catalog]:
    """The catalog of the node that exports."""
    with open_catalog(tmp_path / "origin") as opened:
        yield opened


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """The catalog of the node that imports."""
    with open_catalog(tmp_path / "home") as opened:
        yield opened


def make_model(folder: Path) -> Path:
    write(folder / "weights.bin", content(23_456))
    write(folder / "config.json", b"{}")
    write(folder / "sub/copy.bin", content(23_456))
    write(folder / "empty", b"")
    (folder / "latest").symlink_to("config.json")
    return folder


def add(catalog: Catalog, path: Path, **options: Any) -> Added:
    [added] = add_paths(catalog, AddRequest([path], **options))
    return added


def exported(
    origin: Catalog, tmp_path: Path, recipe: Recipe = SMALL_CHUNKS, **options: Any
) -> tuple[Path, Added]:
    """Return a CAR of the model, and what was added."""
    added = add(origin, make_model(tmp_path / "model"), recipe=recipe)
    export(origin, added.cid, tmp_path / "model.car", **options)
    return tmp_path / "model.car", added


def files_in(folder: Path) -> dict[str, bytes | str]:
    """Return every file and symlink below a folder."""
    return {
        str(path.relative_to(folder)): path.readlink().name
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize(
    "recipe", [SMALL_CHUNKS, UNIXFS_V1_2025, UNIXFS_V0_2015, SMALL_V0], ids=lambda r: str(r.name)
)
async def test_import_when_exported_here_then_same_files_shared_and_announced(
    origin: Catalog, catalog: Catalog, tmp_path: Path, recipe: Recipe
) -> None:
    car, added = exported(origin, tmp_path, recipe)
    done = await import_files(catalog, car)
    [root] = done.roots
    assert (root.cid, root.name, root.kind, root.missing_count) == (
        added.cid, "model", "directory", 0,
    )  # fmt: skip
    assert Path(root.path) == tmp_path / "home" / "models" / "model"
    assert files_in(Path(root.path)) == files_in(tmp_path / "model")
    [stored] = catalog.roots()
    assert (str(stored.cid), stored.name, stored.state) == (added.cid, "model", "ok")
    assert all(file.is_managed for file in catalog.all_files())
    queued = [item.multihash for item in catalog.due_announcements(1e12, 100)]
    assert Cid.parse(added.cid).multihash in queued
    # Every block of the file can be handed out again.
    shelf = Shelf(catalog, ActiveTransfers())
    for block in blocks_of(car.read_bytes())[:-1]:
        assert shelf.read_block(block.cid) == block.data
    export(catalog, added.cid, tmp_path / "again.car")
    assert (tmp_path / "again.car").read_bytes() == car.read_bytes()


@pytest.mark.parametrize("seed", [1, 2])
async def test_import_when_version_2_and_blocks_in_any_order_then_the_same(
    origin: Catalog, catalog: Catalog, tmp_path: Path, seed: int
) -> None:
    car, added = exported(origin, tmp_path)
    blocks = blocks_of(car.read_bytes())
    random.Random(seed).shuffle(blocks)
    mixed = car_of([*blocks, *blocks[:3]], [Cid.parse(added.cid)])
    path = write(tmp_path / "mixed.car", v2_of(mixed, gap=7, index=b"\x81\x08", after=3))
    [root] = (await import_files(catalog, path, destination=Path("out"))).roots
    assert root.missing_count == 0
    assert files_in(tmp_path / "out") == files_in(tmp_path / "model")


async def test_import_when_single_file_then_file_with_its_name(
    origin: Catalog, catalog: Catalog, tmp_path: Path
) -> None:
    added = add(origin, write(tmp_path / "w.safetensors", content(9_999)), recipe=SMALL_CHUNKS)
    export(origin, added.cid, tmp_path / "w.car")
    [root] = (await import_files(catalog, tmp_path / "w.car")).roots
    assert (root.kind, root.name, root.size_bytes) == ("file", "w.safetensors", 9_999)
    assert root.path == str(tmp_path / "home" / "models" / "w.safetensors")
    into = write(tmp_path / "folder" / "other", b"").parent
    [root] = (await import_files(catalog, tmp_path / "w.car", destination=into)).roots
    assert (into / "w.safetensors").read_bytes() == content(9_999)


async def test_import_when_several_roots_then_each_has_a_place(
    origin: Catalog, catalog: Catalog, tmp_path: Path
) -> None:
    car, added = exported(origin, tmp_path)
    other = raw(b"a file of one block")
    both = car_of([*blocks_of(car.read_bytes()), other], [Cid.parse(added.cid), other.cid])
    path = write(tmp_path / "both.car", both)
    done = await import_files(catalog, path, destination=tmp_path / "out")
    assert [root.missing_count for root in done.roots] == [0, 0]
    assert (tmp_path / "out" / str(other.cid)).read_bytes() == b"a file of one block"
    assert files_in(tmp_path / "out" / added.cid) == files_in(tmp_path / "model")
    assert {str(stored.cid) for stored in catalog.roots()} == {added.cid, str(other.cid)}


async def test_import_when_here_already_then_left_as_it_is(
    origin: Catalog, catalog: Catalog, tmp_path: Path
) -> None:
    car, _ = exported(origin, tmp_path)
    events: list[Event] = []
    [root] = (await import_files(origin, car, events=events)).roots
    assert (root.path, root.missing_count) == (str(tmp_path / "model"), 0)
    assert any(isinstance(event, Note) and "here already" in event.text for event in events)
    assert not (tmp_path / "origin" / "models").exists()
    # Not any more when a file has changed.
    overwrite(tmp_path / "model" / "config.json", b"??")
    [root] = (await import_files(origin, car)).roots
    assert root.path == str(tmp_path / "origin" / "models" / "model")


async def test_import_when_another_model_has_the_name_then_place_of_its_own(
    origin: Catalog, catalog: Catalog, tmp_path: Path
) -> None:
    car, added = exported(origin, tmp_path)
    mine = write(tmp_path / "home" / "models" / "model" / "config.json", b"my own")
    add(catalog, mine.parent)
    [root] = (await import_files(catalog, car)).roots
    assert root.path == str(mine.parent.with_name(f"{added.cid[-8:]}-model"))
    assert mine.read_bytes() == b"my own"
    assert all(stored.state == "ok" for stored in catalog.roots())


@pytest.mark.parametrize("name", ["../up", "/etc/x", "", "..", "a\0b", "\x1b[2J", "x" * 300])
async def test_import_when_name_would_leave_its_folder_then_called_by_cid(
    catalog: Catalog, tmp_path: Path, name: str
) -> None:
    file = raw(b"content")
    names = encode_names([CarName(file.cid, name)])
    car = write(tmp_path / "x.car", car_of([file, names], [file.cid, names.cid]))
    [root] = (await import_files(catalog, car)).roots
    assert root.name == str(file.cid)
    assert Path(root.path) == tmp_path / "home" / "models" / str(file.cid)


async def test_import_when_leaves_missing_then_rest_written_and_paths_told(
    origin: Catalog, catalog: Catalog, tmp_path: Path
) -> None:
    car, added = exported(origin, tmp_path)
    blocks = blocks_of(car.read_bytes())
    config = raw(b"{}")
    leaf = raw(content(23_456)[:1000])
    some = [b for b in blocks if b.cid not in (config.cid, leaf.cid)]
    path = write(tmp_path / "some.car", car_of(some, [Cid.parse(added.cid)]))
    [root] = (await import_files(catalog, path, destination=tmp_path / "out")).roots
    assert root.missing == ("config.json", "sub/copy.bin", "weights.bin")
    assert (tmp_path / "out" / "empty").exists()
    assert not (tmp_path / "out" / "weights.bin").exists()
    assert catalog.roots() == []
    # The rest comes in another CAR: what was there is gone on with.
    rest = write(tmp_path / "rest.car", car_of([config, leaf], [Cid.parse(added.cid)]))
    [root] = (await import_files(catalog, rest, destination=tmp_path / "out")).roots
    assert root.missing == ()
    assert root.resumed_bytes >= 2 * 22_456
    assert files_in(tmp_path / "out") == files_in(tmp_path / "model")


async def test_import_when_spread_over_two_cars_then_whole(
    origin: Catalog, catalog: Catalog, tmp_path: Path
) -> None:
    car, added = exported(origin, tmp_path)
    blocks = blocks_of(car.read_bytes())
    root_cid = Cid.parse(added.cid)
    one = write(tmp_path / "1.car", car_of(blocks[::2], [root_cid]))
    two = write(tmp_path / "2.car", car_of(blocks[1::2], []))
    [root] = (await import_files(catalog, one, two, destination=tmp_path / "out")).roots
    assert root.missing == ()
    assert files_in(tmp_path / "out") == files_in(tmp_path / "model")


async def test_import_when_other_files_here_have_the_leaves_then_they_help(
    origin: Catalog, catalog: Catalog, tmp_path: Path
) -> None:
    car, added = exported(origin, tmp_path)
    add(catalog, write(tmp_path / "mine.bin", content(23_456)), recipe=SMALL_CHUNKS)
    some = [b for b in blocks_of(car.read_bytes()) if len(b.data) != 1000 or b.cid.codec != 0x55]
    path = write(tmp_path / "some.car", car_of(some, [Cid.parse(added.cid)]))
    [root] = (await import_files(catalog, path, destination=tmp_path / "out")).roots
    assert root.missing == ()
    assert files_in(tmp_path / "out") == files_in(tmp_path / "model")


async def test_import_when_folder_block_missing_then_the_folder_is_told(
    origin: Catalog, catalog: Catalog, tmp_path: Path
) -> None:
    car, added = exported(origin, tmp_path)
    root_cid = Cid.parse(added.cid)
    folder = export(origin, f"/ipfs/{added.cid}/sub", tmp_path / "sub.car")
    blocks = [b for b in blocks_of(car.read_bytes()) if str(b.cid) != folder.cid]
    path = write(tmp_path / "some.car", car_of(blocks, [root_cid]))
    [root] = (await import_files(catalog, path)).roots
    assert root.missing == ("sub",)
    assert (Path(root.path) / "weights.bin").read_bytes() == content(23_456)
    only = write(tmp_path / "only.car", car_of(blocks[1:], [root_cid]))
    [root] = (await import_files(catalog, only, destination=tmp_path / "x")).roots
    assert root.missing == ("sub",)  # the root's block is kept since the first time


async def test_import_when_nothing_of_a_root_then_the_root_is_missing(
    catalog: Catalog, tmp_path: Path
) -> None:
    absent = dag_pb(b"\x0a\x02\x08\x01")
    path = write(tmp_path / "x.car", car_of([raw(b"other")], [absent.cid]))
    [root] = (await import_files(catalog, path)).roots
    assert (root.missing, root.path, root.files) == ((".",), "", 0)
    assert (await import_files(catalog, write(tmp_path / "y.car", car_of([], [])))).roots == ()


def damage(car: Path, block: Block) -> Path:
    """Return a copy of a CAR in which one byte of a block is another."""
    bad = bytearray(car.read_bytes())
    bad[bad.index(block.data) + len(block.data) // 2] ^= 1
    return write(car.with_name("bad.car"), bytes(bad))


async def test_import_when_leaf_damaged_then_integrity_error_and_no_wrong_byte(
    origin: Catalog, catalog: Catalog, tmp_path: Path
) -> None:
    car, _ = exported(origin, tmp_path)
    bad = damage(car, raw(content(23_456)[5000:6000]))
    with pytest.raises(CidMismatch, match=r"bad\.car is damaged"):
        await import_files(catalog, bad, destination=tmp_path / "out")
    assert not (tmp_path / "out" / "weights.bin").exists()
    assert catalog.roots() == []
    # With the good one beside it, all is well.
    [root] = (await import_files(catalog, bad, car, destination=tmp_path / "out")).roots
    assert root.missing == ()
    assert files_in(tmp_path / "out") == files_in(tmp_path / "model")


async def test_import_when_structure_damaged_then_integrity_error(
    origin: Catalog, catalog: Catalog, tmp_path: Path
) -> None:
    car, _ = exported(origin, tmp_path)
    bad = damage(car, blocks_of(car.read_bytes())[0])
    with pytest.raises(CidMismatch, match=r"bad\.car is damaged"):
        await import_files(catalog, bad)
    assert catalog.roots() == []


async def test_import_when_no_car_then_error_names_the_file(
    catalog: Catalog, tmp_path: Path
) -> None:
    with pytest.raises(MalformedCar, match=r"x\.car"):
        await import_files(catalog, write(tmp_path / "x.car", b"not a CAR at all"))
    cut = car_of([raw(content(5000))])[:-1]
    with pytest.raises(MalformedCar, match=r"y\.car.*cut off"):
        await import_files(catalog, write(tmp_path / "y.car", cut))
    for path in (tmp_path / "none.car", tmp_path):
        with pytest.raises(TargetError):
            await import_files(catalog, path)


async def test_import_when_cancelled_then_the_next_goes_on_and_leaves_no_parts(
    origin: Catalog, catalog: Catalog, tmp_path: Path
) -> None:
    big = write(tmp_path / "model" / "big.bin", random.Random(1).randbytes(32 << 20))
    added = add(origin, big.parent, recipe=UNIXFS_V1_2025)
    export(origin, added.cid, tmp_path / "big.car")
    events: list[Event] = []
    work = asyncio.create_task(
        import_files(catalog, tmp_path / "big.car", destination=tmp_path / "out", events=events)
    )
    await until(
        lambda: work.done() or any(isinstance(e, AddProgress) and e.done_bytes for e in events)
    )
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    [root] = (await import_files(catalog, tmp_path / "big.car", destination=tmp_path / "out")).roots
    assert root.missing == ()
    assert files_in(tmp_path / "out") == files_in(tmp_path / "model")


async def test_import_when_no_files_then_small_ones_are_kept_as_blocks(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaf, absent = raw(b"leaf"), raw(b"absent")
    node = dag_pb(b"")
    root = dag_cbor({"leaf": leaf.cid, "node": [node.cid], "gone": {"x": absent.cid}})
    path = write(tmp_path / "x.car", car_of([root, leaf, node]))
    [found] = (await import_files(catalog, path)).roots
    assert (found.kind, found.path, found.missing) == ("blocks", "", ("gone/x",))
    for block in (root, leaf, node):
        assert catalog.get_block(block.cid.multihash) == block.data
    # Nothing else needs them: without the pin they would be swept.
    assert [(pin.cid, pin.name) for pin in catalog.pins()] == [(root.cid, "imported")]
    monkeypatch.setattr(loose_blocks, "MAX_LOOSE_BYTES", 10)
    with pytest.raises(LimitExceeded, match="no file or folder"):
        await import_files(catalog, path)


# Fixtures of go-car, Kubo, boxo and the specs: kind of each root, how many paths it lacks.
FIXTURES = {
    "TestDagStat.car": [("blocks", 0)],
    "TestDagStatCARv2.car": [("blocks", 0)],
    "carv1-basic.car": [("blocks", 0), ("blocks", 0)],
    "carv2-basic.car": [("blocks", 0)],
    "dir-special-chars.car": [("directory", 0)],
    "directory-with-multilayer-hamt-and-multiblock-files.car": [("directory", 0)],
    "go-car-sample-unixfs-v2.car": [("directory", 0)],
    "go-car-simple-unixfs-missing-blocks.car": [("directory", 3)],
    "go-car-simple-unixfs.car": [("directory", 0)],
    "partial-dag-scope-entity.car": [("directory", 29)],
    "unixfs-dir-with-mode-mtime.car": [("directory", 0)],
}


@pytest.mark.parametrize("name", sorted(FIXTURES))
async def test_import_when_fixture_then_imported_and_what_it_lacks_told(
    catalog: Catalog, tmp_path: Path, name: str
) -> None:
    car = write(tmp_path / name, fixture_bytes(f"car/{name}"))
    done = await import_files(catalog, car, destination=tmp_path / "out")
    assert [(root.kind, root.missing_count) for root in done.roots] == FIXTURES[name]
    whole = [root for root in done.roots if root.kind == "directory" and not root.missing_count]
    assert [str(root.cid) for root in catalog.roots()] == [root.cid for root in whole]
    for root in whole:
        export(catalog, root.cid, tmp_path / "again.car", names=False)
        again = {block.cid for block in blocks_of((tmp_path / "again.car").read_bytes())}
        assert again == {block.cid for block in blocks_of(car.read_bytes())}


@pytest.mark.parametrize(
    "name",
    [
        "go-car-badheaderlength.car",
        "go-car-badsectionlength.car",
        "go-car-sample-corrupt-pragma.car",
        "go-car-sample-rootless-v42.car",
    ],
)
async def test_import_when_bad_fixture_then_refused(
    catalog: Catalog, tmp_path: Path, name: str
) -> None:
    car = write(tmp_path / name, fixture_bytes(f"car/{name}"))
    with pytest.raises(ContentError, match=name):
        await import_files(catalog, car)

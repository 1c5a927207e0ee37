"""What is unshared: neither served nor announced any more, and on disk as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mirrornode.content.cid import Cid
from mirrornode.content.leaf_form import LeafForm
from mirrornode.errors import TargetError
from mirrornode.mirror.active import ActiveTransfers
from mirrornode.mirror.add import AddRequest, add_paths
from mirrornode.mirror.keep import Keeper
from mirrornode.mirror.keep_choice import Limits
from mirrornode.mirror.unshare import Unshared, parse_unshare_target, unshare
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.store.stamps import FileStamp
from mirrornode.wire.hub import HubFile, Repo
from support.kept_files import GB, KeptHome
from support.shared_files import content, write

NAMES = ("a.bin", "b.bin", "below/c.bin", "below.bin", "below0.bin")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """A catalog in which one folder is shared."""
    with open_catalog(tmp_path / "home") as opened:
        for number, name in enumerate(NAMES):
            write(tmp_path / "model" / name, content(100 + number))
        list(add_paths(opened, AddRequest([tmp_path / "model"])))
        yield opened


def undo(catalog: Catalog, target: Cid | Path, *shares: str) -> Unshared:
    return unshare(Keeper(catalog, ActiveTransfers(), Limits()), target, shares)


def shared_names(catalog: Catalog, folder: Path) -> set[str]:
    return {os.fspath(file.path.relative_to(folder)) for file in catalog.all_files()}


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def queued(catalog: Catalog) -> set[bytes]:
    return {one.multihash for one in catalog.due_announcements(1.0, 10_000)}


@pytest.mark.parametrize("by_cid", [False, True], ids=["path", "cid"])
def test_unshare_when_a_folder_then_nothing_of_it_is_left_but_the_files(
    catalog: Catalog, tmp_path: Path, by_cid: bool
) -> None:
    folder = tmp_path / "model"
    [root] = catalog.roots()
    below = {file.cid.multihash for file in catalog.all_files()}
    assert catalog.get_block(root.cid.multihash) is not None
    assert queued(catalog) >= {root.cid.multihash}
    done = undo(catalog, root.cid if by_cid else folder)
    assert (done.paths, done.files, done.size_bytes) == ((folder,), 5, 510)
    assert catalog.roots() == []
    assert list(catalog.all_files()) == []
    assert queued(catalog) == set()
    assert catalog.get_block(root.cid.multihash) is None  # its names are nobody's business either
    assert all(catalog.find_leaf(key) is None for key in below)
    assert {os.fspath(path.relative_to(folder)) for path in folder.rglob("*.bin")} == set(NAMES)


def test_unshare_when_added_again_then_the_same_cid_is_shared(
    catalog: Catalog, tmp_path: Path
) -> None:
    [root] = catalog.roots()
    undo(catalog, root.cid)
    [added] = add_paths(catalog, AddRequest([tmp_path / "model"]))
    assert added.cid == str(root.cid)
    assert catalog.roots()[0].state == "ok"
    assert catalog.get_block(root.cid.multihash) is not None


def test_unshare_when_a_part_of_a_folder_then_the_rest_is_shared_and_no_longer_whole(
    catalog: Catalog, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    [root] = catalog.roots()
    assert undo(catalog, folder / "below").files == 1
    assert shared_names(catalog, folder) == set(NAMES) - {"below/c.bin"}
    assert catalog.roots()[0].state == "partial"
    assert root.cid.multihash not in queued(catalog)
    undo(catalog, folder / "below.bin")
    assert shared_names(catalog, folder) == {"a.bin", "b.bin", "below0.bin"}


def test_unshare_when_the_content_is_shared_elsewhere_then_it_stays_shared_from_there(
    catalog: Catalog, tmp_path: Path
) -> None:
    other = write(tmp_path / "other.bin", content(100))
    [added] = add_paths(catalog, AddRequest([other]))
    undo(catalog, tmp_path / "model")
    found = catalog.find_file(Cid.parse(added.cid).multihash)
    assert found is not None
    assert found.path == other
    assert queued(catalog) == {found.cid.multihash}


def test_unshare_when_the_files_are_gone_then_forgotten(catalog: Catalog, tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / "model" / name).unlink()
    assert undo(catalog, tmp_path / "model").files == 5
    assert catalog.roots() == []


def test_unshare_when_a_cache_of_the_hub_then_its_blobs_are_forgotten(
    catalog: Catalog, tmp_path: Path
) -> None:
    blob = write(tmp_path / "hub" / "blobs" / "aa", content(7))
    stamp = FileStamp.of(blob)
    catalog.put_hub_blob("aa" * 32, blob, stamp, is_open=True, is_managed=False)
    catalog.put_hub_proof("aa" * 32, blob, 1, 2)
    done = undo(catalog, tmp_path / "hub")
    assert (done.files, done.size_bytes) == (1, 7)
    assert list(catalog.hub_blobs()) == []
    assert catalog.hub_proof("aa" * 32, blob) is None


@pytest.mark.parametrize("place", ["nowhere", "mod", "model/a"])
def test_unshare_when_nothing_is_shared_there_then_told(
    catalog: Catalog, tmp_path: Path, place: str
) -> None:
    with pytest.raises(TargetError, match="mirrornode ls"):
        undo(catalog, tmp_path / place)
    assert len(list(catalog.all_files())) == 5


@pytest.mark.parametrize("share", ["", "model", "model/below"])
def test_unshare_when_the_settings_share_it_then_refused(
    catalog: Catalog, tmp_path: Path, share: str
) -> None:
    with pytest.raises(TargetError, match="shared again"):
        undo(catalog, tmp_path / "model" / "below", str(tmp_path / share))
    assert len(list(catalog.all_files())) == 5
    assert undo(catalog, tmp_path / "model", str(tmp_path / "mod"), "hf-cache").files == 5


def test_unshare_when_pinned_then_refused(catalog: Catalog, tmp_path: Path) -> None:
    [root] = catalog.roots()
    catalog.pin(root.cid, "kept")
    with pytest.raises(TargetError, match=f"unpin {root.cid}"):
        undo(catalog, tmp_path / "model")
    catalog.unpin(str(root.cid))
    assert undo(catalog, tmp_path / "model").files == 5


def test_unshare_when_it_is_the_nodes_own_copy_then_refused(tmp_path: Path) -> None:
    with open_catalog(tmp_path / "home") as catalog:
        room = KeptHome(catalog)
        root = room.model("kept", 2 * GB)
        with pytest.raises(TargetError, match="own copy"):
            unshare(room.keeper(), root, ())
        assert len(catalog.roots()) == 1


def test_unshare_when_a_pin_holds_more_or_less_of_it_then_refused(
    catalog: Catalog, tmp_path: Path
) -> None:
    [root] = catalog.roots()
    file = next(iter(catalog.all_files()))
    for held, place in ((root.cid, tmp_path / "model" / "below"), (file.cid, tmp_path / "model")):
        catalog.pin(held, "kept")
        with pytest.raises(TargetError, match=f"unpin {held}"):
            undo(catalog, place)
        catalog.unpin(str(held))
    assert len(list(catalog.all_files())) == 5


def test_unshare_when_a_pin_of_the_hub_holds_it_then_refused(
    catalog: Catalog, tmp_path: Path
) -> None:
    repo, commit, etag = Repo("model", "acme/orchid"), "c" * 40, "aa" * 32
    catalog.put_hub_revision(repo, commit, {}, "hub:test")
    catalog.put_hub_tree(repo, commit, [HubFile("w.bin", 7, "b" * 40, etag)], "hub:test")
    catalog.pin_hub(repo, commit)
    blob = write(tmp_path / "hub" / "w.bin", content(7))
    catalog.put_hub_blob(etag, blob, FileStamp.of(blob), is_open=True, is_managed=False)
    with pytest.raises(TargetError, match=f"unpin hf:acme/orchid@{commit}"):
        undo(catalog, tmp_path / "hub")
    assert undo(catalog, tmp_path / "model").files == 5


@pytest.mark.parametrize("named", ["real", "link", "cid"])
def test_unshare_when_it_was_added_through_a_link_then_all_of_it_is(
    catalog: Catalog, tmp_path: Path, named: str
) -> None:
    real = tmp_path / "elsewhere"
    write(real / "z.bin", content(77))
    (tmp_path / "link").symlink_to(real)
    [added] = add_paths(catalog, AddRequest([tmp_path / "link"]))
    cid = Cid.parse(added.cid)
    catalog.pin(cid, "kept")
    targets: dict[str, Cid | Path] = {"real": real, "link": tmp_path / "link", "cid": cid}
    target = targets[named]
    with pytest.raises(TargetError, match="unpin"):
        undo(catalog, target)
    catalog.unpin(added.cid)
    assert undo(catalog, target).files == 1
    assert catalog.find_root(cid.multihash) is None
    assert not any(file.path.is_relative_to(real) for file in catalog.all_files())


@pytest.mark.parametrize("named", ["real", "link"])
def test_unshare_when_it_was_fetched_through_a_link_then_all_of_it_is(
    catalog: Catalog, tmp_path: Path, named: str
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    path = write(tmp_path / "link" / "x.bin", content(30))
    cid = Cid.raw_sha256(bytes(32))
    key = cid.multihash
    catalog.record_file(path, FileStamp.of(path), cid, 30, LeafForm.RAW, [key], [30])
    catalog.record_root(
        cid=cid, kind="file", name="x.bin", path=path, size_bytes=30, profile="",
        files=[(path, cid)], announce=[key],
    )  # fmt: skip
    assert undo(catalog, tmp_path / named / "x.bin").files == 1
    assert catalog.find_file(key) is None
    assert catalog.find_root(key) is None
    assert key not in queued(catalog)


def test_unshare_when_files_were_added_as_one_then_all_of_them_are(
    catalog: Catalog, tmp_path: Path
) -> None:
    paths = [write(tmp_path / name, content(60)) for name in ("x.bin", "y.bin")]
    [added] = add_paths(catalog, AddRequest(paths, wrap=True))
    undo(catalog, paths[1])
    assert {root.state for root in catalog.roots()} == {"ok", "partial"}
    assert undo(catalog, Cid.parse(added.cid)).files == 1
    assert len(catalog.roots()) == 1


def test_unshare_when_the_nodes_own_copies_lie_below_too_then_they_stay_as_they_are(
    catalog: Catalog, tmp_path: Path
) -> None:
    root = KeptHome(catalog).model("kept", 2 * GB)
    catalog.pin(root, "kept")
    done = undo(catalog, tmp_path)
    assert (done.files, done.size_bytes) == (5, 510)
    assert [file.is_managed for file in catalog.all_files()] == [True, True]
    assert [one.cid for one in catalog.roots()] == [root]
    assert root.multihash in queued(catalog)


def test_unshare_when_copies_of_all_of_it_are_shared_then_they_stay_so(
    catalog: Catalog, tmp_path: Path
) -> None:
    for name in NAMES:
        os.link(tmp_path / "model" / name, _made(tmp_path / "copy" / name))
    list(add_paths(catalog, AddRequest([tmp_path / "copy"])))
    before = queued(catalog)
    undo(catalog, tmp_path / "model" / "below")
    undo(catalog, tmp_path / "model")
    [root] = catalog.roots()
    assert (root.path, root.state) == (tmp_path / "copy", "ok")
    assert catalog.get_block(root.cid.multihash) is not None
    assert queued(catalog) == before


def test_unshare_when_an_add_of_it_is_under_way_then_nothing_is_announced(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_root = catalog.record_root

    def later(**fields: Any) -> None:
        undo(catalog, tmp_path / "more")
        record_root(**fields)

    write(tmp_path / "more" / "m.bin", content(40))
    before = queued(catalog)
    monkeypatch.setattr(catalog, "record_root", later)
    list(add_paths(catalog, AddRequest([tmp_path / "more"])))
    assert queued(catalog) == before
    assert len(catalog.roots()) == 1


def test_unshare_when_it_is_being_downloaded_then_refused(catalog: Catalog, tmp_path: Path) -> None:
    class Busy(ActiveTransfers):
        def paths(self) -> frozenset[str]:
            return frozenset({str(tmp_path / "link" / "new.bin.part")})

    (tmp_path / "link").symlink_to(tmp_path / "model")
    with pytest.raises(TargetError, match="being downloaded"):
        unshare(Keeper(catalog, Busy(), Limits()), tmp_path / "model", ())
    assert len(list(catalog.all_files())) == 5


def test_target_when_it_is_a_cid_or_a_path_then_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cid = Cid.raw_sha256(bytes(32))
    assert parse_unshare_target(str(cid)) == cid
    assert parse_unshare_target(f"./{cid}") == tmp_path / str(cid)
    (tmp_path / str(cid)).mkdir()
    assert parse_unshare_target(str(cid)) == tmp_path / str(cid)
    for wrong in ("", "hf:org/name"):
        with pytest.raises(TargetError):
            parse_unshare_target(wrong)

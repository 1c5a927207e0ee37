from __future__ import annotations

import os
from pathlib import Path

import pytest

from mirrornode.content.cid import RAW, Cid
from mirrornode.content.leaf_form import LeafForm
from mirrornode.content.recipe import UNIXFS_V0_2015, UNIXFS_V1_2025, recipe_from
from mirrornode.store.announcements import sha256_multihash
from mirrornode.store.catalog import Catalog
from mirrornode.store.files import profile_key
from mirrornode.store.records import FileRecord
from mirrornode.store.stamps import FileStamp
from support.shared_files import SMALL_CHUNKS, content, digests_of, overwrite, record, write


def _queued(catalog: Catalog) -> set[bytes]:
    return {item.multihash for item in catalog.due_announcements(1.0, 1000)}


def test_record_file_when_many_leaves_then_each_is_found_where_it_lies(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "model.bin", content(10_500))
    record(catalog, path, SMALL_CHUNKS)
    digests = digests_of(path, SMALL_CHUNKS)
    found = catalog.find_leaves(digests.multihashes)
    places = [found[multihash] for multihash in digests.multihashes]
    assert [place.offset for place in places] == list(range(0, 10_001, 1000))
    assert [place.length for place in places] == [1000] * 10 + [500]
    assert {(place.path, place.form, place.stamp) for place in places} == {
        (path, LeafForm.RAW, FileStamp.of(path))
    }


def test_find_leaves_when_more_than_one_batch_then_all_are_found(
    catalog: Catalog, tmp_path: Path
) -> None:
    recipe = recipe_from(chunker="size-10")
    path = write(tmp_path / "f", content(12_345))
    record(catalog, path, recipe)
    digests = digests_of(path, recipe)
    assert len(catalog.find_leaves(digests.multihashes)) == len(set(digests.multihashes)) == 1235


def test_find_leaf_when_two_files_hold_it_then_it_survives_the_loss_of_one(
    catalog: Catalog, tmp_path: Path
) -> None:
    paths = [write(tmp_path / name, content(2500)) for name in "ab"]
    for path in paths:
        record(catalog, path, SMALL_CHUNKS)
    leaf = digests_of(paths[0], SMALL_CHUNKS).multihashes[1]
    catalog.mark_changed(paths[0], "changed")
    found = catalog.find_leaf(leaf)
    assert found is not None
    assert found.path == paths[1]
    catalog.mark_changed(paths[1], "missing")
    assert catalog.find_leaf(leaf) is None
    assert catalog.known_leaves([leaf]) == {leaf}


def test_find_file_when_asked_by_root_or_by_sha256_then_the_same_file(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", content(5000))
    dag = record(catalog, path, SMALL_CHUNKS)
    digests = digests_of(path)
    alias = sha256_multihash(digests.sha256)
    by_root, by_alias = catalog.find_file(dag.root.multihash), catalog.find_file(alias)
    assert by_root is not None
    assert by_root == by_alias
    assert (by_root.path, by_root.cid, by_root.size_bytes) == (path, dag.root, 5000)
    assert (by_root.sha256, by_root.git_sha1) == (digests.sha256, digests.git_sha1)
    assert (by_root.leaves, by_root.state) == (5, "ok")
    assert catalog.find_alias(alias) == dag.root
    assert catalog.find_alias(dag.root.multihash) is None


def test_mark_changed_when_marked_then_not_found_and_not_announced(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", content(5000))
    dag = record(catalog, path, SMALL_CHUNKS)
    alias = sha256_multihash(digests_of(path).sha256)
    catalog.enqueue_announcements([dag.root.multihash, alias, b"other"])
    catalog.mark_changed(path, "changed")
    assert catalog.find_file(dag.root.multihash) is None
    assert catalog.find_alias(alias) is None
    assert _queued(catalog) == {b"other"}
    known = catalog.known_file(path, SMALL_CHUNKS)
    assert known is not None
    assert known.state == "changed"


def test_mark_changed_when_another_file_has_the_content_then_still_announced(
    catalog: Catalog, tmp_path: Path
) -> None:
    paths = [write(tmp_path / name, content(5000)) for name in "ab"]
    dag, _ = (record(catalog, path) for path in paths)
    catalog.enqueue_announcements([dag.root.multihash])
    catalog.mark_changed(paths[0], "missing")
    assert _queued(catalog) == {dag.root.multihash}
    catalog.mark_changed(paths[1], "missing")
    assert _queued(catalog) == set()


def test_record_file_when_recorded_again_then_marked_file_is_found(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", content(100))
    dag = record(catalog, path)
    catalog.mark_changed(path, "changed")
    record(catalog, path)
    assert catalog.find_file(dag.root.multihash) is not None


def test_record_file_when_content_changed_then_old_names_are_gone(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", content(5000))
    old = record(catalog, path, SMALL_CHUNKS)
    old_leaf = digests_of(path, SMALL_CHUNKS).multihashes[0]
    catalog.enqueue_announcements([old.root.multihash])
    overwrite(path, content(4000))
    record(catalog, path, SMALL_CHUNKS)
    assert catalog.find_file(old.root.multihash) is None
    assert catalog.known_leaves([old_leaf]) == set()
    assert _queued(catalog) == set()


def test_record_file_when_under_two_recipes_then_both_are_kept_until_it_changes(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", content(2_000_000))
    first, second = record(catalog, path, UNIXFS_V1_2025), record(catalog, path, UNIXFS_V0_2015)
    assert catalog.find_file(first.root.multihash) is not None
    assert catalog.find_file(second.root.multihash) is not None
    assert catalog.file_totals() == (1, 2_000_000)
    overwrite(path, content(1_999_999))
    record(catalog, path, UNIXFS_V1_2025)
    assert catalog.find_file(second.root.multihash) is None


def test_record_file_when_called_as_get_does_then_holes_are_kept(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", content(300))
    leaves = [sha256_multihash(bytes([n]) * 32) for n in (1, 2)]
    root = Cid.v1(RAW, sha256_multihash(b"\3" * 32))
    catalog.record_file(
        path, FileStamp.of(path), root, 300, LeafForm.RAW, leaves, [100, 50], starts=[0, 250]
    )
    found = catalog.find_leaf(leaves[1])
    assert found is not None
    assert (found.offset, found.length) == (250, 50)
    [waiting] = catalog.files_without_sha256(10)
    assert waiting.path == path
    catalog.set_file_digests(path, b"\4" * 32, None)
    assert catalog.files_without_sha256(10) == []
    assert catalog.find_alias(sha256_multihash(b"\4" * 32)) == root
    catalog.set_file_digests(tmp_path / "forgotten", b"\5" * 32, None)
    queued = {one.multihash for one in catalog.due_announcements(1.0, 10)}
    assert queued == {sha256_multihash(b"\4" * 32)}


def test_record_files_when_one_fails_then_none_is_recorded(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", content(100))
    digests = digests_of(path)
    root = Cid.v1(RAW, digests.multihashes[0])

    def made(lengths: list[int]) -> FileRecord:
        return FileRecord(path, digests.stamp, root, LeafForm.RAW, digests.multihashes, lengths, "")

    with pytest.raises(ValueError, match="zip"):
        catalog.record_files([made([100]), made([50, 50])])
    assert catalog.find_file(root.multihash) is None


def test_known_file_when_recipe_differs_then_unknown(catalog: Catalog, tmp_path: Path) -> None:
    path = write(tmp_path / "f", content(100))
    record(catalog, path, recipe_from(chunker="size-50"))
    assert catalog.known_file(path, recipe_from(chunker="size-50")) is not None
    assert catalog.known_file(path, recipe_from(chunker="size-51")) is None
    assert catalog.known_file(path, UNIXFS_V1_2025) is None


def test_profile_key_when_a_parameter_differs_then_the_key_differs() -> None:
    recipes = [
        UNIXFS_V1_2025,
        UNIXFS_V0_2015,
        recipe_from(chunker="size-50"),
        recipe_from(chunker="size-50", max_links=3),
        recipe_from(chunker="size-50", raw_leaves=False),
        recipe_from(chunker="size-50", cid_version=0, raw_leaves=True),
    ]
    assert len({profile_key(recipe) for recipe in recipes}) == len(recipes)


def test_record_file_when_name_is_not_utf8_then_path_survives(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")), content(10))
    dag = record(catalog, path)
    found = catalog.find_file(dag.root.multihash)
    assert found is not None
    assert found.path == path


def test_all_files_when_more_than_one_page_then_each_once(catalog: Catalog, tmp_path: Path) -> None:
    path = write(tmp_path / "f", b"same")
    digests = digests_of(path)
    root = Cid.v1(RAW, digests.multihashes[0])
    catalog.record_files(
        FileRecord(
            tmp_path / f"f{n}", digests.stamp, root, LeafForm.RAW, digests.multihashes, [4], ""
        )
        for n in range(2500)
    )
    assert len({file.path for file in catalog.all_files()}) == 2500
    assert catalog.file_totals() == (2500, 10_000)


def test_record_file_when_hundred_thousand_leaves_then_all_are_kept(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", b"")
    leaves = [sha256_multihash(n.to_bytes(32, "big")) for n in range(100_000)]
    root = Cid.v1(RAW, leaves[0])
    catalog.record_file(
        path, FileStamp.of(path), root, 0, LeafForm.RAW, leaves, [1 << 20] * len(leaves)
    )
    stored = catalog.find_file(root.multihash)
    assert stored is not None
    assert catalog.leaves_of(stored, 99_999, 200_000) == [(99_999 << 20, 1 << 20, leaves[99_999])]
    catalog.record_file(path, FileStamp.of(path), root, 0, LeafForm.RAW, leaves[:1], [0])
    assert catalog.known_leaves(leaves) == set(leaves[:1])

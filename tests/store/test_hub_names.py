"""Repos, refs, revisions and trees in the catalog."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.store.hub_records import HubRef
from mirrornode.store.stamps import FileStamp
from mirrornode.wire.hub import HubFile, Repo
from support.hub_trees import large_tree, lfs_file, small_file

REPO = Repo("model", "org/name")
DATA = Repo("dataset", "org/name")
HUB, PEER = "hub:huggingface.co", "peer:12D3KooX"
ONE, TWO = "1" * 40, "2" * 40


def see(
    catalog: Catalog,
    repo: Repo = REPO,
    *,
    canonical: Repo | None = None,
    is_private: bool = False,
    gated: str = "",
    at: float = 1.0,
) -> int:
    return catalog.put_hub_sight(
        repo, canonical=canonical or repo, is_private=is_private, gated=gated, checked_at=at
    )


def test_refs_when_the_catalog_is_opened_again_then_they_are_there(home: Path) -> None:
    with open_catalog(home) as catalog:
        catalog.put_hub_ref(REPO, "main", ONE, HUB, seen_at=5.0)
    with open_catalog(home) as catalog:
        assert catalog.hub_ref(REPO, "main") == HubRef(ONE, 5.0, HUB)
        assert catalog.hub_ref(DATA, "main") is None
        assert catalog.hub_refs(REPO) == {"main": HubRef(ONE, 5.0, HUB)}


def test_put_ref_when_the_look_is_older_then_the_newer_stays(catalog: Catalog) -> None:
    catalog.put_hub_ref(REPO, "main", TWO, HUB, seen_at=9.0)
    catalog.put_hub_ref(REPO, "main", ONE, PEER, seen_at=8.0)
    assert catalog.hub_ref(REPO, "main") == HubRef(TWO, 9.0, HUB)
    catalog.put_hub_ref(REPO, "main", ONE, HUB, seen_at=10.0)
    assert catalog.hub_ref(REPO, "main") == HubRef(ONE, 10.0, HUB)


def test_drop_ref_when_seen_later_then_it_stays(catalog: Catalog) -> None:
    catalog.put_hub_ref(REPO, "main", ONE, HUB, seen_at=9.0)
    catalog.drop_hub_ref(REPO, "main", 8.0)
    assert catalog.hub_ref(REPO, "main") is not None
    catalog.drop_hub_ref(REPO, "main", 9.0)
    assert catalog.hub_ref(REPO, "main") is None


def test_revision_when_recorded_then_info_and_tree_come_back(catalog: Catalog) -> None:
    info = {"id": "org/name", "sha": ONE, "cardData": {"license": "mit", "note": "ü"}}
    catalog.put_hub_revision(REPO, ONE, info, HUB, recorded_at=3.0)
    known = catalog.hub_revision(REPO, ONE)
    assert known is not None
    assert (known.info, known.files, known.vouched_by) == (info, None, HUB)
    files = (lfs_file("w/model.bin", 7, "a"), small_file("config.json", 3, "b"))
    assert catalog.put_hub_tree(REPO, ONE, files, HUB)
    known = catalog.hub_revision(REPO, ONE)
    assert known is not None
    assert set(known.files or ()) == set(files)
    assert known.tree_vouched_by == HUB
    bare = catalog.hub_revision(REPO, ONE, with_files=False)
    assert bare is not None
    assert bare.files is None
    assert catalog.hub_revision(DATA, ONE) is None


def test_put_tree_when_it_is_empty_then_it_is_known_to_be_empty(catalog: Catalog) -> None:
    catalog.put_hub_revision(REPO, ONE, {}, HUB, recorded_at=3.0)
    catalog.put_hub_tree(REPO, ONE, (), HUB)
    known = catalog.hub_revision(REPO, ONE)
    assert known is not None
    assert known.files == ()


def test_put_tree_when_the_commit_is_unknown_then_nothing_is_kept(catalog: Catalog) -> None:
    assert not catalog.put_hub_tree(REPO, ONE, (small_file("a", 1, "a"),), HUB)
    assert catalog.hub_revision(REPO, ONE) is None


def test_put_tree_when_a_peer_speaks_then_an_origins_tree_is_never_replaced(
    catalog: Catalog,
) -> None:
    true, false = (small_file("a", 1, "a"),), (small_file("a", 1, "b"),)
    catalog.put_hub_revision(REPO, ONE, {"by": "origin"}, HUB, recorded_at=3.0)
    catalog.put_hub_tree(REPO, ONE, true, HUB)
    catalog.put_hub_revision(REPO, ONE, {"by": "peer"}, PEER, recorded_at=9.0)
    assert not catalog.put_hub_tree(REPO, ONE, false, PEER)
    known = catalog.hub_revision(REPO, ONE)
    assert known is not None
    assert (known.files, known.info, known.vouched_by) == (true, {"by": "origin"}, HUB)


def test_put_tree_when_the_origin_speaks_then_a_peers_tree_is_replaced(catalog: Catalog) -> None:
    true, false = (small_file("a", 1, "a"),), (small_file("a", 1, "b"), small_file("z", 1, "c"))
    catalog.put_hub_revision(REPO, ONE, {"by": "peer"}, PEER, recorded_at=9.0)
    catalog.put_hub_tree(REPO, ONE, false, PEER)
    catalog.put_hub_revision(REPO, ONE, {"by": "origin"}, HUB, recorded_at=3.0)
    assert catalog.put_hub_tree(REPO, ONE, true, HUB)
    known = catalog.hub_revision(REPO, ONE)
    assert known is not None
    assert (known.files, known.info, known.tree_vouched_by) == (true, {"by": "origin"}, HUB)


def test_put_tree_when_it_has_fifty_thousand_files_then_all_come_back(catalog: Catalog) -> None:
    files = large_tree(50_000)
    catalog.put_hub_revision(REPO, ONE, {}, HUB, recorded_at=3.0)
    catalog.put_hub_tree(REPO, ONE, files, HUB)
    known = catalog.hub_revision(REPO, ONE)
    assert known is not None
    assert known.files == tuple(sorted(files, key=lambda file: file.path))


def test_commits_starting_when_short_hash_is_ambiguous_then_two(catalog: Catalog) -> None:
    first, second = "abc1" + "0" * 36, "abc2" + "0" * 36
    for commit in (first, second):
        catalog.put_hub_revision(REPO, commit, {}, HUB, recorded_at=3.0)
    assert catalog.hub_commits_starting(REPO, "abc1") == [first]
    assert len(catalog.hub_commits_starting(REPO, "abc")) == 2
    assert catalog.hub_commits_starting(DATA, "abc1") == []


def test_sight_when_an_older_look_arrives_then_the_newer_stays(catalog: Catalog) -> None:
    assert catalog.hub_sight(REPO) is None
    see(catalog, gated="auto", at=5.0)
    see(catalog, at=4.0)
    sight = catalog.hub_sight(REPO)
    assert sight is not None
    assert (sight.gated, sight.is_open, sight.checked_at) == ("auto", False, 5.0)


def test_sight_when_a_repo_was_renamed_then_all_its_names_close(catalog: Catalog) -> None:
    old = Repo("model", "old/name")
    see(catalog, old, canonical=REPO, at=1.0)
    see(catalog, REPO, at=2.0)
    assert catalog.hub_former_names(REPO) == [old]
    see(catalog, REPO, is_private=True, at=3.0)
    sight = catalog.hub_sight(old)
    assert sight is not None
    assert sight.is_private


def test_listing_when_some_files_are_here_then_completeness_is_told(
    catalog: Catalog, tmp_path: Path
) -> None:
    here, there = lfs_file("a.bin", 10, "a"), lfs_file("b.bin", 30, "b")
    see(catalog, gated="manual", at=2.0)
    catalog.put_hub_revision(REPO, ONE, {"n": 1}, HUB, recorded_at=3.0)
    catalog.put_hub_tree(REPO, ONE, (here, there), HUB)
    catalog.put_hub_revision(REPO, TWO, {"n": 2}, HUB, recorded_at=4.0)
    catalog.put_hub_ref(REPO, "main", ONE, HUB, seen_at=3.0)
    catalog.put_hub_ref(REPO, "v1", ONE, HUB, seen_at=3.0)
    for name in "xy":  # twice on disk, counted once
        catalog.put_hub_blob(
            here.etag, tmp_path / name, FileStamp(10, 1, 1), is_open=False, is_managed=False
        )
    second, first = catalog.hub_revisions()
    assert (second.commit, second.files, second.refs) == (TWO, None, ())
    assert (first.commit, first.refs, first.info) == (ONE, ("main", "v1"), {"n": 1})
    assert (first.files, first.size_bytes, first.files_here, first.bytes_here) == (2, 40, 1, 10)
    assert first.sight is not None
    assert first.sight.gated == "manual"


@pytest.mark.parametrize("writers", [4])
def test_put_tree_when_threads_write_at_once_then_each_tree_is_whole(
    catalog: Catalog, writers: int
) -> None:
    trees: dict[str, tuple[HubFile, ...]] = {
        f"{number:040x}": tuple(small_file(f"{number}/{n:03}", n, f"{number}") for n in range(200))
        for number in range(writers)
    }

    def write(commit: str) -> None:
        catalog.put_hub_revision(REPO, commit, {}, HUB, recorded_at=1.0)
        catalog.put_hub_tree(REPO, commit, trees[commit], HUB)

    threads = [threading.Thread(target=write, args=(commit,)) for commit in trees]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for commit, files in trees.items():
        known = catalog.hub_revision(REPO, commit)
        assert known is not None
        assert known.files == files

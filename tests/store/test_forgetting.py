"""A catalog that keeps no requests: what is known lives in memory, what is pinned on the disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from mirrornode.store.catalog import CATALOG_NAME, Catalog, open_catalog
from mirrornode.store.database import Database
from mirrornode.store.forgetting import MAX_REVISIONS
from mirrornode.store.hub_records import KeptAnswer
from mirrornode.store.records import MirrorUse
from mirrornode.store.sync import SyncState
from mirrornode.wire.hub import HubFile, Repo

ORCHID, HERON = Repo("model", "acme/orchid"), Repo("model", "acme/heron")
COMMIT = "a" * 40
FILE = HubFile("zebra.bin", 5, "b" * 40, "c" * 64)
TOKEN = b"t" * 32


def learn(catalog: Catalog, repo: Repo, *files: HubFile) -> None:
    """Have a catalog know what an origin says of a repo."""
    catalog.put_hub_sight(repo, canonical=repo, is_private=False, gated="", checked_at=1.0)
    catalog.put_hub_ref(repo, "main", COMMIT, "hub:x", seen_at=1.0)
    catalog.put_hub_revision(repo, COMMIT, {"id": repo.name}, "hub:x")
    catalog.put_hub_tree(repo, COMMIT, files, "hub:x")
    catalog.put_grant(TOKEN, repo, True, 1.0)
    catalog.put_hub_answer(f"/api/models/{repo.name}/refs", repo, KeptAnswer({}, [], "hub:x", 1.0))


def is_written(home: Path, *words: bytes) -> bool:
    """Tell whether a word is in any file of a home, deleted or not."""
    return any(word in path.read_bytes() for path in home.iterdir() for word in words)


def test_names_when_no_requests_are_kept_then_known_until_the_end_and_never_written(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    with open_catalog(home, keeps_requests=False) as catalog:
        learn(catalog, ORCHID, FILE)
        assert catalog.hub_sight(ORCHID) is not None
        assert catalog.is_vouched_open(FILE.etag)
        grant = catalog.grant(TOKEN, ORCHID)
        assert grant is not None
        assert grant.is_allowed
        assert not is_written(home, b"orchid", b"zebra", TOKEN)
    assert not is_written(home, b"orchid", b"zebra", TOKEN)
    with open_catalog(home, keeps_requests=False) as catalog:
        assert catalog.hub_sight(ORCHID) is None


def test_names_when_requests_were_kept_before_then_nothing_of_them_is_left(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with open_catalog(home) as catalog:
        learn(catalog, ORCHID, FILE)
    assert is_written(home, b"orchid")
    with open_catalog(home, keeps_requests=False) as catalog:
        assert catalog.hub_sight(ORCHID) is None
        assert not is_written(home, b"orchid", b"zebra", TOKEN)
    with open_catalog(home) as catalog:  # and back again
        learn(catalog, ORCHID, FILE)
    with open_catalog(home) as catalog:
        assert catalog.hub_sight(ORCHID) is not None


def test_names_when_pinned_then_outlive_the_process_and_go_with_the_pin(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with open_catalog(home, keeps_requests=False) as catalog:
        learn(catalog, HERON)
        learn(catalog, ORCHID, FILE)
        catalog.put_hub_ref(ORCHID, "asked-once", "d" * 40, "hub:x", seen_at=1.0)
        catalog.pin_hub(ORCHID, COMMIT)
    for _ in range(2):
        with open_catalog(home, keeps_requests=False) as catalog:
            assert catalog.hub_sight(ORCHID) is not None
            assert catalog.hub_ref(ORCHID, "main") is not None
            assert catalog.is_vouched_open(FILE.etag)
            assert catalog.hub_ref(ORCHID, "asked-once") is None
            assert catalog.hub_sight(HERON) is None
            assert catalog.grant(TOKEN, ORCHID) is None
            assert not is_written(home, b"heron", TOKEN)
            assert is_written(home, b"orchid")
            learn(catalog, HERON)
    with open_catalog(home, keeps_requests=False) as catalog:
        catalog.unpin("hf:acme/orchid@" + COMMIT)
        assert not catalog.pins()
        rows = sqlite3.connect(home / CATALOG_NAME)
        counts = [rows.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                  for table in ("hub_repos", "hub_refs", "hub_revisions", "hub_files")]  # fmt: skip
        rows.close()
        assert counts == [0, 0, 0, 0]


def test_names_when_the_tree_comes_after_the_pin_then_it_is_kept_with_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with open_catalog(home, keeps_requests=False) as catalog:
        catalog.pin_hub(ORCHID, COMMIT)
        learn(catalog, ORCHID, FILE)
    with open_catalog(home, keeps_requests=False) as catalog:
        assert catalog.is_vouched_open(FILE.etag)


def test_write_when_it_fails_then_names_in_memory_are_undone_with_the_file(tmp_path: Path) -> None:
    with open_catalog(tmp_path / "home", keeps_requests=False) as catalog:
        catalog.pin_hub(ORCHID, COMMIT)
        with pytest.raises(sqlite3.IntegrityError):
            catalog.put_hub_sight(
                ORCHID,
                canonical=ORCHID,
                is_private=False,
                gated=None,  # type: ignore[arg-type]  # refused by the table, which is the point
                checked_at=1.0,
            )
        assert catalog.hub_sight(ORCHID) is None
        learn(catalog, ORCHID)
        assert catalog.hub_sight(ORCHID) is not None


def test_names_when_more_than_memory_should_hold_then_the_oldest_go_but_for_pinned_ones(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    with open_catalog(home, keeps_requests=False) as catalog:
        learn(catalog, ORCHID, FILE)
        learn(catalog, HERON, FILE)
        catalog.pin_hub(ORCHID, COMMIT)
    database = Database(home / CATALOG_NAME, keeps_requests=False)
    rows = [("model:a/b", number.to_bytes(20, "big")) for number in range(MAX_REVISIONS + 5)]
    with database.write() as connection:
        connection.executemany(
            "INSERT INTO hub_revisions (repo, commit_id, info, vouched_by, recorded_at)"
            " VALUES (?, ?, '', 'hub:x', 0)",
            rows,
        )
    with database.read() as connection:
        left = [tuple(row) for row in connection.execute(
            "SELECT repo, commit_id FROM hub_revisions ORDER BY id")]  # fmt: skip
        files = connection.execute("SELECT count(*) FROM hub_files").fetchone()[0]
    database.close()
    assert left == [("model:acme/orchid", bytes.fromhex(COMMIT)), *rows[5:]]
    assert files == 1


def test_syncs_when_no_requests_are_kept_then_written_only_while_they_are_pinned(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    target, other = "hf:acme/orchid", "hf:acme/heron"
    with open_catalog(home, keeps_requests=False) as catalog:
        catalog.put_sync_state(SyncState(target, outcome="ok", ok_at=5.0))
        catalog.put_sync_state(SyncState(other, outcome="failed"))
        assert len(catalog.sync_states()) == 2
        assert not is_written(home, b"orchid", b"heron")
        pin = catalog.pin_hub(ORCHID, COMMIT, "", f"sync:{target}")
        assert is_written(home, b"orchid")
    with open_catalog(home, keeps_requests=False) as catalog:
        assert [(one.target, one.ok_at) for one in catalog.sync_states()] == [(target, 5.0)]
        catalog.put_sync_state(SyncState(target, outcome="failed", ok_at=6.0))
    with open_catalog(home, keeps_requests=False) as catalog:
        assert [(one.outcome, one.ok_at) for one in catalog.sync_states()] == [("failed", 6.0)]
        catalog.unpin(pin.target, pin.name)
    assert not is_written(home, b"orchid")
    with open_catalog(home, keeps_requests=False) as catalog:
        assert catalog.sync_states() == []


def test_mirrors_when_no_requests_are_kept_then_how_they_did_is_in_memory(tmp_path: Path) -> None:
    home, name = tmp_path / "home", "http://magpie.example/"
    use = MirrorUse(name, 1.0, 5, 1.0, None, "ok")
    with open_catalog(home) as catalog:
        catalog.note_mirror_uses([use])
    assert is_written(home, b"magpie")
    with open_catalog(home, keeps_requests=False) as catalog:
        assert catalog.mirror_uses([name]) == {name: []}
        catalog.note_mirror_uses([use])
        assert catalog.mirror_uses([name]) == {name: [use]}
        assert not is_written(home, b"magpie")

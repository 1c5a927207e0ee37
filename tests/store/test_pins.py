"""Pins: made, found, taken back; and what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrornode.content.cid import Cid
from mirrornode.store.catalog import Catalog
from mirrornode.store.pins import HUB, RECURSIVE
from mirrornode.store.stamps import FileStamp
from mirrornode.wire.hub import HubFile, Repo
from support.shared_files import content, record, record_root, write

COMMIT = "c" * 40
REPO = Repo("model", "org/name")


def test_pin_when_made_under_two_names_then_kept_until_both_are_gone(
    catalog: Catalog, tmp_path: Path
) -> None:
    root = record(catalog, write(tmp_path / "file", content(10))).root
    catalog.pin(root, "a", now=1.0)
    catalog.pin(root, "b", replicas=2, now=2.0)
    assert [(pin.name, pin.replicas, pin.kind) for pin in catalog.pins()] == [
        ("a", 0, RECURSIVE),
        ("b", 2, RECURSIVE),
    ]
    assert catalog.unpin(str(root), "a") == 1
    assert catalog.is_pinned(root.multihash)
    assert catalog.unpin(str(root)) == 1
    assert not catalog.is_pinned(root.multihash)
    assert catalog.unpin(str(root)) == 0


def test_pin_when_made_again_then_one_pin_with_the_new_replicas(catalog: Catalog) -> None:
    root = Cid.raw_sha256(bytes(32))
    first = catalog.pin(root, size_bytes=5, replicas=1)
    again = catalog.pin(root, replicas=3)
    assert (again.id, again.replicas, again.size_bytes) == (first.id, 3, 5)


def test_unpin_when_the_cid_is_spelt_otherwise_then_found(catalog: Catalog) -> None:
    root = Cid.v1(0x70, b"\x12\x20" + bytes(32))
    catalog.pin(root)
    assert catalog.unpin(str(Cid(0, 0x70, root.multihash))) == 1


def test_pin_when_made_for_a_peer_then_apart_from_the_users(catalog: Catalog) -> None:
    root = Cid.raw_sha256(bytes(32))
    catalog.pin(root)
    catalog.pin(root, "replica of x", owner="x")
    assert catalog.unpin(str(root)) == 1
    assert [pin.owner for pin in catalog.pins()] == ["x"]
    assert catalog.pins(owner="") == []
    assert catalog.find_pin(str(root), owner="x") is not None
    assert catalog.find_pin(str(root), owner="y") is None


def test_pin_when_a_folder_is_pinned_then_its_files_are(catalog: Catalog, tmp_path: Path) -> None:
    paths = (tmp_path / "m" / "a", tmp_path / "m" / "b")
    files = {path: record(catalog, write(path, content(n))) for n, path in enumerate(paths, 10)}
    record_root(catalog, tmp_path / "m", files)
    (root,) = catalog.roots()
    catalog.pin(root.cid)
    assert all(catalog.is_pinned(dag.root.multihash) for dag in files.values())


def test_pin_when_of_the_hub_then_files_of_the_commit_at_that_path_are(
    catalog: Catalog, home: Path
) -> None:
    blobs = {}
    for number, name in enumerate(("a", "d/b"), 20):
        path = write(home / "hub" / name, content(number))
        blobs[name] = record(catalog, path)
        digest = blobs[name].root.digest.hex()  # one raw leaf: the hash of the whole
        catalog.put_hub_blob(digest, path, FileStamp.of(path), is_open=True, is_managed=True)
    files = [HubFile(n, 1, "0" * 40, dag.root.digest.hex()) for n, dag in blobs.items()]
    catalog.put_hub_revision(REPO, COMMIT, {}, "hub:test")
    catalog.put_hub_tree(REPO, COMMIT, files, "hub:test")
    pin = catalog.pin_hub(REPO, COMMIT, "d", "why")
    assert (pin.target, pin.kind, pin.repo, pin.commit) == (
        f"hf:org/name@{COMMIT}/d", HUB, REPO, COMMIT,
    )  # fmt: skip
    assert [catalog.is_pinned(blobs[name].root.multihash) for name in ("a", "d/b")] == [False, True]
    assert catalog.unpin(pin.target) == 1


def test_pin_when_the_kind_is_unknown_then_refused(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match="not pinned as"):
        catalog.pin(Cid.raw_sha256(bytes(32)), kind="direct")

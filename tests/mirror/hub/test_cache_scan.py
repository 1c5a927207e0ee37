"""What a look through a cache finds, and what it does not use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mirrornode.errors import TargetError
from mirrornode.mirror.hub.cache_scan import scan_cache
from mirrornode.wire.hub import Repo
from support.hub_origin import Blob, StandInHub, running_hub
from support.hub_parts import blob_of, write_cache
from support.hub_repos import HeldRepo

FILES: dict[str, bytes | Blob] = {"config.json": b"{}", "sub/model.safetensors": Blob(5000, 1)}


@pytest.fixture
def repo(tmp_path: Path) -> HeldRepo:
    with running_hub(folder=tmp_path) as hub:
        return add(hub)


def add(hub: StandInHub) -> HeldRepo:
    return hub.add_model("org/name", FILES)


def test_scan_when_a_client_wrote_it_then_refs_snapshots_and_blobs(
    tmp_path: Path, repo: HeldRepo
) -> None:
    cache = tmp_path / "hub"
    write_cache(cache, repo)
    for name in ("CACHEDIR.TAG", "version.txt", ".locks"):
        (cache / name).write_text("")
    report = scan_cache(cache)
    assert report.problems == []
    [found] = report.repos
    assert found.repo == Repo("model", "org/name")
    assert found.refs == {"main": repo.sha}
    etags = {path: blob_of(cache, repo, path).name for path in FILES}
    assert found.snapshots == {repo.sha: etags}
    assert {etag: blob.path for etag, blob in found.blobs.items()} == {
        blob.name: blob for blob in (blob_of(cache, repo, path) for path in FILES)
    }


def test_scan_when_things_are_broken_then_named_and_not_used(
    tmp_path: Path, repo: HeldRepo
) -> None:
    cache = tmp_path / "hub"
    snapshot = write_cache(cache, repo)
    blobs = snapshot.parents[1] / "blobs"
    blob_of(cache, repo, "config.json").unlink()
    outside = tmp_path / "outside"
    outside.write_bytes(b"x")
    (blobs / ("a" * 64)).symlink_to(outside)
    (blobs / ("b" * 64 + ".1234abcd.incomplete")).write_bytes(b"half")
    (blobs / "notes.txt").write_bytes(b"")
    os.mkfifo(blobs / ("c" * 40))
    (snapshot / "own.txt").write_text("not a link")
    (snapshot.parents[1] / "refs" / "bad").write_text("none")
    (snapshot.parent / "latest").mkdir()
    (cache / "models--org--na--me").mkdir()
    (cache / "stray.bin").write_bytes(b"")
    report = scan_cache(cache)
    [found] = report.repos
    assert list(found.blobs) == [blob_of(cache, repo, "sub/model.safetensors").name]
    assert list(found.snapshots[repo.sha]) == ["sub/model.safetensors"]
    assert found.refs == {"main": repo.sha}
    reasons = {problem.path.name: problem.reason for problem in report.problems}
    assert reasons == {
        "a" * 64: "is no file, leads nowhere, or leads out of the cache",
        "c" * 40: "is no file, leads nowhere, or leads out of the cache",
        "b" * 64 + ".1234abcd.incomplete": "is an unfinished download",
        "notes.txt": "is not named by a hash",
        "config.json": "leads to a blob that is not there",
        "own.txt": "is no link to a blob",
        "bad": "does not name a commit",
        "latest": "is not named by a commit",
        "models--org--na--me": "is not named like a repo",
        "stray.bin": "belongs to no repo",
    }


def test_scan_when_clients_share_blobs_among_repos_then_followed_inside_the_cache(
    tmp_path: Path, repo: HeldRepo
) -> None:
    cache = tmp_path / "hub"
    write_cache(cache, repo)
    blob = blob_of(cache, repo, "sub/model.safetensors")
    shared = cache / "blobs" / "ab" / ("ab" * 32)
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(os.path.relpath(shared, blob.parent))
    report = scan_cache(cache)
    assert report.problems == []
    assert report.repos[0].blobs[blob.name].path == shared


def test_scan_when_the_cache_is_a_link_then_its_content_counts_as_inside(
    tmp_path: Path, repo: HeldRepo
) -> None:
    write_cache(tmp_path / "real", repo)
    (tmp_path / "hub").symlink_to(tmp_path / "real")
    report = scan_cache(tmp_path / "hub")
    assert not report.problems
    assert len(report.repos[0].blobs) == len(FILES)


def test_scan_when_there_is_no_cache_then_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="HF_HOME"):
        scan_cache(tmp_path / "none")


def test_scan_writes_and_locks_nothing(tmp_path: Path, repo: HeldRepo) -> None:
    cache = tmp_path / "hub"
    write_cache(cache, repo)
    before = {path: path.lstat().st_mtime_ns for path in cache.rglob("*")}
    scan_cache(cache)
    assert {path: path.lstat().st_mtime_ns for path in cache.rglob("*")} == before

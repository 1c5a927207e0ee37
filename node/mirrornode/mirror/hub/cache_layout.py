"""The cache folder of the Hub's own clients: its names, and writing a snapshot they take as theirs.

    models--org--name/blobs/<etag>            the content
                      snapshots/<commit>/...  symlinks to it
                      refs/<branch>           a commit, without a newline

A snapshot written like this is used by every client version without a single download.
Spec: huggingface.co/docs/hub/local-cache.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mirrornode.errors import PathRefused
from mirrornode.mirror.hub.placing import is_same_file, place
from mirrornode.transfer.outputs import write_error
from mirrornode.wire.hub import Repo, is_commit


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """One file of a snapshot: its path in the repo, its blob's name, and where it lies now."""

    path: str
    etag: str
    source: Path


def repo_folder(cache: Path, repo: Repo) -> Path:
    """Return the folder of a repo in a cache."""
    return cache / repo.cache_folder


def blob_path(cache: Path, repo: Repo, etag: str) -> Path:
    """Return where a cache keeps content."""
    return repo_folder(cache, repo) / "blobs" / etag


def snapshot_folder(cache: Path, repo: Repo, commit: str) -> Path:
    """Return where a cache shows a commit."""
    return repo_folder(cache, repo) / "snapshots" / commit


def write_snapshot(
    cache: Path, repo: Repo, revision: str, commit: str, files: Iterable[SnapshotFile]
) -> Path:
    """Put verified files into a cache and return the folder of the snapshot. Blocking.

    The ref is written last: it never names a snapshot that was not written.

    Raises:
        StoreError: The cache cannot be written.
    """
    snapshot = snapshot_folder(cache, repo, commit)
    for file in files:
        blob = blob_path(cache, repo, file.etag)
        if not is_same_file(blob, file.source):
            place(file.source, blob, shares_inode=True)
        _point(snapshot / file.path, blob)
    if not is_commit(revision):
        _write_ref(repo_folder(cache, repo) / "refs" / revision, commit)
    return snapshot


def _point(link: Path, blob: Path) -> None:
    """Make `link` a relative symlink to `blob`."""
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(blob, link.parent)
        if link.is_symlink() and os.readlink(link) == target:
            return
        if link.is_dir() and not link.is_symlink():
            raise PathRefused(link, "write", "a folder is in the way")
        part = link.with_name(f".{secrets.token_hex(8)}.part")
        part.symlink_to(target)
        os.replace(part, link)
    except OSError as exc:
        raise write_error(exc, link, 0) from exc


def _write_ref(path: Path, commit: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        part.write_text(commit, encoding="ascii")
        os.replace(part, path)
    except OSError as exc:
        raise write_error(exc, path, 0) from exc

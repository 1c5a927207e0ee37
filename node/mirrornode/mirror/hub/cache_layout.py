"""The cache folder of the Hub's own clients: its names, and writing what they take as their own.

    models--org--name/blobs/<etag>            the content
                      snapshots/<commit>/...  symlinks to it
                      refs/<branch>           a commit, without a newline

A snapshot written like this is used by every client version without a single download. The
clients' locks are not taken: whatever is written here appears whole, under a name that says what
it holds, so that a client which fetches the same just now puts the same in its place.
Spec: huggingface.co/docs/hub/local-cache.
"""

from __future__ import annotations

import os
from pathlib import Path

from mirrornode.mirror.hub.placing import point, write_text
from mirrornode.wire.hub import Repo, is_commit

TYPE_OF_FOLDER = {"models": "model", "datasets": "dataset", "spaces": "space"}
BLOBS = "blobs"
SNAPSHOTS = "snapshots"
REFS = "refs"


def repo_folder(cache: Path, repo: Repo) -> Path:
    """Return the folder of a repo in a cache."""
    return cache / repo.cache_folder


def blob_path(cache: Path, repo: Repo, etag: str) -> Path:
    """Return where a cache keeps content."""
    return repo_folder(cache, repo) / BLOBS / etag


def snapshot_folder(cache: Path, repo: Repo, commit: str) -> Path:
    """Return where a cache shows a commit."""
    return repo_folder(cache, repo) / SNAPSHOTS / commit


def show_file(cache: Path, repo: Repo, commit: str, path: str, etag: str) -> None:
    """Make a blob of a cache visible as a file of a commit.

    Raises:
        StoreError: The cache cannot be written.
    """
    point(snapshot_folder(cache, repo, commit) / path, blob_path(cache, repo, etag))


def write_ref(cache: Path, repo: Repo, revision: str, commit: str) -> None:
    """Note what a branch or tag means; after its files, so that it never names nothing.

    Raises:
        StoreError: The cache cannot be written.
    """
    if not is_commit(revision):
        write_text(repo_folder(cache, repo) / REFS / revision, commit)


def looks_like_cache(folder: Path) -> bool:
    """Tell whether a folder is a cache: it holds the folder of a repo."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _is_repo_name(entry.name)]
    except OSError:
        return False
    return any((folder / name / SNAPSHOTS).is_dir() for name in names)


def _is_repo_name(name: str) -> bool:
    kind, dashes, rest = name.partition("--")
    return kind in TYPE_OF_FOLDER and bool(dashes and rest)

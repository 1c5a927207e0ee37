"""What lies in a cache of the Hub's clients: repos, snapshots and blobs, and what is wrong there.

Names in a cache are claims: no client checks a hash, so content counts only after it was hashed
(`share`). Nothing is written or locked here: a client that downloads just now is not disturbed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mirrornode.errors import TargetError
from mirrornode.wire.hub import Repo, is_commit, is_etag

MAX_ENTRIES = 2_000_000  # of one cache: a bound for folders that are none
_TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a cache that is not used, and why."""

    path: Path
    reason: str


@dataclass(slots=True)
class CachedRepo:
    """One repo of a cache.

    Attributes:
        refs: Commit by ref.
        snapshots: By commit: blob by path in the repo. May be partial: a cache does not say.
        blobs: File by etag, each a regular file inside the cache.
    """

    repo: Repo
    refs: dict[str, str] = field(default_factory=dict)
    snapshots: dict[str, dict[str, Path]] = field(default_factory=dict)
    blobs: dict[str, Path] = field(default_factory=dict)


@dataclass(slots=True)
class CacheReport:
    """All of a cache."""

    repos: list[CachedRepo] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def scan_cache(cache: Path) -> CacheReport:
    """Look through a cache folder. Blocking.

    Raises:
        TargetError: There is no such folder.
    """
    report = CacheReport()
    if not cache.is_dir():
        raise TargetError(f"{cache} is no folder; set HF_HOME or HF_HUB_CACHE as for your tools")
    inside = cache.resolve()
    for folder in sorted(cache.iterdir()):
        kind, _, name = folder.name.partition("--")
        if kind not in _TYPES or not name or not folder.is_dir():
            continue
        try:
            repo = Repo(_TYPES[kind], name.replace("--", "/", 1))
        except TargetError:
            report.problems.append(Problem(folder, "is not named like a repo"))
            continue
        found = CachedRepo(repo)
        _scan_blobs(folder / "blobs", inside, found, report)
        _scan_snapshots(folder / "snapshots", found, report)
        _scan_refs(folder / "refs", found)
        report.repos.append(found)
    return report


def _scan_blobs(folder: Path, inside: Path, found: CachedRepo, report: CacheReport) -> None:
    for path in _children(folder):
        if path.name.endswith(".incomplete"):
            report.problems.append(Problem(path, "is an unfinished download"))
        elif not is_etag(path.name):
            report.problems.append(Problem(path, "is not named by a hash"))
        else:
            file = _file_inside(path, inside)
            if file is None:
                report.problems.append(Problem(path, "leads nowhere, or out of the cache"))
            else:
                found.blobs[path.name] = file


def _scan_snapshots(folder: Path, found: CachedRepo, report: CacheReport) -> None:
    for snapshot in _children(folder):
        if not is_commit(snapshot.name) or not snapshot.is_dir():
            continue
        files = found.snapshots.setdefault(snapshot.name, {})
        for path in _files_below(snapshot):
            name = path.relative_to(snapshot).as_posix()
            if not path.is_symlink():
                # Where links are not to be had, clients put the content itself here.
                report.problems.append(Problem(path, "is no link to a blob"))
                continue
            etag = Path(os.readlink(path)).name
            if etag in found.blobs:
                files[name] = found.blobs[etag]
            else:
                report.problems.append(Problem(path, "leads to a blob that is not there"))


def _scan_refs(folder: Path, found: CachedRepo) -> None:
    for path in _files_below(folder):
        try:
            commit = path.read_bytes()[:64].decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if is_commit(commit):
            found.refs[path.relative_to(folder).as_posix()] = commit


def _file_inside(path: Path, inside: Path) -> Path | None:
    """Return the regular file that a blob is or links to, when it lies inside the cache."""
    try:
        file = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    return file if file.is_file() and file.is_relative_to(inside) else None


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _files_below(folder: Path) -> Iterator[Path]:
    count = 0
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            count += 1
            if count > MAX_ENTRIES:
                return
            yield Path(root, name)

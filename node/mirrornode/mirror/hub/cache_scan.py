"""What lies in a cache of the Hub's clients: repos, snapshots and blobs, and what is wrong there.

Names in a cache are claims: no client checks a hash, so content counts only after it was hashed
(`share`). Nothing is written, locked or read here, only looked at: a client that downloads just now
is not disturbed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mirrornode.errors import TargetError
from mirrornode.mirror.hub.cache_layout import BLOBS, REFS, SNAPSHOTS, TYPE_OF_FOLDER
from mirrornode.store.stamps import FileStamp
from mirrornode.wire.hub import Repo, is_commit, is_etag

MAX_ENTRIES = 2_000_000  # of one cache: a bound for folders that are none
MAX_PROBLEMS = 10_000
MAX_REF_BYTES = 64

# What clients keep beside the repos; `.locks` and other hidden names besides. The shared blobs of
# `blobs/` are reached through the repos.
_THEIR_OWN = frozenset(
    {"CACHEDIR.TAG", "blobs", "version.txt", "version_diffusers_cache.txt", "xet"}
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a cache that is not used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class CachedBlob:
    """A regular file inside a cache that is said to hold some content."""

    path: Path
    stamp: FileStamp


@dataclass(slots=True)
class CachedRepo:
    """One repo of a cache.

    Attributes:
        refs: Commit by ref.
        snapshots: By commit: ETag by path in the repo. May be partial: a cache does not say.
        blobs: By ETag.
    """

    repo: Repo
    refs: dict[str, str] = field(default_factory=dict)
    snapshots: dict[str, dict[str, str]] = field(default_factory=dict)
    blobs: dict[str, CachedBlob] = field(default_factory=dict)


@dataclass(slots=True)
class CacheReport:
    """All of a cache."""

    repos: list[CachedRepo] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(self, path: Path, reason: str) -> None:
        """Note something that is not used."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(path, reason))


def scan_cache(cache: Path) -> CacheReport:
    """Look through a cache folder. Blocking.

    Raises:
        TargetError: There is no such folder, or it cannot be read.
    """
    try:
        names = sorted(os.listdir(cache))
        inside = cache.resolve(strict=True)
    except (OSError, RuntimeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise TargetError(
            f"{cache} is no folder that can be read ({reason}); name the cache of your tools, or "
            "set HF_HOME or HF_HUB_CACHE as for them"
        ) from exc
    scan = _Scan(inside)
    for name in names:
        scan.entry(cache / name)
    return scan.report


class _Scan:
    """One look through one cache."""

    def __init__(self, inside: Path) -> None:
        self.report = CacheReport()
        self._inside = inside
        self._left = MAX_ENTRIES

    def entry(self, folder: Path) -> None:
        """Take one name of the cache's own folder."""
        kind, dashes, name = folder.name.partition("--")
        if folder.name in _THEIR_OWN or folder.name.startswith("."):
            return
        if kind not in TYPE_OF_FOLDER or not dashes or not folder.is_dir():
            self.report.add(folder, "belongs to no repo")
            return
        try:
            repo = Repo(TYPE_OF_FOLDER[kind], name.replace("--", "/", 1))
        except TargetError:
            self.report.add(folder, "is not named like a repo")
            return
        found = CachedRepo(repo)
        self._blobs(folder / BLOBS, found)
        self._snapshots(folder / SNAPSHOTS, found)
        self._refs(folder / REFS, found)
        self.report.repos.append(found)

    def _blobs(self, folder: Path, found: CachedRepo) -> None:
        for path in self._children(folder):
            if path.name.endswith(".incomplete"):
                self.report.add(path, "is an unfinished download")
            elif not is_etag(path.name):
                self.report.add(path, "is not named by a hash")
            elif (blob := self._blob(path)) is None:
                self.report.add(path, "is no file, leads nowhere, or leads out of the cache")
            else:
                found.blobs[path.name] = blob

    def _blob(self, path: Path) -> CachedBlob | None:
        """Return the file that a blob is or, where clients share blobs, links to."""
        try:
            file = path.resolve(strict=True)
            looked = file.lstat()
        except (OSError, RuntimeError):
            return None
        if not stat.S_ISREG(looked.st_mode) or not file.is_relative_to(self._inside):
            return None
        return CachedBlob(file, FileStamp.of(looked))

    def _snapshots(self, folder: Path, found: CachedRepo) -> None:
        for snapshot in self._children(folder):
            if not is_commit(snapshot.name) or not snapshot.is_dir():
                self.report.add(snapshot, "is not named by a commit")
                continue
            files = found.snapshots.setdefault(snapshot.name, {})
            for path in self._files_below(snapshot):
                etag = _etag_behind(path)
                if not etag:
                    # Where links are not to be had, clients put the content itself here.
                    self.report.add(path, "is no link to a blob")
                elif etag in found.blobs:
                    files[path.relative_to(snapshot).as_posix()] = etag
                else:
                    self.report.add(path, "leads to a blob that is not there")

    def _refs(self, folder: Path, found: CachedRepo) -> None:
        for path in self._files_below(folder):
            commit = ""
            try:
                with path.open("rb") as stream:
                    commit = stream.read(MAX_REF_BYTES).decode("ascii").strip()
            except (OSError, UnicodeDecodeError):
                pass
            if is_commit(commit):
                found.refs[path.relative_to(folder).as_posix()] = commit
            else:
                self.report.add(path, "does not name a commit")

    def _children(self, folder: Path) -> list[Path]:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            return []
        return [folder / name for name in names if self._counts()]

    def _files_below(self, folder: Path) -> Iterator[Path]:
        for root, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                if self._counts():
                    yield Path(root, name)

    def _counts(self) -> bool:
        self._left -= 1
        return self._left >= 0


def _etag_behind(path: Path) -> str:
    try:
        name = os.path.basename(os.readlink(path))
    except OSError:
        return ""
    return name if is_etag(name) else ""

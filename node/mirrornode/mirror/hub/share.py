"""`add --hf-cache`: what the clients of the Hub have fetched on this machine, shared in place.

Each blob is hashed once, ever; the origin says which repos are open. What is damaged, foreign or
not known to be open is reported and stays on this machine, where who may have it is served it. The
daemon looks again now and then, so that what is fetched later is shared, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.errors import HubRefusal, MirrorError, StoreError
from mirrornode.events import Event, Note
from mirrornode.mirror.hub.cache_scan import CachedBlob, CachedRepo, Problem, scan_cache
from mirrornode.mirror.hub.cached import in_steps, known_copy, publish_copy, read_copy
from mirrornode.mirror.in_thread import in_thread

if TYPE_CHECKING:
    from mirrornode.mirror.hub.parts import HubParts
    from mirrornode.store.hashing import BytesRead
    from mirrornode.store.hub_records import HubBlob
    from mirrornode.store.stamps import FileStamp

log = logging.getLogger(__name__)

LOOK_EVERY_S = 600.0
PROBLEMS_SHOWN = 200
WRONG = "is not what its name says"


@dataclass(frozen=True, slots=True)
class SharedRepo:
    """What of one repo is shared now."""

    repo: str
    files: int
    size_bytes: int


@dataclass(slots=True)
class SharedCache:
    """What became of a cache.

    Attributes:
        repos: Of which something is shared.
        kept: What is not known to be open, by the name of the repo, or "REPO@COMMIT", with the
            reason: used on this machine by who may have it, not shared.
        files_read: How many files had to be hashed.
        problems: What is not used at all; `more_problems` besides in the record.
    """

    cache: str
    repos: list[SharedRepo] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    files_read: int = 0
    bytes_read: int = 0
    problems: list[Problem] = field(default_factory=list)

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON-able fields."""
        return {
            "cache": self.cache,
            "files": sum(repo.files for repo in self.repos),
            "size_bytes": sum(repo.size_bytes for repo in self.repos),
            "files_read": self.files_read,
            "bytes_read": self.bytes_read,
            "repos": [asdict(repo) for repo in self.repos],
            "kept": dict(self.kept),
            "problems": [
                {"path": str(problem.path), "reason": problem.reason}
                for problem in self.problems[:PROBLEMS_SHOWN]
            ],
            "more_problems": max(0, len(self.problems) - PROBLEMS_SHOWN),
        }


class CacheSharing:
    """Shares caches, one at a time; remembers what it need not look at again."""

    def __init__(self, parts: HubParts) -> None:
        self._parts = parts
        self._wrong: dict[Path, FileStamp] = {}
        self._settled: dict[tuple[Path, str], CachedRepo] = {}
        self._lock = asyncio.Lock()  # no file is hashed twice at the same time

    async def share(
        self, cache: Path, emit: Callable[[Event], None], *, only_news: bool = False
    ) -> SharedCache:
        """Hash what is new in a cache and share what open repos have.

        Args:
            only_news: Pass over repos that look as they did, when all about them was settled.

        Raises:
            TargetError: There is no such cache.
            StoreError: The catalog failed.
        """
        if self._lock.locked():
            emit(Note("the node is sharing a cache just now; this one comes next"))
        async with self._lock:
            report = await asyncio.to_thread(scan_cache, cache)
            shared = SharedCache(str(cache), problems=report.problems)
            repos = [
                repo
                for repo in report.repos
                if not only_news or self._settled.get((cache, str(repo.repo))) != repo
            ]
            total = sum(blob.stamp.size_bytes for repo in repos for blob in repo.blobs.values())
            told = in_steps(total, str(cache), emit)
            for repo in repos:
                sharing = _RepoSharing(self._parts, repo, shared, self._wrong)
                if await sharing.run(told):
                    self._settled[cache, str(repo.repo)] = repo
            return shared

    async def keep_shared(self, caches: Sequence[Path]) -> None:
        """Share caches, and what is new in them, until cancelled."""
        only_news = False
        while True:
            for cache in caches:
                try:
                    shared = await self.share(cache, lambda _: None, only_news=only_news)
                except MirrorError as exc:
                    log.warning("cache not shared reason=%s", exc)
                    continue
                except Exception:
                    # A task boundary: one cache must not end the sharing of the others.
                    log.exception("sharing a cache crashed")
                    continue
                record = shared.to_record()
                log.info(
                    "cache shared files=%d bytes=%d read=%d kept=%d unused=%d",
                    record["files"],
                    record["size_bytes"],
                    shared.files_read,
                    len(shared.kept),
                    len(shared.problems),
                )
            only_news = True
            await asyncio.sleep(LOOK_EVERY_S)


class _RepoSharing:
    """One look at one repo of a cache."""

    def __init__(
        self,
        parts: HubParts,
        found: CachedRepo,
        shared: SharedCache,
        wrong: dict[Path, FileStamp],
    ) -> None:
        self._parts = parts
        self._found = found
        self._shared = shared
        self._wrong = wrong
        self._name = str(found.repo)

    async def run(self, told: BytesRead) -> bool:
        """Do all that can be done now; return False when the origin has yet to be asked."""
        is_settled = True
        if not await asyncio.to_thread(self._is_shared):
            is_settled = await self._ask_names()
        files = size_bytes = unvouched = 0
        for etag, blob in self._found.blobs.items():
            try:
                state = await in_thread(partial(self._take, etag, blob), told)
            except StoreError as exc:
                self._shared.problems.append(Problem(blob.path, str(exc)))
                is_settled = False  # a disk may recover, a file be whole at the next look
                continue
            if state == "shared":
                files, size_bytes = files + 1, size_bytes + blob.stamp.size_bytes
            elif state == "kept":
                unvouched += 1
        if files:
            self._shared.repos.append(SharedRepo(self._name, files, size_bytes))
            self._parts.announce()
            if unvouched:
                self._keep(self._name, f"{unvouched} of its files are in no revision known here")
        elif unvouched:
            self._keep(self._name, "none of its files is in a revision known here")
        return is_settled

    def _is_shared(self) -> bool:
        """Tell whether there is nothing to ask: all blobs are shared, all refs known. Blocking."""
        catalog, repo = self._parts.catalog, self._found.repo
        return all(
            any(known.is_open for known in [known_copy(catalog, etag, blob.path)] if known)
            for etag, blob in self._found.blobs.items()
        ) and all(catalog.hub_ref(repo, ref) is not None for ref in self._found.refs)

    async def _ask_names(self) -> bool:
        """Have the origin tell what the names in the cache mean; False when it cannot be asked."""
        repo, is_answered = self._found.repo, True
        # The refs besides, so that they mean something while the origin is away.
        for revision in dict.fromkeys([*self._found.snapshots, *self._found.refs]):
            label = self._name if revision in self._found.refs else f"{self._name}@{revision[:12]}"
            try:
                # As anybody would ask: what needs a token is not for everybody.
                named = await self._parts.names.resolve(repo, revision, "")
                if named.needs_grant:
                    self._keep(self._name, "it is private" if named.is_private else "it is gated")
                    return True
                await self._parts.names.tree(named, "")
            except HubRefusal as exc:
                if exc.code == "RepoNotFound":
                    self._keep(self._name, str(exc))
                    return True
                self._keep(label, str(exc))
            except MirrorError as exc:
                self._keep(self._name, str(exc))
                is_answered = False
                break
        return is_answered

    def _keep(self, name: str, reason: str) -> None:
        self._shared.kept.setdefault(name, reason)

    def _take(self, etag: str, blob: CachedBlob, on_bytes: BytesRead) -> str:
        """Return "shared", "kept" or "wrong". Blocking."""
        catalog = self._parts.catalog
        known = known_copy(catalog, etag, blob.path)
        if known is not None:
            if known.is_open:
                return "shared"
            if not catalog.is_vouched_open(etag):
                return "kept"
        elif self._wrong.get(blob.path) == blob.stamp:
            self._shared.problems.append(Problem(blob.path, WRONG))
            return "wrong"
        return self._read(etag, blob, known, on_bytes)

    def _read(self, etag: str, blob: CachedBlob, known: HubBlob | None, on_bytes: BytesRead) -> str:
        catalog = self._parts.catalog
        self._shared.files_read += 1
        self._shared.bytes_read += blob.stamp.size_bytes
        path = known.path if known is not None else blob.path
        digests = read_copy(etag, path, on_bytes)
        if digests is None:
            self._wrong[blob.path] = blob.stamp
            catalog.drop_hub_blob(path)
            self._shared.problems.append(Problem(blob.path, WRONG))
            return "wrong"
        is_managed = known is not None and known.is_managed
        if catalog.is_vouched_open(etag):
            publish_copy(catalog, etag, path, digests, is_managed=is_managed)
            return "shared"
        catalog.put_hub_blob(etag, path, digests.stamp, is_open=False, is_managed=is_managed)
        return "kept"

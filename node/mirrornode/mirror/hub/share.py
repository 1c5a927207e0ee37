"""`add --hf-cache`: what the clients of the Hub have fetched on this machine, shared in place.

Each blob is hashed once; the origin says which repos are open. What is damaged, foreign or not
known to be open is reported and stays on this machine.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.errors import MirrorError
from mirrornode.events import AddProgress, Event, Note
from mirrornode.mirror.hub.cache_scan import CachedRepo, Problem, scan_cache
from mirrornode.mirror.hub.cached import adopt

if TYPE_CHECKING:
    from mirrornode.mirror.hub.get import HubPorts

log = logging.getLogger(__name__)

PROBLEMS_SHOWN = 200


@dataclass(slots=True)
class SharedCache:
    """What became of a cache.

    Attributes:
        repos: Names of repos of which something is shared now.
        files: Files that are shared now; `size_bytes` are theirs.
        kept: Names of repos that are not known to be open, with the reason: usable on this
            machine by who may have them, not shared.
        problems: What is not used at all.
    """

    cache: str
    repos: list[str] = field(default_factory=list)
    files: int = 0
    size_bytes: int = 0
    kept: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON-able fields."""
        record = dataclasses.asdict(self)
        record["problems"] = [
            {"path": str(problem.path), "reason": problem.reason}
            for problem in self.problems[:PROBLEMS_SHOWN]
        ]
        return record


async def share_cache(ports: HubPorts, cache: Path, emit: Callable[[Event], None]) -> SharedCache:
    """Hash what is new in a cache and share what open repos have.

    Raises:
        TargetError: There is no such cache.
        StoreError: The catalog failed.
    """
    report = await asyncio.to_thread(scan_cache, cache)
    shared = SharedCache(str(cache), problems=report.problems)
    total = sum(_size(path) for repo in report.repos for path in repo.blobs.values())
    done = 0

    def told(count: int) -> None:
        nonlocal done
        done += count
        emit(AddProgress(done, total, str(cache)))

    for repo in report.repos:
        right = await asyncio.to_thread(_adopt_blobs, ports, repo, shared, told)
        await _share_repo(ports, repo, right, shared)
    for name, reason in shared.kept.items():
        emit(Note(f"{name} is not shared: {reason}", "warning"))
    return shared


def _adopt_blobs(
    ports: HubPorts, repo: CachedRepo, shared: SharedCache, told: Callable[[int], None]
) -> set[str]:
    """Return the ETags whose content is what they say. Blocking."""
    right = set()
    for etag, path in repo.blobs.items():
        if adopt(ports.catalog, etag, path, told):
            right.add(etag)
        else:
            shared.problems.append(Problem(path, "is not what its name says"))
    return right


async def _share_repo(
    ports: HubPorts, repo: CachedRepo, right: set[str], shared: SharedCache
) -> None:
    published: set[str] = set()
    for commit in repo.snapshots:
        try:
            # As anybody would ask: what needs a token is not for everybody.
            named = await ports.names.resolve(repo.repo, commit, "")
            if not named.is_open:
                shared.kept[str(repo.repo)] = "it is gated or private"
                continue
            tree = await ports.names.tree(named, "")
        except MirrorError as exc:
            shared.kept[str(repo.repo)] = str(exc)
            continue
        for file in tree.values():
            if file.etag not in right or file.etag in published:
                continue
            blob = await asyncio.to_thread(ports.files.find, file)
            if blob is None:
                continue
            if not blob.is_open:
                try:
                    await asyncio.to_thread(ports.files.publish, file, blob)
                except MirrorError as exc:
                    shared.problems.append(Problem(blob.path, str(exc)))
                    continue
            published.add(file.etag)
            shared.files += 1
            shared.size_bytes += file.size_bytes
    if published:
        shared.repos.append(str(repo.repo))
        shared.kept.pop(str(repo.repo), None)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0

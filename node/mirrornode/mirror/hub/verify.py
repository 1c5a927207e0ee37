"""`verify hf:…`: is what lies here of a repo what the Hub says it is? What is not, is mended.

The clients of the Hub never check a hash, so damage in their cache stays until somebody looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.content.recipe import UNIXFS_V1_2025
from mirrornode.errors import MirrorError, StoreError
from mirrornode.events import AddProgress, Event
from mirrornode.mirror.hub.cache_layout import blob_path
from mirrornode.mirror.hub.placing import is_same_file, place
from mirrornode.store.hashing import hash_file

if TYPE_CHECKING:
    from mirrornode.mirror.hub.get import HubPorts
    from mirrornode.mirror.hub.named import Named
    from mirrornode.wire.hub import HubFile, HubTarget


@dataclass(slots=True)
class HubVerified:
    """What was found; `problems` say for each damaged file whether it was mended."""

    checked_files: int = 0
    checked_bytes: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)

    def to_record(self) -> dict[str, Any]:
        """Return the fields of `verify --json`."""
        is_ok = all(problem["is_mended"] for problem in self.problems)
        return {
            "checked_files": self.checked_files,
            "checked_bytes": self.checked_bytes,
            "ok": is_ok,
            "problems": self.problems,
        }


async def verify_hub(
    ports: HubPorts,
    target: HubTarget,
    token: str,
    cache: Path,
    emit: Callable[[Event], None],
) -> HubVerified:
    """Hash every copy of a repo's files here and replace what is damaged.

    Raises:
        HubRefusal, OriginAway: The names of its files are not to be had.
    """
    named = await ports.names.resolve(target.repo, target.revision, token)
    await ports.access.check(named, token)
    tree = await ports.names.tree(named, token)
    found = HubVerified()
    for file in tree.values():
        if target.path and file.path != target.path and not file.path.startswith(target.path + "/"):
            continue
        copies = await asyncio.to_thread(_copies, ports, cache, named, file)
        for path in copies:
            is_right = await asyncio.to_thread(_is_right, path, file)
            found.checked_files += 1
            found.checked_bytes += file.size_bytes
            emit(AddProgress(found.checked_bytes, found.checked_bytes, str(path)))
            if is_right:
                continue
            await asyncio.to_thread(_forget, ports, path)
            found.problems.append(await _mend(ports, named, file, token, path))
    return found


def _copies(ports: HubPorts, cache: Path, named: Named, file: HubFile) -> list[Path]:
    """Return the files that claim to be this one: the node's, and the one in the cache."""
    paths = [blob.path for blob in ports.catalog.hub_blob(file.etag)]
    cached = blob_path(cache, named.repo, file.etag)
    if cached.exists() and not any(is_same_file(cached, path) for path in paths):
        paths.append(cached)
    return [path for path in paths if path.exists()]


def _is_right(path: Path, file: HubFile) -> bool:
    try:
        digests = hash_file(path.resolve(), UNIXFS_V1_2025, lambda _: None)
    except StoreError:
        return False
    found = digests.sha256 if file.sha256 else digests.git_sha1
    return digests.stamp.size_bytes == file.size_bytes and found == bytes.fromhex(file.etag)


def _forget(ports: HubPorts, path: Path) -> None:
    """Offer a damaged file to nobody any more."""
    ports.catalog.mark_changed(path, "changed")
    ports.catalog.drop_hub_blob(path)


async def _mend(
    ports: HubPorts, named: Named, file: HubFile, token: str, path: Path
) -> dict[str, Any]:
    problem = {"path": str(path), "file": file.path, "reason": "is not what the Hub says"}
    try:
        await asyncio.to_thread(_remove_own, ports, path)
        brought = await ports.files.bring(named, file, token, lambda _: None)
        if not is_same_file(brought.path, path):
            await asyncio.to_thread(place, brought.path, path, shares_inode=True)
    except MirrorError as exc:
        return {**problem, "is_mended": False, "why_not": str(exc)}
    return {**problem, "is_mended": True}


def _remove_own(ports: HubPorts, path: Path) -> None:
    """Remove a damaged file of the node's own store; a cache is the user's."""
    if path.is_relative_to(ports.files.folder):
        path.unlink(missing_ok=True)

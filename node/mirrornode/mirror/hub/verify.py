"""`verify hf:…`: is what lies here of a repo what the Hub says it is? What is not, is mended.

Looked at are the node's own copies, the cache of the Hub's clients and what `get -o` wrote, each
read again from the disk. The clients never check a hash, so damage in their cache stays until
somebody looks. A user's folder is not written to: there, a file may have been changed on purpose.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.errors import MirrorError, StoreError
from mirrornode.events import Event, Note
from mirrornode.mirror.hub.cache_layout import SNAPSHOTS, blob_path, repo_folder
from mirrornode.mirror.hub.cached import in_steps, read_copy
from mirrornode.mirror.hub.chosen import chosen_files
from mirrornode.mirror.hub.parts import HubParts, admit
from mirrornode.mirror.hub.placing import is_same_file, place
from mirrornode.mirror.in_thread import in_thread
from mirrornode.store.stamps import CHANGED, MISSING, look
from mirrornode.wire.hub import is_commit

if TYPE_CHECKING:
    from mirrornode.mirror.hub.named import Named
    from mirrornode.store.hashing import BytesRead, FileDigests
    from mirrornode.store.hub_records import HubBlob
    from mirrornode.wire.hub import HubFile, HubTarget

MEND_ATTEMPTS = 3
WRONG = "is not what the Hub says"


@dataclass(frozen=True, slots=True)
class Copy:
    """A file that claims to have some content, by all its names here.

    Attributes:
        file: As the repo calls it.
        known: Its record, None for a file of the cache that was never read.
        may_mend: It lies in the node's store or in a cache, where content belongs.
    """

    paths: Sequence[Path]
    file: HubFile
    named: Named
    known: HubBlob | None
    may_mend: bool


@dataclass(slots=True)
class HubVerified:
    """What was found; `problems` say for each damaged file whether it was mended."""

    checked_files: int = 0
    checked_bytes: int = 0
    absent_files: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)

    def to_record(self) -> dict[str, Any]:
        """Return the fields of `verify --json`."""
        mended = sum(problem["is_mended"] for problem in self.problems)
        return {
            "checked_files": self.checked_files,
            "checked_bytes": self.checked_bytes,
            "absent_files": self.absent_files,
            "mended_files": mended,
            "ok": mended == len(self.problems),
            "problems": self.problems,
        }


async def verify_hub(
    parts: HubParts,
    target: HubTarget,
    token: str,
    cache: Path,
    emit: Callable[[Event], None],
) -> HubVerified:
    """Hash every copy of a repo's files here and replace what is damaged.

    With the default revision, the other snapshots that the cache holds are looked at, too.

    Raises:
        HubRefusal, OriginAway, LicenceRefused: The names of its files are not to be had.
    """
    found = HubVerified()
    copies: list[Copy] = []
    seen: set[str] = set()
    for named, tree in await _revisions(parts, target, token, cache, emit):
        for file in tree.values():
            if file.etag not in seen:
                seen.add(file.etag)
                here = await asyncio.to_thread(_copies, parts, cache, named, file)
                found.absent_files += not here
                copies += here
    told = in_steps(sum(copy.file.size_bytes for copy in copies), str(target), emit)
    damaged = []
    for copy in copies:
        found.checked_files += 1
        found.checked_bytes += copy.file.size_bytes
        digests = await in_thread(partial(_read, copy.file, copy.paths[0]), told)
        if digests is not None:
            if copy.known is None:
                # A file of the cache that nobody had read: good to mend others from.
                parts.catalog.put_hub_blob(
                    copy.file.etag, copy.paths[0], digests.stamp, is_open=False, is_managed=False
                )
            continue
        if await asyncio.to_thread(_forget, parts, copy) and not copy.may_mend:
            text = f"{copy.paths[0]} was changed since it was fetched, and is left as it is"
            emit(Note(text, "warning"))
            continue
        damaged.append(copy)
    # Only now: what is mended is mended from a copy that was found right.
    for copy in damaged:
        why_not = await _mend(parts, copy, token)
        found.problems.append(
            {
                "path": str(copy.paths[0]),
                "file": copy.file.path,
                "reason": WRONG,
                "is_mended": not why_not,
                "why_not": why_not,
            }
        )
    return found


async def _revisions(
    parts: HubParts,
    target: HubTarget,
    token: str,
    cache: Path,
    emit: Callable[[Event], None],
) -> list[tuple[Named, dict[str, HubFile]]]:
    """Return what is to be looked at: the named revision, and the others of the cache."""
    named = await admit(parts, target.repo, target.revision, token)
    if named.warning:
        emit(Note(named.warning, "warning"))
    tree = await parts.names.tree(named, token)
    revisions = [(named, chosen_files(tree, named, target.path))]
    if target.revision != "main" or target.path:
        return revisions
    for commit in await asyncio.to_thread(_cached_commits, cache, target):
        if commit == named.commit:
            continue
        try:
            other = await admit(parts, target.repo, commit, token)
            revisions.append((other, dict(await parts.names.tree(other, token))))
        except MirrorError as exc:
            emit(Note(f"not looked at: {target.repo}@{commit[:12]}: {exc}", "warning"))
    return revisions


def _cached_commits(cache: Path, target: HubTarget) -> list[str]:
    try:
        names = sorted(
            path.name for path in (repo_folder(cache, target.repo) / SNAPSHOTS).iterdir()
        )
    except OSError:
        return []
    return [name for name in names if is_commit(name)]


def _copies(parts: HubParts, cache: Path, named: Named, file: HubFile) -> list[Copy]:
    """Return the files that claim to be this one, each once under all its names. Blocking."""
    known_at: dict[Path, HubBlob | None] = {}
    for known in parts.catalog.hub_blob(file.etag):
        if known.path.exists():
            known_at[known.path] = known
        else:
            parts.catalog.mark_changed(known.path, MISSING)
            parts.catalog.drop_hub_blob(known.path)
    blob = blob_path(cache, named.repo, file.etag)
    cached = blob.resolve() if blob.exists() else None
    if cached is not None:
        known_at.setdefault(cached, None)
    copies: list[Copy] = []
    for path, record in known_at.items():
        same = next((copy for copy in copies if is_same_file(copy.paths[0], path)), None)
        if same is not None:
            copies.remove(same)
        may_mend = path == cached or path.name == file.etag
        copies.append(
            Copy(
                (*(same.paths if same else ()), path),
                file,
                named,
                (same.known if same else None) or record,
                may_mend if same is None else may_mend and same.may_mend,
            )
        )
    return copies


def _read(file: HubFile, path: Path, on_bytes: BytesRead) -> FileDigests | None:
    """Return the digests of a file if it is what it claims to be. Blocking."""
    try:
        return read_copy(file.etag, path, on_bytes)
    except StoreError:
        return None


def _forget(parts: HubParts, copy: Copy) -> bool:
    """Offer a damaged file to nobody any more; tell whether it was written to. Blocking."""
    known = copy.known
    is_edited = known is not None and look(known.path, known.stamp) != "ok"
    for path in copy.paths:
        parts.catalog.mark_changed(path, CHANGED)
        parts.catalog.drop_hub_blob(path)
    return is_edited


async def _mend(parts: HubParts, copy: Copy, token: str) -> str:
    """Put the right content in the place of a damaged file; return why not, "" when it is done."""
    if not copy.may_mend:
        return "it lies in a folder of yours; fetch it again with -o"
    file = copy.file
    try:
        await asyncio.to_thread(_remove_own, parts, copy)
        for _ in range(MEND_ATTEMPTS):
            brought = await parts.files.bring(copy.named, file, token, lambda _: None)
            if await in_thread(partial(_read, file, brought.path), lambda _: None) is not None:
                break
            # Another file here that was believed to be right, such as one of a shared folder.
            wrong = Copy((brought.path,), file, copy.named, None, may_mend=False)
            await asyncio.to_thread(_forget, parts, wrong)
        else:
            return "no right copy was to be had"
        shares = brought.path.name == file.etag
        for path in copy.paths:
            if not is_same_file(brought.path, path):
                await asyncio.to_thread(place, brought.path, path, shares_inode=shares)
    except MirrorError as exc:
        return str(exc)
    return ""


def _remove_own(parts: HubParts, copy: Copy) -> None:
    """Remove a damaged file of the node's own store; in a cache, the right one takes its place."""
    for path in copy.paths:
        if path.is_relative_to(parts.files.folder):
            path.unlink(missing_ok=True)

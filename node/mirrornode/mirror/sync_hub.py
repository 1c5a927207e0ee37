"""One run of a target of the Hub: what changed, what is missing, bring it, pin it, tidy up.

The new commit is pinned when all of it is here, and only then does the ref of a followed node
move; until that the last complete commit is what this node stands for. Old commits stay pinned, and
files that the target no longer has stay in the output folder, unless deletion was asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.errors import MirrorError, OriginAway, TargetError
from mirrornode.events import Event, Note
from mirrornode.mirror.hub.cached import known_copy
from mirrornode.mirror.hub.chosen import chosen_files, matches
from mirrornode.mirror.hub.client_env import hub_cache
from mirrornode.mirror.hub.get import HubGetRequest, get_hub, look_up
from mirrornode.store.hub_records import is_peers_word
from mirrornode.wire.hub import HubTarget, parse_hub_target

if TYPE_CHECKING:
    from mirrornode.mirror.hub.named import Named
    from mirrornode.mirror.hub.parts import HubParts
    from mirrornode.mirror.recording import Recording
    from mirrornode.mirror.sync_report import SyncReport
    from mirrornode.mirror.sync_upstream import Upstream
    from mirrornode.mirror.temp_pins import TempPins
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.pins import Pin
    from mirrornode.wire.hub import HubFile

PAUSES_S = (1.0, 5.0, 15.0)  # a node that is followed may be busy, or be starting again
MAX_PATTERN_FILES = 5000  # each of them is pinned by itself

Tree = Mapping[str, "HubFile"]


@dataclass(frozen=True, slots=True)
class HubSync:
    """What a run of a target of the Hub works with.

    Attributes:
        patterns: See `SyncTarget.patterns`.
        pin_name: Of the pins that it makes and takes back.
        out: Where the files are wanted; None for the node's own store.
        since: Refs are asked for again unless it was after this moment, Unix seconds.
    """

    parts: HubParts
    temp_pins: TempPins
    target: HubTarget
    patterns: tuple[str, ...]
    pin_name: str
    token: str
    upstream: Upstream | None
    out: Path | None
    is_dry_run: bool
    deletes: bool
    since: float


async def sync_hub(
    work: HubSync, report: SyncReport, recording: Recording, emit: Callable[[Event], None]
) -> None:
    """Bring a target up to date and say in `report` what changed.

    Raises:
        MirrorError: It could not be asked for, or not all of it came; then nothing is pinned,
            deleted or taken back.
    """
    catalog, repo = work.parts.catalog, work.target.repo
    revision, heard = work.target.revision, None
    if work.upstream is not None:
        heard = await work.upstream.learn(repo, revision)
        revision = heard.word.commit
    peers = work.upstream.addresses if work.upstream is not None else ()
    asked = replace(work.target, revision=revision)
    named, tree = await look_up(work.parts, asked, work.token, peers, since=work.since)
    if named.warning and not is_peers_word(named.vouched_by):
        raise OriginAway(named.warning)
    wanted = _wanted(work, tree, named)
    fixed = replace(work.target, revision=named.commit)
    report.root = str(fixed)
    report.size_bytes = sum(file.size_bytes for file in wanted.values())
    if report.previous != report.root:
        before = await asyncio.to_thread(_files_of, catalog, report.previous, work.patterns)
        report.compare(_etags(before), _etags(wanted))
    report.missing_bytes, keys = await asyncio.to_thread(_look, work.parts, wanted.values())
    if work.is_dry_run:
        return
    with work.temp_pins.hold(*keys):
        request = HubGetRequest(
            report.root,
            Path("/"),
            work.out,
            hub_cache(),
            token=work.token,
            include=work.patterns,
            peers=peers,
            kind="sync",
            is_kept=work.out is None,
        )
        before_bytes = _received(recording)
        try:
            await _bring(work, request, recording, emit)
        finally:
            # Of tries that failed, too: it crossed the line.
            report.fetched_bytes += _received(recording) - before_bytes
        kept = await asyncio.to_thread(_pin, work, named.commit, wanted)
    if work.upstream is not None and heard is not None:
        await asyncio.to_thread(work.upstream.point, repo, work.target.revision, heard)
    if work.deletes:
        await asyncio.to_thread(_tidy, work, kept, wanted, report, emit)


async def _bring(
    work: HubSync, request: HubGetRequest, recording: Recording, emit: Callable[[Event], None]
) -> None:
    """Bring the files; again after a moment, where there is only one node to bring them from."""
    for pause_s in PAUSES_S if work.upstream is not None else ():
        try:
            await get_hub(work.parts, request, emit, recording)
        except MirrorError as exc:
            if not exc.transient:
                raise
            emit(Note(f"{exc}; once more in {pause_s:.0f} s", "warning"))
        else:
            return
        await asyncio.sleep(pause_s)
    await get_hub(work.parts, request, emit, recording)


def stale_pins(catalog: Catalog, name: str, kept: Iterable[str]) -> list[Pin]:
    """Return the pins that earlier runs made under a name and that are not kept; blocking."""
    targets = set(kept)
    pins = catalog.pins(owner="")
    return [pin for pin in pins if pin.name == name and pin.target not in targets]


def _wanted(work: HubSync, tree: Tree, named: Named) -> dict[str, HubFile]:
    wanted = chosen_files(tree, named, work.target.path, work.patterns)
    if work.patterns and len(wanted) > MAX_PATTERN_FILES:
        raise TargetError(
            f"{work.patterns[0]} matches {len(wanted):,} files; at most {MAX_PATTERN_FILES:,} can "
            "be kept by a pattern: name their folder instead"
        )
    return wanted


def _files_of(catalog: Catalog, root: str, patterns: tuple[str, ...]) -> dict[str, HubFile]:
    """Return the files of what an earlier run brought; none when it is not known any more."""
    if not root:
        return {}
    target = parse_hub_target(root)
    known = catalog.hub_revision(target.repo, target.revision)
    if known is None or known.files is None:
        return {}
    return {file.path: file for file in known.files if _is_below(file.path, target.path, patterns)}


def _received(recording: Recording) -> int:
    """Return what has come from others so far."""
    counts = recording.bytes_by_kind()
    return counts.total() - counts["local"]


def _look(parts: HubParts, files: Iterable[HubFile]) -> tuple[int, list[str]]:
    """Return the bytes that are not here, and what to hold while the rest comes; blocking."""
    missing_bytes, keys = 0, []
    for file in {file.etag: file for file in files}.values():
        keys.append(os.fspath(parts.files.place_of(file)))
        blob = parts.files.find(file)
        if blob is None:
            missing_bytes += file.size_bytes
        else:
            keys.append(os.fspath(blob.path))
    return missing_bytes, keys


def _pin(work: HubSync, commit: str, wanted: Tree) -> set[str]:
    """Pin what is here now; return the targets of its pins."""
    catalog, target = work.parts.catalog, work.target
    paths = list(wanted) if work.patterns else [target.path]
    already = {pin.target for pin in catalog.pins(owner="") if pin.name == work.pin_name}
    kept = set()
    for path in paths:
        text = str(HubTarget(target.repo, commit, path))
        kept.add(text)
        if text in already:
            continue
        files = [wanted[path]] if work.patterns else wanted.values()
        catalog.pin_hub(
            target.repo,
            commit,
            path,
            work.pin_name,
            size_bytes=sum(file.size_bytes for file in files),
        )
    return kept


def _tidy(
    work: HubSync,
    kept: set[str],
    wanted: Tree,
    report: SyncReport,
    emit: Callable[[Event], None],
) -> None:
    """Delete from the output folder what only earlier commits had, then take their pins back."""
    catalog = work.parts.catalog
    stale = stale_pins(catalog, work.pin_name, kept)
    if work.out is not None and work.target.path not in wanted:
        gone: dict[str, set[str]] = {}
        for pin in stale:
            for path, file in _files_of(catalog, pin.target, ()).items():
                if path not in wanted:
                    gone.setdefault(path, set()).add(file.etag)
        for path, etags in sorted(gone.items()):
            place = work.out / (path.removeprefix(f"{work.target.path}/"))
            if _delete(catalog, work.out, place, etags):
                report.deleted.append(path)
            elif os.path.lexists(place):
                emit(Note(f"{place} is not what was put there: it is left", "warning"))
    for pin in stale:
        catalog.unpin(pin.target, pin.name)
        report.unpinned.append(pin.target)


def _delete(catalog: Catalog, out: Path, place: Path, etags: set[str]) -> bool:
    """Delete a file that an earlier run put there and nobody has changed, and empty folders."""
    if place.is_symlink() or all(known_copy(catalog, etag, place) is None for etag in etags):
        return False
    with contextlib.suppress(OSError):
        place.unlink()
    catalog.drop_hub_blob(place)
    catalog.mark_changed(place, "missing")
    folder = place.parent
    with contextlib.suppress(OSError):
        while folder != out and out in folder.parents:
            folder.rmdir()
            folder = folder.parent
    return not os.path.lexists(place)


def _etags(files: Tree) -> dict[str, str]:
    return {path: file.etag for path, file in files.items()}


def _is_below(path: str, folder: str, patterns: tuple[str, ...]) -> bool:
    is_below = not folder or path == folder or path.startswith(f"{folder}/")
    return is_below and (not patterns or matches(path, patterns))

"""One run of one target, of whatever kind; `sync` decides when, and writes down how it ended."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.content.cid import Cid
from mirrornode.content.recipe import UNIXFS_V1_2025
from mirrornode.errors import Incomplete, MirrorError
from mirrornode.events import Event, Note
from mirrornode.mirror.add import AddRequest, add_paths
from mirrornode.mirror.get import get
from mirrornode.mirror.get_request import GetRequest
from mirrornode.mirror.in_thread import in_thread
from mirrornode.mirror.keep_pins import size_here
from mirrornode.mirror.scan import Skipped, scan
from mirrornode.mirror.sync_hub import HubSync, stale_pins, sync_hub
from mirrornode.mirror.sync_report import SyncReport, received_bytes
from mirrornode.mirror.sync_upstream import Upstream, UpstreamPorts, reach
from mirrornode.store.home import MODELS_NAME
from mirrornode.wire.hub import is_hub_target, parse_hub_target

if TYPE_CHECKING:
    from mirrornode.mirror.get_request import GetPorts
    from mirrornode.mirror.hub.parts import HubParts
    from mirrornode.mirror.recording import Recording
    from mirrornode.mirror.sync_target import SyncTarget
    from mirrornode.wire.hub import Repo
    from mirrornode.wire.pinset import PinnedThere

KIND = "sync"  # of the row in the history; what a CID takes is a row of its own, kind "pin"
SILENCE_S = 60.0
MISSING_SHOWN = 5

Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class SyncPorts:
    """The parts of a node that a run works with; `mirrors` are URLs that a CID may come from."""

    ports: GetPorts
    hub: HubParts
    upstream: UpstreamPorts
    mirrors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """What is to be run now.

    Attributes:
        from_node: Whom to follow: a multiaddr with `/p2p/` or a URL; "" for the origins.
        out: Where it is wanted; None for the node's own store.
        previous: What the last good run brought.
        since: Refs are asked for again unless it was after this moment, Unix seconds.
    """

    target: SyncTarget
    from_node: str = ""
    out: Path | None = None
    deletes: bool = False
    is_dry_run: bool = False
    token: str = ""
    previous: str = ""
    since: float = 0.0


async def run_target(
    ports: SyncPorts, request: SyncRequest, report: SyncReport, recording: Recording, emit: Emit
) -> None:
    """Bring one target up to date; `report` says what changed, also when it fails on the way.

    Raises:
        MirrorError: Not all of it could be had; what came is kept, and used by the next run.
    """
    target = request.target
    if target.folder is not None:
        await _sync_folder(ports, request, target.folder, report, emit)
        return
    node = target.node or request.from_node
    upstream = await reach(ports.upstream, node) if node else None
    async with upstream.kept() if upstream is not None else nullcontext():
        await _run_from(ports, request, upstream, report, recording, emit)


async def _run_from(
    ports: SyncPorts,
    request: SyncRequest,
    upstream: Upstream | None,
    report: SyncReport,
    recording: Recording,
    emit: Emit,
) -> None:
    target = request.target
    if target.hub is not None:
        work = HubSync(
            ports.hub,
            ports.ports.active.temp_pins,
            target.hub,
            target.patterns,
            target.pin_name,
            "" if upstream is not None else request.token,
            upstream,
            request.out,
            request.is_dry_run,
            request.deletes,
            request.since,
        )
        await sync_hub(work, report, recording, emit)
    elif target.cid is not None:
        await _sync_cid(ports, request, target.cid, upstream, report, emit)
    elif upstream is not None:
        await _Pinset(ports, request, upstream, report, recording, emit).run()


# -- a CID -----------------------------------------------------------------------------------------


async def _sync_cid(
    ports: SyncPorts,
    request: SyncRequest,
    cid: Cid,
    upstream: Upstream | None,
    report: SyncReport,
    emit: Emit,
) -> None:
    catalog = ports.ports.catalog
    size = await asyncio.to_thread(size_here, catalog, cid)
    report.missing_bytes = None if size is None else 0
    if request.previous != str(cid):
        report.added.append(str(cid))
    report.root, report.size_bytes = str(cid), size or 0
    if request.is_dry_run:
        return
    place = request.out or catalog.home / MODELS_NAME / str(cid)
    with ports.ports.active.temp_pins.hold(str(place), cid.multihash):
        if size is None or (request.out is not None and not request.out.exists()):
            await asyncio.to_thread(place.parent.mkdir, parents=True, exist_ok=True)
            wanted = GetRequest(
                str(cid),
                place.parent,
                place,
                mirrors=ports.mirrors,
                peers=upstream.addresses if upstream is not None else (),
                timeout_s=SILENCE_S,
                kind="pin",
                is_kept=request.out is None,
            )
            got = await get(ports.ports, wanted, emit)
            report.size_bytes = got.size_bytes
            report.fetched_bytes += received_bytes(got)
        name = request.target.pin_name
        await asyncio.to_thread(catalog.pin, cid, name, size_bytes=report.size_bytes)


# -- a folder --------------------------------------------------------------------------------------


async def _sync_folder(
    ports: SyncPorts, request: SyncRequest, folder: Path, report: SyncReport, emit: Emit
) -> None:
    """Share what lies in a folder now, in place; only files that changed are read."""
    catalog, name = ports.ports.catalog, request.target.pin_name

    def compare() -> None:
        items = scan(folder, Skipped(), hidden=False, home=catalog.home)
        now = dict(items.files())
        known = catalog.known_files(now, UNIXFS_V1_2025)
        before = set()
        if request.previous:
            before = {file.path for file in catalog.root_files(Cid.parse(request.previous))}
            before |= set(catalog.replaced_files(Cid.parse(request.previous)))
        report.size_bytes = items.size_bytes
        report.missing_bytes = 0
        for path, stamp in sorted(now.items()):
            file = known.get(path)
            if path not in before:
                report.added.append(str(path))
            elif file is None or file.state != "ok" or file.stamp != stamp:
                report.changed.append(str(path))
        report.removed += sorted(str(path) for path in before if path not in now)

    def share(tell: Callable[[Event], None]) -> tuple[str, int]:
        (added,) = add_paths(catalog, AddRequest([folder]), tell)
        return added.cid, added.size_bytes

    await asyncio.to_thread(compare)
    report.root = request.previous
    if request.is_dry_run:
        return
    root, report.size_bytes = await in_thread(share, emit)
    report.root = root
    ports.ports.announce()
    pin = functools.partial(catalog.pin, Cid.parse(root), name, size_bytes=report.size_bytes)
    await asyncio.to_thread(pin)
    # The files are the user's and lie where they lay: an older root has nothing that could go.
    for stale in await asyncio.to_thread(stale_pins, catalog, name, [root]):
        catalog.unpin(stale.target, stale.name)
        report.unpinned.append(stale.target)


# -- the pinset of a node --------------------------------------------------------------------------


class _Pinset:
    """Keeps what another node keeps pinned; what fails does not stop the rest."""

    def __init__(
        self,
        ports: SyncPorts,
        request: SyncRequest,
        upstream: Upstream,
        report: SyncReport,
        recording: Recording,
        emit: Emit,
    ) -> None:
        self._ports = ports
        self._request = request
        self._upstream = upstream
        self._report = report
        self._recording = recording
        self._emit = emit
        self._catalog = ports.ports.catalog

    async def run(self) -> None:
        report, name = self._report, self._request.target.pin_name
        there = {pin.target: pin for pin in await self._upstream.pins()}
        pins = await asyncio.to_thread(self._catalog.pins, owner="")
        here = {pin.target for pin in pins if pin.name == name}
        report.missing_bytes = 0
        failures: dict[str, MirrorError] = {}
        failed: set[tuple[Repo, str]] = set()
        refs: dict[tuple[Repo, str], str] = {}
        for pin in there.values():
            try:
                await self._one(pin)
            except MirrorError as exc:
                failures[pin.target] = exc
                self._emit(Note(f"{pin.target}: {exc}", "warning"))
            if is_hub_target(pin.target):
                target = parse_hub_target(pin.target)
                refs.update(((target.repo, ref), target.revision) for ref in pin.refs)
                if pin.target in failures:
                    failed.add((target.repo, target.revision))
        if not self._request.is_dry_run:
            for (repo, ref), commit in refs.items():
                if (repo, commit) not in failed:
                    await self._point(repo, ref, commit)
        report.compare(dict.fromkeys(here, ""), dict.fromkeys(there, ""))
        if failures:
            shown = "; ".join(f"{target}: {failures[target]}" for target in sorted(failures)[:3])
            raise Incomplete(
                f"{len(failures)} of {len(there)} pins did not come: {shown}",
                tuple(sorted(failures)),
            )
        if self._request.is_dry_run or not self._request.deletes:
            return
        for stale in await asyncio.to_thread(stale_pins, self._catalog, name, there):
            self._catalog.unpin(stale.target, stale.name)
            report.unpinned.append(stale.target)

    async def _one(self, pin: PinnedThere) -> None:
        request, report = self._request, self._report
        part = SyncReport(pin.target)
        single = SyncRequest(
            request.target, is_dry_run=request.is_dry_run, previous=pin.target, since=request.since
        )
        if not is_hub_target(pin.target):
            cid = Cid.parse(pin.target)
            await _sync_cid(self._ports, single, cid, self._upstream, part, self._emit)
            report.size_bytes += part.size_bytes or pin.size_bytes
            if part.missing_bytes is None:
                part.missing_bytes = pin.size_bytes
        else:
            await self._hub(pin, part)
            report.size_bytes += part.size_bytes
        report.missing_bytes = (report.missing_bytes or 0) + (part.missing_bytes or 0)
        report.fetched_bytes += part.fetched_bytes

    async def _hub(self, pin: PinnedThere, part: SyncReport) -> None:
        target = parse_hub_target(pin.target)
        work = HubSync(
            self._ports.hub,
            self._ports.ports.active.temp_pins,
            target,
            (),
            self._request.target.pin_name,
            "",
            self._upstream,
            None,
            self._request.is_dry_run,
            deletes=False,
            since=self._request.since,
        )
        await sync_hub(work, part, self._recording, self._emit)

    async def _point(self, repo: Repo, ref: str, commit: str) -> None:
        """Let a ref mean what it means there, if that is what is here now."""
        heard = await self._upstream.learn(repo, ref)
        if heard.word.commit == commit:
            await asyncio.to_thread(self._upstream.point, repo, ref, heard)

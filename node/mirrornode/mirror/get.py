"""`get`: from a target to a verified file or folder on this disk.

The steps: parse the target, find sources, read the verified structure, see what is on this disk
already, transfer the rest, finish, record and announce. When nobody has the structure but a URL
has the whole file, `rebuild` takes over.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.content.cid import RAW, SHA2_256, Cid
from mirrornode.content.walk import TreeEntry, resolve_path, run_walk_async, walk_tree
from mirrornode.errors import (
    CidMismatch,
    Incomplete,
    MirrorError,
    NoProviders,
    PathRefused,
    SourceGone,
)
from mirrornode.events import Event, GetProgress, Got, Note
from mirrornode.mirror.block_loader import BlockLoader
from mirrornode.mirror.on_disk import OnDisk, local_offer, look_at_outputs
from mirrornode.mirror.rebuild import rebuild
from mirrornode.mirror.record import record_files, record_root
from mirrornode.mirror.source_feed import SourceFeed
from mirrornode.mirror.target import choose_output, parse_target
from mirrornode.mirror.tree_writer import make_folders, make_symlinks
from mirrornode.sources.web import public_url
from mirrornode.transfer.journal import Journal
from mirrornode.transfer.manifest import Manifest, make_manifest
from mirrornode.transfer.outputs import OutputFile, lay_out, sync_folder
from mirrornode.transfer.session import Offer, Outcome, TransferSession
from mirrornode.transfer.space import check_space
from mirrornode.transfer.worker import WRONG_BYTES

if TYPE_CHECKING:
    from mirrornode.mirror.active import ActiveTransfers
    from mirrornode.mirror.shelf import Shelf
    from mirrornode.routing.find import Finder
    from mirrornode.store.catalog import Catalog

REBUILD_AFTER_S = 4.0  # how long peers may show themselves before a plain URL has to do
MISSING_SHOWN = 5


@dataclass(frozen=True, slots=True)
class GetRequest:
    """What the user asked for.

    Attributes:
        folder: Where the user stands; relative paths start there.
        destination: As given with -o; None for a name of its own in `folder`.
        mirrors: URLs of gateways, files, or bases that end in a slash.
        peers: Multiaddrs to dial besides what is found.
        timeout_s: Give up when nothing has arrived for so long.
    """

    target: str
    folder: Path
    destination: Path | None = None
    mirrors: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class GetPorts:
    """The parts of a node that `get` works with; `announce` wakes the announcer."""

    catalog: Catalog
    shelf: Shelf
    active: ActiveTransfers
    finder: Finder
    announce: Callable[[], None]


async def get(ports: GetPorts, request: GetRequest, emit: Callable[[Event], None]) -> Got:
    """Fetch, verify and finish one target.

    Raises:
        TargetError: The target or the destination cannot be.
        NoProviders: Nobody has it.
        Incomplete: Some files of a folder are missing; what is there is finished and verified.
        ContentError: Only wrong bytes were to be had.
        StoreError: This machine's disk failed.

    Cancelling leaves a state that the same request resumes.
    """
    job = _Get(ports, request, emit)
    feeding = asyncio.create_task(job.feed.run(request.peers, request.mirrors))
    work = asyncio.create_task(job.run())
    try:
        await asyncio.wait([feeding, work], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            feeding.result()  # the feed ends only by an error in the user's addresses
        return await work
    finally:
        for task in (feeding, work):
            task.cancel()
        job.close()
        await asyncio.gather(feeding, work, return_exceptions=True)


class _Get:
    """One run of `get`."""

    def __init__(self, ports: GetPorts, request: GetRequest, emit: Callable[[Event], None]) -> None:
        self._ports = ports
        self._request = request
        self._emit = emit
        self._began = time.monotonic()
        self._target = parse_target(request.target)
        catalog = ports.catalog
        self._loader = BlockLoader(ports.shelf.read_block, catalog.put_blocks, request.timeout_s)
        self.feed = SourceFeed(ports.finder, self._target.cid, self._loader, emit)
        self._sha256: bytes | None = None  # of the whole file, when that is what was asked for

    def close(self) -> None:
        """Break off what threads are still waiting for, so that nobody waits for them."""
        self._loader.close()

    async def run(self) -> Got:
        self._emit(GetProgress("finding", 0, 0, 0, 0.0))
        entries = await self._structure()
        if entries is None:
            return await self._rebuild()
        if self._sha256 is not None and _root_of(entries).kind != "file":
            raise CidMismatch(self._target.cid, "the root a peer named for it is no file")
        manifest = make_manifest(_root_of(entries).cid, entries)
        output = self._choose_output(is_file=_root_of(entries).kind != "directory")
        outputs = lay_out(manifest, output)
        self._emit(GetProgress("structure", 0, manifest.size_bytes, 0, 0.0, 0, len(outputs)))
        on_disk = await asyncio.to_thread(self._prepare, manifest, output, outputs)
        outcome = await self._transfer(manifest, outputs, on_disk.done, on_disk.size_bytes)
        bad = {s.source_id: s.reason for s in outcome.sources if s.state == "banned"}
        bad.update(self._loader.bad_sources)
        if outcome.unfinished:
            raise self._why_unfinished(manifest, outcome)
        await asyncio.to_thread(self._finish, manifest, output)
        received = dict(self._loader.bytes_by_source)
        for state in outcome.sources:
            if state.received_bytes:
                so_far = received.get(state.source_id, 0)
                received[state.source_id] = so_far + state.received_bytes
        return Got(
            cid=str(manifest.target),
            path=str(output),
            size_bytes=manifest.size_bytes,
            seconds=self._elapsed(),
            bytes_by_source=received,
            resumed_bytes=on_disk.size_bytes,
            files=len(manifest.files),
            bad_sources=bad,
        )

    # -- structure -------------------------------------------------------------------------------

    async def _structure(self) -> Sequence[TreeEntry] | None:
        """Return the verified tree of the target; None when only a plain URL can help."""
        walking = asyncio.create_task(self._walk())
        grace = time.monotonic() + min(REBUILD_AFTER_S, self._request.timeout_s / 2)
        try:
            while not walking.done():
                await asyncio.wait([walking], timeout=0.1)
                is_stuck = self._loader.is_waiting and time.monotonic() > grace
                if is_stuck and self.feed.file_urls and not self._target.path:
                    return None
            return await walking
        finally:
            walking.cancel()
            await asyncio.gather(walking, return_exceptions=True)

    async def _walk(self) -> Sequence[TreeEntry]:
        root = self._target.cid
        if root.codec == RAW and root.hash_code == SHA2_256:
            root = await self._root_of_raw(root)
        if self._target.path:
            root = await run_walk_async(resolve_path(root, self._target.path), self._loader.load)
        return await run_walk_async(walk_tree(root), self._loader.load)

    async def _root_of_raw(self, cid: Cid) -> Cid:
        """Return the root of the file whose SHA-256 `cid` names, or `cid` if it is a block."""
        known = await asyncio.to_thread(self._ports.catalog.find_alias, cid.multihash)
        if known is not None and known.multihash != cid.multihash:
            self._sha256 = cid.digest
            return known
        loading = asyncio.create_task(self._loader.load([cid]))
        alias = self.feed.alias
        try:
            both: set[asyncio.Future[Any]] = {loading, alias}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if alias.done() and not (loading.done() and loading.exception() is None):
                self._sha256 = cid.digest
                return alias.result()
            await loading
            return cid
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)

    def _choose_output(self, *, is_file: bool) -> Path:
        request = self._request
        return choose_output(self._target, request.destination, request.folder, is_file=is_file)

    # -- transfer --------------------------------------------------------------------------------

    def _prepare(self, manifest: Manifest, output: Path, outputs: Sequence[OutputFile]) -> OnDisk:
        on_disk = look_at_outputs(self._ports.catalog, manifest, outputs)
        check_space(output, sum(item.missing_bytes() for item in outputs))
        if not manifest.is_single_file:
            make_folders(output, manifest.entries)
        return on_disk

    async def _transfer(
        self,
        manifest: Manifest,
        outputs: Sequence[OutputFile],
        done: bytearray,
        resumed_bytes: int,
    ) -> Outcome:
        catalog, active = self._ports.catalog, self._ports.active
        local = await asyncio.to_thread(local_offer, catalog, manifest, done)
        session = TransferSession(
            manifest,
            outputs,
            done,
            Journal(catalog),
            resumed_bytes=resumed_bytes,
            on_progress=self._emit,
            check_whole=self._check_whole,
            on_finished=lambda batch: record_files(catalog, batch),
            own_id=f"peer:{self._ports.finder.peer_id}",
        )
        self.feed.attach(manifest)
        refreshing = asyncio.create_task(self.feed.refresh_partial())
        active.add(session)
        try:
            return await session.run(self._offers(local), self._request.timeout_s)
        finally:
            active.remove(session)
            refreshing.cancel()
            await asyncio.gather(refreshing, return_exceptions=True)

    async def _offers(self, local: Offer | None) -> AsyncIterator[Offer]:
        if local is not None:
            yield local
        async for offer in self.feed.offers():
            yield offer

    def _check_whole(self, output: OutputFile) -> None:
        """Compare a complete file with the SHA-256 the user asked for, if that was the target."""
        if self._sha256 is None:
            return
        path = output.path if output.is_finished else output.part
        try:
            with path.open("rb") as whole:
                found = hashlib.file_digest(whole, "sha256").digest()
        except OSError as exc:
            raise PathRefused(path, "read", exc.strerror or str(exc)) from exc
        if found != self._sha256:
            output.part.unlink(missing_ok=True)
            raise CidMismatch(self._target.cid, "the root a peer named for it is another file's")

    # -- end -------------------------------------------------------------------------------------

    def _finish(self, manifest: Manifest, output: Path) -> None:
        refused = make_symlinks(output, manifest.entries)
        for path in refused:
            self._emit(
                Note(f"symlink not made, it would lead out of the folder: {path}", "warning")
            )
        try:
            folders = {(output / file.path).parent for file in manifest.files if file.path}
            for folder in folders or {output.parent}:
                sync_folder(folder)
        except OSError as exc:
            raise PathRefused(output, "sync", exc.strerror or str(exc)) from exc
        record_root(self._ports.catalog, manifest, output, output.name)
        self._ports.announce()

    def _why_unfinished(self, manifest: Manifest, outcome: Outcome) -> MirrorError:
        """Return the one error that says what a user needs to know."""
        missing = tuple(output.file.path for output in outcome.unfinished)
        if len(missing) < len(manifest.files):
            shown = ", ".join(missing[:MISSING_SHOWN])
            more = (
                f" and {len(missing) - MISSING_SHOWN} more" if len(missing) > MISSING_SHOWN else ""
            )
            return Incomplete(
                f"{len(missing)} of {len(manifest.files)} files are missing: {shown}{more}; "
                "what has arrived is kept, the same command goes on from there",
                missing,
            )
        tried = [state for state in outcome.sources if not state.source_id.startswith("local:")]
        kept = "what has arrived is kept, the same command goes on from there"
        if not tried:
            return NoProviders(f"nobody reachable has the leaves of {self._target}; {kept}")
        why = "; ".join(f"{state.source_id}: {state.reason or state.state}" for state in tried[:4])
        if all(state.reason == WRONG_BYTES for state in tried):
            return CidMismatch(self._target.cid, f"only bad sources were found ({why}); {kept}")
        return SourceGone(f"no source delivered for {self._request.timeout_s:g} s ({why}); {kept}")

    async def _rebuild(self) -> Got:
        output = self._choose_output(is_file=True)
        source = self.feed.file_urls[0]
        shown = public_url(source.url)
        self._emit(Note(f"no peer has the structure; fetching the whole file from {shown}"))
        size_bytes, resumed = await rebuild(
            self._ports.catalog, self._target.cid, output, self.feed.file_urls, self._emit
        )
        self._ports.announce()
        return Got(
            cid=str(self._target.cid),
            path=str(output),
            size_bytes=size_bytes,
            seconds=self._elapsed(),
            bytes_by_source={source.source_id: size_bytes - resumed},
            resumed_bytes=resumed,
        )

    def _elapsed(self) -> float:
        return round(time.monotonic() - self._began, 3)


def _root_of(entries: Sequence[TreeEntry]) -> TreeEntry:
    return next(entry for entry in entries if not entry.path)

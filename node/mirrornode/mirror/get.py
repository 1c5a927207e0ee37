"""`get`: from a target to a verified file or folder on this disk.

The steps: parse the target, find sources, read the verified structure, see what is on this disk
already, transfer the rest, finish, record and announce. When nobody has the structure but a URL
has the whole file, `rebuild` takes over.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.content.cid import RAW, SHA2_256, Cid
from mirrornode.content.walk import TreeEntry, resolve_path, run_walk_async, walk_tree
from mirrornode.errors import (
    CidMismatch,
    ContentError,
    MirrorError,
    NoProviders,
    PathRefused,
    SourceError,
    TargetError,
)
from mirrornode.events import Event, GetProgress, Got, Note, SourceState
from mirrornode.mirror.block_loader import BlockLoader
from mirrornode.mirror.finish import finish_tree
from mirrornode.mirror.mirror_memory import choose_mirrors, remember_mirrors
from mirrornode.mirror.on_disk import OnDisk, impossible_paths, local_offer, look_at_outputs
from mirrornode.mirror.one_transfer import SharedOffers
from mirrornode.mirror.rebuild import rebuild
from mirrornode.mirror.record import record_files
from mirrornode.mirror.source_feed import SourceFeed
from mirrornode.mirror.target import Target, choose_output, parse_target
from mirrornode.mirror.tree_writer import make_folders
from mirrornode.mirror.unfinished import why_unfinished
from mirrornode.sources.web import public_url
from mirrornode.transfer.journal import Journal
from mirrornode.transfer.manifest import Manifest, make_manifest
from mirrornode.transfer.outputs import OutputFile, lay_out
from mirrornode.transfer.pacing import pace_of
from mirrornode.transfer.session import Offer, Outcome, TransferSession
from mirrornode.transfer.space import check_space

if TYPE_CHECKING:
    from mirrornode.mirror.get_request import GetPorts, GetRequest
    from mirrornode.mirror.mirror_choice import MirrorChoice

log = logging.getLogger(__name__)

REBUILD_AFTER_S = 4.0  # how long peers may show themselves before a plain URL has to do
ANOTHER_FILE = "is another file's"


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
    target = parse_target(request.target, request.called)
    with ports.active.temp_pins.hold(target.cid.multihash):
        return await ports.active.gets.run(
            str(target),
            _place(target, request),
            lambda tell: _Get(ports, request, tell),
            emit,
            peers=request.peers,
            mirrors=request.mirrors,
        )


def _place(target: Target, request: GetRequest) -> Path:
    """Return where the user wants the target, as far as that is known before its kind is."""
    return Path(os.path.abspath(request.folder / (request.destination or target.name)))


class _WrongRoot(Exception):
    """A root that peers named for a whole-file SHA-256 does not lead to that file, for this reason.

    Attributes:
        is_lie: It is proven that whoever named it was wrong.
    """

    def __init__(self, reason: str, *, is_lie: bool = True) -> None:
        super().__init__(reason)
        self.is_lie = is_lie


class _Get:
    """One run of `get`, for one caller or for several."""

    def __init__(self, ports: GetPorts, request: GetRequest, emit: Callable[[Event], None]) -> None:
        self._ports = ports
        self._request = request
        self._hear = emit
        self._began = time.monotonic()
        self._target = parse_target(request.target, request.called)
        self._recording = ports.recorder.recording(request.kind, str(self._target))
        catalog = ports.catalog
        self._loader = BlockLoader(ports.shelf.read_block, catalog.put_blocks, request.timeout_s)
        self._choices: list[MirrorChoice] = []
        blocks_of = ports.blocks_of
        self.feed = SourceFeed(ports.finder, self._target.cid, self._loader, self._emit, blocks_of)
        self._pace = pace_of(request.download_limit, ports.pace)
        self._sha256: bytes | None = None  # of the whole file, when that is what was asked for
        self._named_root: Cid | None = None  # what peers say that file's root is
        self._addresses = {*request.peers, *request.mirrors}

    async def run(self) -> Got:
        """Find sources and bring the target; for `SharedGets`."""
        async with self._recording as recording:
            got = await self._run()
            recording.root, recording.size_bytes = got.cid, got.size_bytes
            recording.resumed_bytes = got.resumed_bytes
            return got

    async def _run(self) -> Got:
        request = self._request
        mirrors = await self._choose(request.mirrors)
        feeding = asyncio.create_task(self.feed.run(request.peers, mirrors))
        work = asyncio.create_task(self._bring_from_right_root())
        try:
            await asyncio.wait([feeding, work], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                feeding.result()  # the feed ends only by an error in the user's addresses
            return await work
        finally:
            for task in (feeding, work):
                task.cancel()
            # Break off what threads are still waiting for, so that nobody waits for them.
            self._loader.close()
            await asyncio.gather(feeding, work, return_exceptions=True)
            self._recording.note(self._loader, self._loader.states())
            for source_id, reason in self._loader.bad_sources.items():
                self._recording.blame(source_id, reason)
            await asyncio.shield(
                asyncio.to_thread(
                    remember_mirrors, self._ports.catalog, self._choices, self._elapsed()
                )
            )

    async def _choose(self, urls: Sequence[str]) -> MirrorChoice:
        catalog, request = self._ports.catalog, self._request
        choice = await asyncio.to_thread(
            choose_mirrors, catalog, urls, request.weights, request.insisted
        )
        self._choices.append(choice)
        return choice

    async def find_more(self, peers: Sequence[str], mirrors: Sequence[str]) -> None:
        """Look at further addresses until cancelled; for `SharedGets`."""
        new_peers = [address for address in peers if address not in self._addresses]
        new_mirrors = [url for url in mirrors if url not in self._addresses]
        self._addresses.update(new_peers, new_mirrors)
        if new_peers or new_mirrors:
            await self.feed.run(new_peers, await self._choose(new_mirrors))
        await asyncio.Event().wait()

    async def _bring_from_right_root(self) -> Got:
        """Try every root that is named for a whole-file SHA-256 until one is right."""
        self._emit(GetProgress("finding", 0, 0, 0, 0.0))
        while True:
            try:
                return await self._bring()
            except _WrongRoot as wrong:
                await self._reject_root(wrong)

    async def _bring(self) -> Got:
        try:
            entries = await self._structure()
        except (ContentError, NoProviders) as exc:
            if self._named_root is None:
                raise
            is_lie = isinstance(exc, ContentError)
            raise _WrongRoot("has no tree of a file", is_lie=is_lie) from exc
        if entries is None:
            return await self._rebuild()
        if self._sha256 is not None and _root_of(entries).kind != "file":
            raise _WrongRoot("is no file")
        output = self._choose_output(is_file=_root_of(entries).kind != "directory")
        impossible = await asyncio.to_thread(impossible_paths, output, entries)
        entries = [entry for entry in entries if entry.path not in impossible]
        manifest = make_manifest(_root_of(entries).cid, entries)
        self._recording.root, self._recording.out = str(manifest.target), str(output)
        if 0 < self._request.max_bytes < manifest.size_bytes:
            raise TargetError(f"{self._target} has {manifest.size_bytes:,} bytes: there is no room")
        outputs = lay_out(manifest, output)
        self._emit(GetProgress("structure", 0, manifest.size_bytes, 0, 0.0, 0, len(outputs)))
        on_disk = await asyncio.to_thread(self._prepare, manifest, output, outputs)
        outcome = await self._transfer(manifest, outputs, on_disk.done, on_disk.size_bytes)
        bad = {s.source_id: s.reason for s in outcome.sources if s.state == "banned"}
        bad.update(self._loader.bad_sources)
        if outcome.unfinished or impossible:
            raise why_unfinished(
                self._target,
                manifest,
                outcome,
                impossible,
                timeout_s=self._request.timeout_s,
                emit=self._emit,
            )
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
        grace = time.monotonic() + self._grace_s
        try:
            while not walking.done():
                await asyncio.wait([walking], timeout=0.1)
                is_stuck = self._loader.is_waiting and time.monotonic() > grace
                if is_stuck and self._named_root is not None and self.feed.named.best() is not None:
                    raise _WrongRoot("has a tree that nobody gives", is_lie=False)
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
        naming = asyncio.create_task(self.feed.named.wait())
        try:
            both: set[asyncio.Task[Any]] = {loading, naming}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if naming.done() and not (loading.done() and loading.exception() is None):
                self._sha256 = cid.digest
                self._named_root = naming.result()
                return self._named_root
            await loading
            return cid
        finally:
            for task in (loading, naming):
                task.cancel()
            await asyncio.gather(loading, naming, return_exceptions=True)

    async def _reject_root(self, wrong: _WrongRoot) -> None:
        """Blame those who named the root that was tried, and wait a little for another one.

        Raises:
            CidMismatch: No other root is known, nor a URL of the whole file.
            NoProviders: As that, but nobody has lied.
        """
        root, self._named_root, self._sha256 = self._named_root, None, None
        named = self.feed.named
        if root is not None:
            for source_id in named.reject(root):
                if wrong.is_lie:
                    log.warning("source banned source=%s reason=named a wrong root", source_id)
                    self._loader.ban(source_id, f"named a root that {wrong}")
        if root is not None and (named.best() is not None or self.feed.file_urls):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace_s):
                await named.wait()
                return
        if not wrong.is_lie and isinstance(wrong.__cause__, MirrorError):
            raise wrong.__cause__
        blamed = ", ".join(self._loader.bad_sources) or "this node's catalog"
        raise CidMismatch(self._target.cid, f"the root that {blamed} named for it {wrong}")

    @property
    def _grace_s(self) -> float:
        return min(REBUILD_AFTER_S, self._request.timeout_s / 2)

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
        is_kept = self._request.is_kept
        local = await asyncio.to_thread(local_offer, catalog, manifest, done)
        session = TransferSession(
            manifest,
            outputs,
            done,
            Journal(catalog),
            resumed_bytes=resumed_bytes,
            on_progress=lambda event: self._progressed(session, event),
            check_whole=self._check_whole,
            on_finished=lambda batch: record_files(catalog, batch, is_managed=is_kept),
            own_id=f"peer:{self._ports.finder.peer_id}",
            pace=self._pace,
        )

        def is_wanted(offer: Offer) -> bool:
            # What was offered for a root that turned out wrong, or by who named it, is of no use.
            is_bad = offer.source.source_id in self._loader.bad_sources
            fits = offer.available is None or len(offer.available) == manifest.leaves
            return fits and not is_bad

        self.feed.attach(manifest)
        watching = asyncio.create_task(self.feed.watch_partial(session.board.is_file_complete))
        offers = SharedOffers(active, session, is_wanted)
        active.start(session, offers)
        try:
            found = offers.offers(local, self.feed.offers())
            outcome = await session.run(found, self._request.timeout_s)
            self._take(outcome.sources)
            return outcome
        except CidMismatch as exc:
            if self._sha256 is None:
                raise
            raise _WrongRoot(ANOTHER_FILE) from exc
        finally:
            active.remove(session)
            self._recording.note(session, session.sources)
            self._recording.settle(session)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    def _emit(self, event: Event) -> None:
        self._recording.follow(event)
        self._hear(event)

    def _progressed(self, part: object, event: GetProgress) -> None:
        """Pass on how a transfer does, to whoever goes by it."""
        self.feed.note_progress(event)
        self._recording.note(part, event.sources)
        self._emit(event)

    def _take(self, sources: Sequence[SourceState]) -> None:
        """Learn how mirrors did."""
        for choice in self._choices:
            choice.take(sources, asyncio.get_running_loop().time())

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
            self._ports.catalog.close_transfer(output.file.root, output.path)
            raise CidMismatch(self._target.cid, ANOTHER_FILE)

    # -- end -------------------------------------------------------------------------------------

    def _finish(self, manifest: Manifest, output: Path) -> None:
        finish_tree(self._ports.catalog, manifest, output, output.name, self._emit)
        self._ports.announce()

    async def _rebuild(self) -> Got:
        output = self._choose_output(is_file=True)
        self._recording.out = str(output)
        shown = public_url(self.feed.file_urls[0].url)
        self._emit(Note(f"no peer has the structure; fetching the whole file from {shown}"))
        try:
            rebuilt = await rebuild(
                self._ports.catalog,
                self._target.cid,
                output,
                self.feed.file_urls,
                lambda event: self._progressed("rebuild", event),
                pace=self._pace,
                note=lambda states: self._recording.note("rebuild", states),
            )
        except SourceError as exc:
            self._take([SourceState(exc.source_id, "failed", 0, 0.0, str(exc))])
            raise
        self._take(
            [
                SourceState(source_id, "idle", count, 0.0)
                for source_id, count in rebuilt.bytes_by_source.items()
            ]
        )
        if self._request.is_kept:
            await asyncio.to_thread(self._ports.catalog.mark_managed, output)
        self._ports.announce()
        return Got(
            cid=str(self._target.cid),
            path=str(output),
            size_bytes=rebuilt.size_bytes,
            seconds=self._elapsed(),
            bytes_by_source=rebuilt.bytes_by_source,
            resumed_bytes=rebuilt.resumed_bytes,
            bad_sources=self._loader.bad_sources,
        )

    def _elapsed(self) -> float:
        return round(time.monotonic() - self._began, 3)


def _root_of(entries: Sequence[TreeEntry]) -> TreeEntry:
    return next(entry for entry in entries if not entry.path)

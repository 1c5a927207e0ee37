"""Files of the Hub for whoever asks: one shared transfer per file, whatever the number of askers.

A file is known by its ETag, the SHA-256 or git-sha1 of its content. It is looked for on this disk,
then brought by `bringing` or `small_file`; a transfer goes on when its askers leave. What arrived
is recorded: files of open repos are shared and announced like any other, files of gated and private
repos are kept where no peer can see them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.errors import (
    ContentError,
    FileChanged,
    MirrorError,
    Stopped,
    StoreError,
)
from mirrornode.mirror.hub.body import HubBody, again
from mirrornode.mirror.hub.bringing import Arrived, Attempt, Bringing
from mirrornode.mirror.hub.cached import adopt, publish_copy, read_copy, record_of, share_record
from mirrornode.mirror.hub.peers_first import TeamRate
from mirrornode.mirror.hub.proofs import Proofs, Reading
from mirrornode.mirror.hub.recent import Recent
from mirrornode.mirror.hub.sharing import Sharing
from mirrornode.mirror.hub.small_file import (
    SMALL_FILE_BYTES,
    bring_small,
    hub_cid,
    write_small,
)
from mirrornode.store.home import HUB_NAME
from mirrornode.store.hub_records import HubBlob, is_followed_nodes_word
from mirrornode.store.stamps import FileStamp, look
from mirrornode.wire.hub import HubTarget

if TYPE_CHECKING:
    from mirrornode.events import GetProgress
    from mirrornode.mirror.get_request import GetPorts
    from mirrornode.mirror.hub.named import Named
    from mirrornode.mirror.recording import Recording
    from mirrornode.sources.hub_origin import HubFileSource, Origins
    from mirrornode.wire.hub import HubFile

log = logging.getLogger(__name__)

HUB_FACE = "hub"
HUB_KIND, GATEWAY_KIND = "hub", "gateway"  # of downloads: for a `get`, for a client of the endpoint
MAX_TRANSFERS = 64
MAX_SMALL = 32
PROGRESS_EVERY_S = 0.2
WRONG_REST_S = 60.0  # longer than clients try again after 502
MAX_WRONG = 1000  # files that are remembered for it


@dataclass(frozen=True, slots=True)
class Brought:
    """A file that is here: where, and what it took.

    `is_read` says that somebody may be about to open it there.
    """

    path: Path
    bytes_by_source: Mapping[str, int]
    bad_sources: Mapping[str, str]
    is_read: bool = False


OnRefused = Callable[["Named", str], Awaitable[None]]
Bring = Callable[
    [Sharing, "Recording", "HubFile", Path, "list[HubFileSource]"], Coroutine[None, None, None]
]


class HubFiles:
    """Opens files of the Hub; made by `open_hub_files`."""

    def __init__(
        self, ports: GetPorts, origins: Origins, folder: Path, on_refused: OnRefused
    ) -> None:
        """Prepare.

        Args:
            on_refused: Told that an origin refused a file of a repo to a token, and that nobody
                else had it; waited for before those who asked hear of it.
        """
        self._ports = ports
        self._on_refused = on_refused
        self._origins = origins
        self._folder = folder
        self._sharing: dict[str, Sharing] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._publishing: set[str] = set()
        self._team = TeamRate()
        self._proofs = Proofs(ports.catalog, self._spawn)
        self._wrong: Recent[tuple[ContentError, float]] = Recent(MAX_WRONG)
        self._slots = asyncio.Semaphore(MAX_TRANSFERS)
        self._small_slots = asyncio.Semaphore(MAX_SMALL)
        self.recorder = ports.recorder

    @property
    def running(self) -> int:
        """How many files are being brought now."""
        return len(self._sharing)

    async def open(self, named: Named, file: HubFile, token: str) -> HubBody:
        """Return the file for reading, from this disk or while it arrives.

        The caller has checked that the asker may have it.

        Raises:
            ContentError: Only wrong bytes were to be had a moment ago.
            StoreError: This machine's disk failed.
        """
        poisoned = await asyncio.to_thread(self._ports.catalog.poisoned_since, file.etag)
        restarts = poisoned is not None
        found = await self._find_for(named, file)
        reading = None
        if found is not None:
            reading = await self._proofs.reading(file, found)
            if reading is not None and file.size_bytes <= SMALL_FILE_BYTES:
                found, reading = await self._once_read(found, reading), None
        if reading is not None:
            self.recorder.note_asked(HUB_FACE, is_hit=True)
            return HubBody.of_attempt(
                reading, file.size_bytes, reading.proof, restarts_ranges=restarts
            )
        if found is not None:
            with contextlib.suppress(FileChanged):
                body = HubBody.of_file(found, restarts_ranges=restarts)
                self.recorder.note_asked(HUB_FACE, is_hit=True)
                return body
        self.recorder.note_asked(HUB_FACE, is_hit=False)
        self._check_rest(file)
        sharing = await self._join(named, file, token, is_read=True)
        sharing.is_streamed = True
        return HubBody.of_attempt(
            sharing.attempt, file.size_bytes, sharing.proof, restarts_ranges=restarts
        )

    async def _once_read(self, path: Path, reading: Reading) -> Path | None:
        """Return the path when the file there is right, None when it has to be fetched."""
        try:
            await reading.proof()
        except (ContentError, FileChanged):
            return None
        return path

    def _check_rest(self, file: HubFile) -> None:
        """Refuse a file of which there were only wrong bytes, for a while.

        Newer clients ask again and again as long as bytes come, and each time all is fetched.
        """
        wrong = self._wrong.get(file.etag)
        if wrong is not None and file.etag not in self._sharing:
            failure, until = wrong
            if time.monotonic() < until:
                raise again(failure)

    async def _join(
        self,
        named: Named,
        file: HubFile,
        token: str,
        *,
        is_read: bool,
        account: Recording | None = None,
    ) -> Sharing:
        """Return the transfer of a file, started if there is none.

        Args:
            is_read: Somebody will read it from its start while it arrives.
            account: What a transfer that is started is recorded in; None for its own.
        """
        is_open = await self._is_open(named, file)
        while (
            (sharing := self._sharing.get(file.etag)) and sharing.task and sharing.task.cancelling()
        ):
            await asyncio.wait([sharing.task])
        if sharing is None:
            sharing = self._start(named, file, token, is_read, account)
        sharing.is_open = sharing.is_open or is_open
        return sharing

    async def bring(
        self,
        named: Named,
        file: HubFile,
        token: str,
        progress: Callable[[int], None],
        account: Recording | None = None,
    ) -> Brought:
        """Bring a file, unless it is here, and tell where it lies.

        Cancelling ends the transfer if nobody else has asked for the file; what arrived is kept.

        Args:
            progress: Told now and then how many bytes of the file are here.
            account: Of the download that this file is a part of; None when it is one itself.

        Raises:
            MirrorError: As `HubBody.wait`.
        """
        here = await self._find_for(named, file)
        if here is not None and (reading := await self._proofs.reading(file, here)) is not None:
            here = await self._once_read(here, reading)
        if here is not None:
            progress(file.size_bytes)
            return Brought(here, {}, {})
        sharing = await self._join(named, file, token, is_read=False, account=account)
        sharing.bringers += 1
        try:
            while not sharing.ended.done():
                await asyncio.wait([sharing.ended], timeout=PROGRESS_EVERY_S)
                progress(sharing.arrived_bytes)
        except asyncio.CancelledError:
            if sharing.bringers == 1 and not sharing.is_streamed and sharing.task is not None:
                sharing.task.cancel()
                await asyncio.gather(sharing.task, return_exceptions=True)
            raise
        finally:
            sharing.bringers -= 1
        if (failure := sharing.ended.result()) is not None:
            raise again(failure)
        found = await self._find_for(named, file)
        if found is None:
            raise StoreError(f"{file.path} was fetched and is gone again")
        progress(file.size_bytes)
        is_read = sharing.is_streamed or sharing.bringers > 0
        return Brought(found, sharing.bytes_by_source, sharing.bad_sources, is_read)

    @property
    def folder(self) -> Path:
        """Where the node's own copies lie."""
        return self._folder

    def place_of(self, file: HubFile) -> Path:
        """Return where the node's own copy of a file lies, or would."""
        return self._folder / file.etag[:2] / file.etag

    def on_its_way(self, file: HubFile) -> GetProgress | None:
        """Return how a large file that is being brought stands, and who delivers it."""
        sharing = self._sharing.get(file.etag)
        return sharing.bringing.progress if sharing and sharing.bringing else None

    # -- on this disk ----------------------------------------------------------------------------

    async def _find_for(self, named: Named, file: HubFile) -> Path | None:
        """Return a verified copy on this disk; for an open repo it is shared from now on."""
        blob = await asyncio.to_thread(self.find, file)
        if blob is None:
            return None
        if blob.is_open or file.etag in self._publishing:
            return blob.path
        if await self._is_open(named, file):
            self._publishing.add(file.etag)
            self._spawn(self._publish_later(file, blob))
        return blob.path

    async def _is_open(self, named: Named, file: HubFile) -> bool:
        """Tell whether an origin said that this file is everybody's."""
        if not named.is_open:
            return False
        return await asyncio.to_thread(self._ports.catalog.is_vouched_open, file.etag)

    async def _publish_later(self, file: HubFile, blob: HubBlob) -> None:
        try:
            await asyncio.to_thread(self.publish, file, blob)
            self._ports.announce()
        except MirrorError as exc:
            log.warning("file not shared etag=%s reason=%s", file.etag, exc)
        finally:
            self._publishing.discard(file.etag)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None and not isinstance(failure, Stopped):  # who waits was told of that
            log.error("bringing a file of the Hub crashed", exc_info=failure)

    def find(self, file: HubFile) -> HubBlob | None:
        """Return a verified copy on this disk whose stamp is as it was. Blocking."""
        catalog = self._ports.catalog
        for blob in catalog.hub_blob(file.etag):
            if look(blob.path, blob.stamp) != "ok" or blob.stamp.size_bytes != file.size_bytes:
                catalog.drop_hub_blob(blob.path)
                continue
            self._ports.active.uses.note(blob.path)
            return blob
        stored = catalog.find_file(hub_cid(file).multihash)
        if stored is None or stored.size_bytes != file.size_bytes:
            return None
        state = look(stored.path, stored.stamp)
        if state != "ok":
            catalog.mark_changed(stored.path, state)
            return None
        self._ports.active.uses.note(stored.path)
        return HubBlob(file.etag, stored.path, stored.stamp, is_open=True, is_managed=False)

    def publish(self, file: HubFile, blob: HubBlob) -> None:
        """Share a file that was kept to ourselves: an open repo has it. Blocking, reads it whole.

        Raises:
            StoreError: It is not what it was, or this machine's disk failed.
        """
        digests = read_copy(file.etag, blob.path, lambda _: None)
        if digests is None:
            self._ports.catalog.drop_hub_blob(blob.path)  # whoever asks next gets it anew
            raise StoreError(f"{blob.path} is not what it was when it was fetched")
        publish_copy(self._ports.catalog, file.etag, blob.path, digests, is_managed=blob.is_managed)

    # -- bringing --------------------------------------------------------------------------------

    def _start(
        self, named: Named, file: HubFile, token: str, is_read: bool, account: Recording | None
    ) -> Sharing:
        output = self.place_of(file)
        # A large file that is everybody's is asked for without a name: the transfer is shared and
        # long, and a token that is wrong or runs out must not end it for the others.
        is_small = file.size_bytes <= SMALL_FILE_BYTES
        shown = token if named.needs_grant or is_small else ""
        # What is known from a node that this one follows comes from there, or from other peers.
        asked = () if is_followed_nodes_word(named.vouched_by) else self._origins.in_order()
        origins = [origin.file_source(named.repo, named.commit, file, shown) for origin in asked]
        asks_peers = not named.needs_grant
        sharing = Sharing(Attempt(output), account, asks_peers=asks_peers, is_read=is_read)
        bring = self._bring_small if file.size_bytes <= SMALL_FILE_BYTES else self._bring
        self._sharing[file.etag] = sharing

        async def tell_refused() -> None:
            if any(origin.was_refused for origin in origins):
                await self._on_refused(named, shown)

        sharing.tell_refused = tell_refused
        sharing.task = self._spawn(self._recorded(bring, sharing, named, file, output, origins))
        return sharing

    async def _recorded(
        self,
        bring: Bring,
        sharing: Sharing,
        named: Named,
        file: HubFile,
        output: Path,
        origins: list[HubFileSource],
    ) -> None:
        """Run `bring`, in the account of the `get` that began it or in one of its own."""
        if sharing.account is not None:
            await bring(sharing, sharing.account, file, output, origins)
            return
        kind = GATEWAY_KIND if sharing.is_read else HUB_KIND
        target = str(HubTarget(named.repo, named.commit, file.path))
        async with self.recorder.recording(kind, target) as own:
            own.root, own.size_bytes, own.out = str(hub_cid(file)), file.size_bytes, str(output)
            await bring(sharing, own, file, output, origins)
            if sharing.attempt.failure is not None:
                own.fail(sharing.attempt.failure)

    async def _bring(
        self,
        sharing: Sharing,
        recording: Recording,
        file: HubFile,
        output: Path,
        origins: list[HubFileSource],
    ) -> None:
        bringing = Bringing(
            self._ports,
            file,
            output,
            origins,
            attempt=sharing.first,
            recording=recording,
            follow=lambda progress: sharing.follow(recording, progress),
            asks_peers=sharing.asks_peers,
            is_read=sharing.is_read,
            on_mismatch=lambda: self._ports.catalog.mark_poisoned(file.etag, time.time()),
            shows=sharing.is_open,
            team=self._team,
        )
        sharing.bringing = bringing
        async with self._ending(sharing, file), self._slots:
            if await asyncio.to_thread(self._adopt_finished, file, output):
                return
            with contextlib.closing(bringing):
                arrived = await bringing.run()
                sharing.bytes_by_source = bringing.bytes_by_source
                sharing.bad_sources = bringing.bad_sources
                await asyncio.to_thread(self._keep, file, arrived, sharing.is_open)

    async def _bring_small(
        self,
        sharing: Sharing,
        recording: Recording,
        file: HubFile,
        output: Path,
        origins: list[HubFileSource],
    ) -> None:
        async with self._ending(sharing, file), self._small_slots:
            if await asyncio.to_thread(self._adopt_finished, file, output):
                return
            small = await bring_small(
                self._ports, file, origins, recording, asks_peers=sharing.asks_peers
            )
            if small.content:
                sharing.bytes_by_source = {small.source_id: len(small.content)}
            await asyncio.to_thread(write_small, output, small.content)
            await asyncio.to_thread(self._keep_small, file, output, sharing.is_open)

    @asynccontextmanager
    async def _ending(self, sharing: Sharing, file: HubFile) -> AsyncIterator[None]:
        """Let go whoever waits for a file, however the block that brings it ends."""
        held = self._ports.active.temp_pins.hold(os.fspath(self.place_of(file)))
        try:
            with held:
                yield
            self._wrong.drop(file.etag)
            sharing.end()
            self._ports.announce()
        except MirrorError as exc:
            log.warning("hub file did not come etag=%s reason=%s", file.etag, exc)
            try:
                if sharing.tell_refused is not None:
                    await sharing.tell_refused()
                if isinstance(exc, ContentError) and file.size_bytes > SMALL_FILE_BYTES:
                    self._wrong.put(file.etag, (exc, time.monotonic() + WRONG_REST_S))
            finally:
                sharing.end(exc)
        except BaseException:
            sharing.end(StoreError("it was stopped at the node"))
            raise
        finally:
            self._sharing.pop(file.etag, None)

    def _adopt_finished(self, file: HubFile, output: Path) -> bool:
        """Take a file that was finished and not recorded before the node stopped. Blocking."""
        catalog = self._ports.catalog
        return adopt(catalog, file.etag, output, lambda _: None, is_managed=True)

    def _keep(self, file: HubFile, arrived: Arrived, is_open: bool) -> None:
        """Record a file that has come. Blocking."""
        stamp = FileStamp.of(arrived.path)
        if is_open:
            share_record(self._ports.catalog, record_of(file, arrived, stamp))
        self._ports.catalog.put_hub_blob(
            file.etag, arrived.path, stamp, is_open=is_open, is_managed=True
        )
        self._proofs.note(file.etag, arrived.path)

    def _keep_small(self, file: HubFile, path: Path, is_open: bool) -> None:
        blob = HubBlob(file.etag, path, FileStamp.of(path), is_open=is_open, is_managed=True)
        self._proofs.note(file.etag, path)
        if is_open:
            self.publish(file, blob)
            return
        self._ports.catalog.put_hub_blob(
            file.etag, path, blob.stamp, is_open=False, is_managed=True
        )

    async def close(self) -> None:
        """End all transfers; what has arrived is kept for the next time."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def open_hub_files(
    ports: GetPorts, origins: Origins, home: Path, on_refused: OnRefused
) -> AsyncIterator[HubFiles]:
    """Yield the files of the Hub for the length of the block; what arrives is kept in `home`.

    Args:
        on_refused: See `HubFiles`.
    """
    files = HubFiles(ports, origins, home / HUB_NAME, on_refused)
    try:
        yield files
    finally:
        await files.close()

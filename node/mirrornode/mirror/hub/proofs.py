"""Files of the Hub that are here: still what they were, or read once more before that is said.

Peers hash what they get; the Hub's clients do not. A program that rewrites a file in place and
restores its size and time leaves the stamp as it was, but not the change time, which nobody can
set. So a file goes to clients as it is while its change time is that of its last proof. Else it
is read again: it goes out meanwhile, its end held back as with one that arrives (decision 0007).

Does not see what changes below the file system, such as a failing disk: `verify` does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.errors import CidMismatch, FileChanged, MirrorError
from mirrornode.mirror.hub.body import again
from mirrornode.mirror.hub.bringing import Attempt
from mirrornode.mirror.hub.prefix_hash import LOOK_AGAIN_S, PrefixHash
from mirrornode.mirror.hub.small_file import hub_cid
from mirrornode.store.stamps import CHANGED

if TYPE_CHECKING:
    from mirrornode.store.catalog import Catalog
    from mirrornode.wire.hub import HubFile

log = logging.getLogger(__name__)

MAX_READINGS = 4  # files that are hashed at the same time; each takes a core


class Reading(Attempt):
    """A file that is read once more; who reads along follows it like one that arrives."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        super().__init__(path)
        self._size_bytes = size_bytes
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def arrived_until(self, offset: int) -> int:
        """See `Attempt`: all of it is here."""
        return self._size_bytes

    async def proof(self) -> Attempt:
        """Wait for the end.

        Raises:
            CidMismatch: The file was altered.
            MirrorError: It could not be read.
        """
        await asyncio.wait([self._ended])
        if self.failure is not None:
            raise again(self.failure)
        return self

    def end(self, failure: MirrorError | None = None) -> None:
        """Let go whoever reads along."""
        self.failure = failure
        self.is_verified = failure is None
        if not self._ended.done():
            self._ended.set_result(None)


class Proofs:
    """Knows which files are proven, and proves others; belongs to one event loop."""

    def __init__(
        self, catalog: Catalog, spawn: Callable[[Coroutine[None, None, None]], object]
    ) -> None:
        """Prepare.

        Args:
            spawn: Runs a task that is ended with the node.
        """
        self._catalog = catalog
        self._spawn = spawn
        self._readings: dict[Path, Reading] = {}
        self._slots = asyncio.Semaphore(MAX_READINGS)

    def note(self, etag: str, path: Path) -> None:
        """Note that a file was just found to have the content of that name. Blocking."""
        status = path.lstat()
        self._catalog.put_hub_proof(etag, path, status.st_ino, status.st_ctime_ns)

    async def reading(self, file: HubFile, path: Path) -> Reading | None:
        """Return the reading of a file that has to be proven again, None when it need not be."""
        if await asyncio.to_thread(self._is_proven, file.etag, path):
            return None
        reading = self._readings.get(path)
        if reading is None:
            reading = self._readings[path] = Reading(path, file.size_bytes)
            self._spawn(self._read(file, reading))
        return reading

    def _is_proven(self, etag: str, path: Path) -> bool:
        try:
            status = path.lstat()
        except OSError:
            return False
        return self._catalog.hub_proof(etag, path) == (status.st_ino, status.st_ctime_ns)

    async def _read(self, file: HubFile, reading: Reading) -> None:
        failure: MirrorError | None = FileChanged(reading.output, CHANGED)  # ended with the node
        try:
            await self._prove(file, reading)
            failure = None
        except CidMismatch as exc:
            log.warning("file altered with its stamp kept etag=%s", file.etag)
            await asyncio.to_thread(self._forget, file, reading.output)
            failure = exc
        except MirrorError as exc:
            failure = exc
        finally:
            del self._readings[reading.output]
            reading.end(failure)

    async def _prove(self, file: HubFile, reading: Reading) -> None:
        path = reading.output
        try:
            before = path.lstat()
            digests = await self._digests(file, reading)
            after = path.lstat()
        except OSError as exc:
            raise FileChanged(path, CHANGED) from exc
        if digests != file.etag:
            raise CidMismatch(hub_cid(file), "the file here was altered")
        # Touched while it was read: right, as far as was read, and to be read again next time.
        if (before.st_ino, before.st_ctime_ns) == (after.st_ino, after.st_ctime_ns):
            await asyncio.to_thread(
                self._catalog.put_hub_proof, file.etag, path, after.st_ino, after.st_ctime_ns
            )

    async def _digests(self, file: HubFile, reading: Reading) -> str:
        follower = PrefixHash(
            reading.open_part,
            file.size_bytes,
            reading.arrived_until,
            is_lfs=bool(file.sha256),
            with_leaves=False,
        )
        async with self._slots:
            follower.start()
            try:
                # Not in a thread of the loop's few: it may take a minute.
                while follower.is_running:  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_AGAIN_S)
                return follower.finish().etag
            finally:
                follower.stop()

    def _forget(self, file: HubFile, path: Path) -> None:
        """Blocking."""
        # First what makes a resume start over: somebody may hold the beginning.
        self._catalog.mark_poisoned(file.etag, time.time())
        self._catalog.drop_hub_blob(path)
        self._catalog.mark_changed(path, CHANGED)

"""Inner nodes and folders for a walk: from this disk, else from whichever source has them.

One source is asked after the other, the next one also when the last takes long.
Every block is verified against its CID here; a source that sends a wrong one is dropped for the
rest of the walk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from mirrornode.content.block import Block
from mirrornode.content.cid import DAG_PB, Cid
from mirrornode.errors import (
    Blame,
    BlockNotFound,
    ContentError,
    MirrorError,
    NoProviders,
    SourceRefused,
)
from mirrornode.events import SourceState
from mirrornode.mirror.told import told

if TYPE_CHECKING:
    from mirrornode.sources.ports import BlockSource

log = logging.getLogger(__name__)

MAX_FETCHES = 32  # threads; those of stalled sources are lost until they time out
PATIENCE_S = 1.0  # for one source before the next is asked as well
PARALLEL = 8  # connections to one source while a wide tree is read
SMALL_NODE_BYTES = 4096  # symlinks and empty folders have no links, but are worth keeping
MAX_REST_S = 60.0  # of the rest that an overloaded source asks for
WRONG_BYTES = "sent wrong bytes"
LACKS_IT = "does not have it"
BLOCKS_PER_CALL = 64  # below this another connection costs more than it brings


class BlockLoader:
    """Loads verified blocks; sources may be added while it waits for them."""

    def __init__(
        self,
        local: Callable[[Cid], bytes | None],
        keep: Callable[[Sequence[Block]], None],
        timeout_s: float,
    ) -> None:
        """Prepare.

        Args:
            local: Blocking look-up on this disk.
            keep: Blocking; told the inner nodes and folders that came from elsewhere.
            timeout_s: How long to wait, without a single block, for a source that has it.
        """
        self._local = local
        self._keep = keep
        self._timeout_s = timeout_s
        self._sources: list[BlockSource] = []
        self._changed = asyncio.Event()
        # Threads of its own: stalled sources must not take those that everybody shares.
        self._pool = ThreadPoolExecutor(MAX_FETCHES, "blocks")
        self.bad_sources: dict[str, str] = {}
        self.failures: dict[str, str] = {}  # by source: what it did last instead of delivering
        self._resting: dict[str, float] = {}  # until when a source asked to be left alone
        self.bytes_by_source: dict[str, int] = {}
        self.is_waiting = False

    def add_source(self, source: BlockSource) -> None:
        """Ask this source too, from now on."""
        if source.source_id in self.bad_sources:
            return
        self._sources = [s for s in self._sources if s.source_id != source.source_id]
        self._sources.append(source)
        self._changed.set()

    def note_failure(self, source_id: str, reason: str) -> None:
        """Keep why a source brought nothing, for whoever asks in the end."""
        self.failures[source_id] = reason

    def states(self) -> list[SourceState]:
        """Return what each source did for the walk; how long it took is not measured."""
        found = []
        for source_id in dict.fromkeys([*self.bytes_by_source, *self.failures]):
            reason = self.failures.get(source_id, "")
            failures = int(reason not in ("", LACKS_IT))
            count = self.bytes_by_source.get(source_id, 0)
            found.append(SourceState(source_id, "idle", count, 0.0, reason, failures=failures))
        return found

    @property
    def has_sources(self) -> bool:
        return bool(self._sources)

    async def load(self, cids: Sequence[Cid]) -> list[Block]:
        """Return the verified blocks of `cids`, in their order.

        Raises:
            NoProviders: No source had one of them in time.
        """
        found = await asyncio.to_thread(self._load_local, cids)
        deadline = time.monotonic() + self._timeout_s
        asking: dict[asyncio.Task[None], BlockSource] = {}
        try:
            while missing := [cid for cid in cids if cid not in found]:
                self._changed.clear()
                before = set(found)
                await self._ask_sources(cids, found, asking)
                fresh = [block for cid, block in found.items() if cid not in before]
                if fresh:
                    deadline = time.monotonic() + self._timeout_s
                    await asyncio.to_thread(self._keep, list(filter(is_structure, fresh)))
                else:
                    await self._wait_for_source(missing[0], deadline, asking)
        finally:
            for task, source in asking.items():
                source.abort_fetches()
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        return [found[cid] for cid in cids]

    def close(self) -> None:
        """Break off everything that threads are still waiting for."""
        for source in self._sources:
            source.abort_fetches()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _ask_sources(
        self,
        cids: Sequence[Cid],
        found: dict[Cid, Block],
        asking: dict[asyncio.Task[None], BlockSource],
    ) -> None:
        """Ask one source after the other; a slow one goes on while the next is asked."""
        for source in list(self._sources):
            missing = [cid for cid in dict.fromkeys(cids) if cid not in found]
            if not missing:
                return
            if source in asking.values():
                continue
            if time.monotonic() < self._resting.get(source.source_id, 0.0):
                continue
            asking[asyncio.create_task(self._load_from(source, missing, found))] = source
            await _first_done(asking, PATIENCE_S)
            if source in asking.values():
                self._put_last(source)

    def _load_local(self, cids: Sequence[Cid]) -> dict[Cid, Block]:
        found = {}
        for cid in dict.fromkeys(cids):
            kept = self._local(cid)
            if kept is not None:
                try:
                    found[cid] = Block.verify(cid, kept)
                except ContentError:
                    log.warning("block on this disk is damaged cid=%s", cid)
        return found

    async def _load_from(
        self, source: BlockSource, missing: Sequence[Cid], found: dict[Cid, Block]
    ) -> None:
        calls = max(1, min(PARALLEL, len(missing) // BLOCKS_PER_CALL))
        parts = [missing[at::calls] for at in range(calls)]
        loop = asyncio.get_running_loop()
        results = await asyncio.gather(
            *(loop.run_in_executor(self._pool, source.fetch_blocks, part) for part in parts),
            return_exceptions=True,
        )
        for part, result in zip(parts, results, strict=True):
            if isinstance(result, MirrorError) and result.blame is Blame.SOURCE:
                log.info("source failed source=%s reason=%s", source.source_id, result)
                self.note_failure(source.source_id, str(result))
                if isinstance(result, SourceRefused) and result.retry_after_s:
                    rest_s = min(result.retry_after_s, MAX_REST_S)
                    self._resting[source.source_id] = time.monotonic() + rest_s
                if _may_recover(result):
                    self._put_last(source)
                else:
                    self._drop(source, str(result), is_bad=False)
                continue
            if isinstance(result, BaseException):
                raise result
            for cid, payload in zip(part, result, strict=True):
                if payload is None:
                    self.note_failure(source.source_id, LACKS_IT)
                    continue
                try:
                    found[cid] = Block.verify(cid, payload)
                except ContentError:
                    self.note_failure(source.source_id, WRONG_BYTES)
                    self._drop(source, WRONG_BYTES, is_bad=True)
                    break
                self.bytes_by_source[source.source_id] = self.bytes_by_source.get(
                    source.source_id, 0
                ) + len(payload)

    def ban(self, source_id: str, reason: str) -> None:
        """Never ask this source again, and name it among the bad ones."""
        self._sources = [s for s in self._sources if s.source_id != source_id]
        self.bad_sources[source_id] = reason

    def _drop(self, source: BlockSource, reason: str, *, is_bad: bool) -> None:
        self._sources = [s for s in self._sources if s is not source]
        if is_bad:
            self.bad_sources[source.source_id] = reason

    def _put_last(self, source: BlockSource) -> None:
        """Ask the others first from now on: each block would wait for a slow or dead source."""
        if source in self._sources:
            self._sources = [*(s for s in self._sources if s is not source), source]

    async def _wait_for_source(
        self, cid: Cid, deadline: float, asking: dict[asyncio.Task[None], BlockSource]
    ) -> None:
        """Sleep until a source answers or was added, or a second has passed; in vain at last."""
        left = deadline - time.monotonic()
        if left <= 0:
            if self.failures:
                why = told(self.failures)
                raise NoProviders(f"no source has block {cid} ({why})") from BlockNotFound(cid)
            if self._sources or self.bad_sources:
                raise NoProviders(f"no source has block {cid}") from BlockNotFound(cid)
            raise NoProviders(
                f"nobody reachable has {cid}; start a node that has it, "
                "or name a source with --peer, --bootstrap or --mirror"
            )
        if asking:
            await _first_done(asking, min(left, 1.0))
            return
        self.is_waiting = True
        try:
            async with asyncio.timeout(min(left, 1.0)):
                await self._changed.wait()
        except TimeoutError:
            return
        finally:
            self.is_waiting = False


async def _first_done(asking: dict[asyncio.Task[None], BlockSource], timeout_s: float) -> None:
    """Wait for the first of the tasks and take out those that are done."""
    done, _ = await asyncio.wait(asking, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        del asking[task]
        task.result()


def _may_recover(failure: MirrorError) -> bool:
    """Tell whether a source that failed is worth another try."""
    is_overloaded = isinstance(failure, SourceRefused) and (
        failure.status == 429 or failure.status >= 500
    )
    return failure.transient or is_overloaded


def is_structure(block: Block) -> bool:
    """Tell inner nodes and folders from file content, which is kept as files and not twice.

    Canonical dag-pb writes links before data, so a node with links starts with their tag.
    """
    is_small = len(block.data) <= SMALL_NODE_BYTES
    return block.cid.codec == DAG_PB and (is_small or block.data.startswith(b"\x12"))

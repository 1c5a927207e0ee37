"""Inner nodes and folders for a walk: from this disk, else from whichever source has them.

Every block is verified against its CID here; a source that sends a wrong one is dropped for the
rest of the walk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mirrornode.content.block import Block
from mirrornode.content.cid import DAG_PB, Cid
from mirrornode.errors import BlockNotFound, CidMismatch, ContentError, NoProviders, SourceError

if TYPE_CHECKING:
    from mirrornode.sources.ports import BlockSource

log = logging.getLogger(__name__)

PARALLEL = 8  # connections to one source while a wide tree is read
SMALL_NODE_BYTES = 4096  # symlinks and empty folders have no links, but are worth keeping
BLOCKS_PER_CALL = 16  # below this another connection costs more than it brings


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
        self.bad_sources: dict[str, str] = {}
        self.bytes_by_source: dict[str, int] = {}
        self.is_waiting = False

    def add_source(self, source: BlockSource) -> None:
        """Ask this source too, from now on."""
        if source.source_id in self.bad_sources:
            return
        self._sources = [s for s in self._sources if s.source_id != source.source_id]
        self._sources.append(source)
        self._changed.set()

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
        while missing := [cid for cid in cids if cid not in found]:
            self._changed.clear()
            fresh = dict(found)
            for source in list(self._sources):
                await self._load_from(source, missing, found)
                missing = [cid for cid in missing if cid not in found]
                if not missing:
                    break
            if len(found) > len(fresh):
                deadline = time.monotonic() + self._timeout_s
                kept = [
                    block
                    for cid, block in found.items()
                    if cid not in fresh and _is_structure(block)
                ]
                await asyncio.to_thread(self._keep, kept)
            elif missing:
                await self._wait_for_source(missing[0], deadline)
        return [found[cid] for cid in cids]

    def _load_local(self, cids: Sequence[Cid]) -> dict[Cid, Block]:
        found = {}
        for cid in dict.fromkeys(cids):
            kept = self._local(cid)
            if kept is not None:
                try:
                    found[cid] = Block.verify(cid, kept)
                except CidMismatch:
                    log.warning("block on this disk is damaged cid=%s", cid)
        return found

    async def _load_from(
        self, source: BlockSource, missing: Sequence[Cid], found: dict[Cid, Block]
    ) -> None:
        calls = max(1, min(PARALLEL, len(missing) // BLOCKS_PER_CALL))
        parts = [missing[at::calls] for at in range(calls)]
        results = await asyncio.gather(
            *(asyncio.to_thread(source.fetch_blocks, part) for part in parts),
            return_exceptions=True,
        )
        for part, result in zip(parts, results, strict=True):
            if isinstance(result, SourceError):
                log.info("source failed source=%s reason=%s", source.source_id, result)
                if not result.transient:
                    self._drop(source, str(result), is_bad=False)
                continue
            if isinstance(result, BaseException):
                raise result
            for cid, payload in zip(part, result, strict=True):
                if payload is None:
                    continue
                try:
                    found[cid] = Block.verify(cid, payload)
                except ContentError:
                    self._drop(source, "sent wrong bytes", is_bad=True)
                    break
                self.bytes_by_source[source.source_id] = self.bytes_by_source.get(
                    source.source_id, 0
                ) + len(payload)

    def _drop(self, source: BlockSource, reason: str, *, is_bad: bool) -> None:
        self._sources = [s for s in self._sources if s is not source]
        if is_bad:
            self.bad_sources[source.source_id] = reason

    async def _wait_for_source(self, cid: Cid, deadline: float) -> None:
        """Sleep until a source was added or a second has passed; give up at the deadline."""
        left = deadline - time.monotonic()
        if left <= 0:
            if self._sources or self.bad_sources:
                raise NoProviders(f"no source has block {cid}") from BlockNotFound(cid)
            raise NoProviders(f"nobody reachable has {cid}")
        self.is_waiting = True
        try:
            async with asyncio.timeout(min(left, 1.0)):
                await self._changed.wait()
        except TimeoutError:
            return
        finally:
            self.is_waiting = False


def _is_structure(block: Block) -> bool:
    """Tell inner nodes and folders from file content, which is kept as files and not twice.

    Canonical dag-pb writes links before data, so a node with links starts with their tag.
    """
    is_small = len(block.data) <= SMALL_NODE_BYTES
    return block.cid.codec == DAG_PB and (is_small or block.data.startswith(b"\x12"))

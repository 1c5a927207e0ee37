"""Several transfers of one target at once: the blocks travel once, every output gets them.

The session that came first leads. Those behind it take the verified leaves out of its outputs, as
they come, and lend it the sources they found. When it ends, however it ends, the next one leads
and goes on with all sources. Every leaf is verified again by whoever takes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from mirrornode.errors import SourceRefused
from mirrornode.transfer.session import Offer, TransferSession

if TYPE_CHECKING:
    from mirrornode.mirror.active import ActiveTransfers
    from mirrornode.sources.ports import FileOfTransfer

LOOK_EVERY_S = 0.1  # at what the leader has by now
LANES = 2  # one for each core that can hash


class RunningSource:
    """The outputs of another session of the same target, part or finished."""

    def __init__(self, session: TransferSession, source_id: str) -> None:
        self.source_id = source_id
        self.max_lanes = LANES
        self.max_batch = 0
        self.outputs = {output.file.path: output for output in session.outputs}

    def open_lane(self) -> RunningLane:
        return RunningLane(self)


class RunningLane:
    """Reads leaves in place."""

    def __init__(self, source: RunningSource) -> None:
        self._source = source
        self._file: FileOfTransfer | None = None
        self._next = 0
        self._skip_bytes = 0

    @property
    def received_bytes(self) -> int:
        """See `Lane.received_bytes`; a disk brings whole leaves."""
        return 0

    def begin(self, file: FileOfTransfer, first: int, stop: int, skip_bytes: int = 0) -> None:
        """Note the run; `stop` is only advice here."""
        self._file, self._next, self._skip_bytes = file, first, skip_bytes

    def read_leaf(self, view: memoryview) -> None:
        """Fill `view` from the output that holds the leaf."""
        assert self._file is not None
        output = self._source.outputs.get(self._file.path)
        start = self._file.map.starts[self._next] + self._skip_bytes
        self._next, self._skip_bytes = self._next + 1, 0
        if output is None or output.read_into(view, start) != len(view):
            raise SourceRefused(
                "the leaf is not there any more", source_id=self._source.source_id, status=410
            )

    def end(self) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Reads from a disk end by themselves."""


class SharedOffers:
    """The sources of one session: what was found for it, and the session ahead of it."""

    def __init__(
        self,
        active: ActiveTransfers,
        session: TransferSession,
        is_wanted: Callable[[Offer], bool],
    ) -> None:
        """Prepare, and let sessions behind this one lend it their sources.

        Args:
            is_wanted: Tells whether an offer may be used for this session at all.
        """
        self._active = active
        self._session = session
        self._is_wanted = is_wanted
        self._box: asyncio.Queue[Offer] = asyncio.Queue()
        self._found: dict[str, Offer] = {}

    def lend(self, offer: Offer) -> None:
        """Take a source that another session of the same target has found."""
        self._box.put_nowait(offer)

    async def offers(
        self, local: Offer | None, found: AsyncIterator[Offer]
    ) -> AsyncIterator[Offer]:
        """Yield sources for the session as they turn up; never ends.

        Args:
            local: Leaves in other files of this disk, if any.
            found: What the finder and the user's mirrors bring.
        """
        if local is not None:
            yield local
        tasks = [asyncio.create_task(self._collect(found)), asyncio.create_task(self._follow())]
        try:
            while True:
                yield await self._box.get()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _collect(self, found: AsyncIterator[Offer]) -> None:
        async for offer in found:
            if self._is_wanted(offer):
                self._found[offer.source.source_id] = offer
                self._pass_on(offer)

    def _pass_on(self, offer: Offer) -> None:
        ahead = self._active.ahead_of(self._session)
        (self if ahead is None else ahead.offers).lend(offer)

    async def _follow(self) -> None:
        """Take from whoever is ahead until nobody is."""
        count = 0
        while (ahead := self._active.ahead_of(self._session)) is not None:
            count += 1
            source = RunningSource(ahead.session, f"local:transfer-{count}")
            for offer in self._found.values():
                ahead.offers.lend(offer)
            held = b""
            is_there = True
            while is_there:
                is_there = self._active.is_running(ahead.session)  # before the last look
                now = ahead.session.board.done_map()
                if now != held:
                    held = now
                    self._box.put_nowait(Offer(source, bytearray(held), may_grow=is_there))
                if is_there:
                    await asyncio.sleep(LOOK_EVERY_S)
            self._box.put_nowait(Offer(source, bytearray(held), may_grow=False))
        if count:
            for offer in self._found.values():
                self.lend(offer)

"""Which sources a file of the Hub is offered first, and when peers alone are too slow for it.

A repo comes as many files at the same time. They share one network, so what peers bring is counted
for all of them together: else the origin would be asked for what the team has, as soon as a fast
line is divided by eight.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from typing import TYPE_CHECKING

from mirrornode.transfer.session import Offer

if TYPE_CHECKING:
    from mirrornode.mirror.source_feed import SourceFeed
    from mirrornode.sources.ports import Source
    from mirrornode.transfer.session import TransferSession

# What the network of a team brings: while peers deliver that much, the origin is left alone.
ENOUGH_BYTES_PER_S = 10 << 20
LOOK_AT_RATE_S = 2.0


class TeamRate:
    """What transfers that have no origin among their sources receive, all together."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}

    def join(self, transfer: Hashable, received: Callable[[], int], now: float) -> None:
        """Count a transfer from now on.

        Args:
            received: Returns how many bytes of its file are here.
        """
        self._lines[transfer] = _Line(received, received(), now)

    def suffices(self, transfer: Hashable, now: float) -> bool:
        """Tell whether a transfer should go on with peers alone; asked every `LOOK_AT_RATE_S`.

        One that got nothing since it was asked last should not, however much the others get.
        """
        own = self._lines[transfer]
        total = sum(line.rate(now) for line in self._lines.values())
        return own.turn(now) > 0 and total >= ENOUGH_BYTES_PER_S

    def leave(self, transfer: Hashable) -> None:
        """Count a transfer no more: it has ended, or an origin takes part in it."""
        self._lines.pop(transfer, None)


class _Line:
    """The rate of one transfer since it was looked at, or before if that is only a moment ago."""

    def __init__(self, received: Callable[[], int], before: int, since: float) -> None:
        self._received = received
        self._before = before
        self._since = since
        self._last = 0.0

    def rate(self, now: float) -> float:
        elapsed_s = now - self._since
        if elapsed_s < LOOK_AT_RATE_S / 4:
            return self._last
        return (self._received() - self._before) / elapsed_s

    def turn(self, now: float) -> float:
        """Return the rate and begin a new time to measure."""
        self._last = self.rate(now)
        self._before, self._since = self._received(), now
        return self._last


async def peers_first(
    local: Offer | None,
    origins: Sequence[Source],
    feed: SourceFeed,
    session: TransferSession,
    team: TeamRate,
) -> AsyncIterator[Offer]:
    """Yield what this disk has, peers as they come, and the origins once peers are too slow."""
    offers: asyncio.Queue[Offer] = asyncio.Queue()

    async def from_peers() -> None:
        async for offer in feed.offers():
            offers.put_nowait(offer)

    async def from_origins() -> None:
        clock = asyncio.get_running_loop().time
        team.join(session, lambda: session.board.snapshot(()).done_bytes, clock())
        try:
            while True:
                await asyncio.sleep(LOOK_AT_RATE_S)
                if not team.suffices(session, clock()):
                    break
        finally:
            team.leave(session)
        for origin in origins:
            offers.put_nowait(Offer(origin, reads_from_start=True))

    if local is not None:
        yield local
    finding = [asyncio.create_task(from_peers()), asyncio.create_task(from_origins())]
    try:
        while True:
            yield await offers.get()
    finally:
        for task in finding:
            task.cancel()
        await asyncio.gather(*finding, return_exceptions=True)

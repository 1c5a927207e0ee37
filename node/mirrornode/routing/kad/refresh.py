"""Keeps the routing table a true picture of the network, by looking up ourselves and random keys.

Often after joining, then every ten minutes. Whether the picture is fresh is known here, so that a
small network can be told things without a walk.

Driven by: `routing.kad.node`. Spec: libp2p kad-dht, "Bootstrap process".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from mirrornode.routing.kad.keys import random_key_near
from mirrornode.wire.peer_id import peer_id_to_bytes

if TYPE_CHECKING:
    import random

    from mirrornode.routing.kad.settings import KadSettings
    from mirrornode.routing.kad.table import RoutingTable
    from mirrornode.routing.kad.walk import Walker

log = logging.getLogger(__name__)

MAX_REFRESH_PREFIX = 8  # bits; peers nearer to us than that come with the look-up of ourselves
JITTER = 0.1  # of refresh times, so that a room switched on at once does not refresh at once
FRESH_REFRESHES = 2.0  # times refresh_s: older than that, a refresh was missed


class Refresher:
    """Refreshes the table of `peer_id`, which is us.

    Args:
        peer_id: Ours.
        table: What is refreshed; the walker's answers fill it.
        walker: Looks keys up.
        network: The name in log lines.
        clock: Monotonic seconds.
        rng: Source of targets and jitter.
        settings: Times.
    """

    def __init__(
        self,
        peer_id: str,
        table: RoutingTable,
        walker: Walker,
        *,
        network: str,
        clock: Callable[[], float],
        rng: random.Random,
        settings: KadSettings,
    ) -> None:
        self._peer_id = peer_id
        self._table = table
        self._walker = walker
        self._network = network
        self._clock = clock
        self._rng = rng
        self._settings = settings
        self._joined = asyncio.Event()  # set when the table got its first peer, cleared by `run`
        self._refreshed_at: float | None = None  # None: not since the table got its first peer

    def everybody(self) -> list[str] | None:
        """Return all servers of a network that has fewer than k, None if it may have more."""
        fresh_s = FRESH_REFRESHES * self._settings.refresh_s
        if self._refreshed_at is None or self._clock() - self._refreshed_at > fresh_s:
            return None
        return list(self._table) if len(self._table) < self._settings.lookup.k else None

    def joined(self) -> None:
        """Refresh soon and then often for a while: the table got its first peer."""
        self._refreshed_at = None
        self._joined.set()

    async def refresh(self, *, only_near: bool = False) -> None:
        """Look ourselves up and, unless `only_near`, a random key at each distance with peers."""
        await self._walker.closest(peer_id_to_bytes(self._peer_id))
        if not only_near:
            deepest = min(self._table.deepest_bucket(), MAX_REFRESH_PREFIX)
            for prefix_bits in range(deepest + 1):
                key = random_key_near(self._table.own_id, prefix_bits, self._rng)
                await self._walker.closest(key)
        self._refreshed_at = self._clock()

    async def run(self) -> None:
        """Refresh until cancelled."""
        settings = self._settings
        delay_s = settings.refresh_s
        while True:
            try:
                async with asyncio.timeout(delay_s * self._rng.uniform(1 - JITTER, 1 + JITTER)):
                    await self._joined.wait()
                self._joined.clear()
                delay_s = settings.first_refresh_s
            except TimeoutError:
                delay_s = min(delay_s * 4, settings.refresh_s)
            if len(self._table):
                is_first = delay_s == settings.first_refresh_s
                await self.refresh(only_near=not is_first and delay_s < settings.refresh_s)
                log.debug("dht refreshed network=%s peers=%d", self._network, len(self._table))

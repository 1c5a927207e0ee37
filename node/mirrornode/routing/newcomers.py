"""Gives a peer that joins a small network all our records at once.

So a restarted bootstrap server answers again within seconds, although our announcements are not
due for hours. In a network of more than K servers most records belong at other peers, and nothing
is pushed.

Driven by: `routing.announce`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mirrornode.routing.kad.table import K

if TYPE_CHECKING:
    from mirrornode.routing.kad.node import Kad
    from mirrornode.routing.pace import Pace

log = logging.getLogger(__name__)

MAX_WAITING_NEWCOMERS = 64  # of a network of at most K servers


class NewcomerPush:
    """Sends what is in `held` to newcomers of `kad`, in turns.

    Args:
        kad: The DHT.
        held: What we have, with priorities; belongs to the announcer, which changes it.
        pace: What may be sent now.
        batch: Records sent before a pause.
        pause_s: The pause, also between two looks at whether the node is still busy.
    """

    def __init__(
        self, kad: Kad, held: Mapping[bytes, int], pace: Pace, *, batch: int, pause_s: float
    ) -> None:
        self._kad = kad
        self._held = held
        self._pace = pace
        self._batch = batch
        self._pause_s = pause_s
        self._owed: dict[str, list[bytes] | None] = {}  # None: not begun; whose turn it is first
        self._came = asyncio.Event()

    async def run(self) -> None:
        """Push until cancelled."""
        unsubscribe = self._kad.on_newcomer(self._note)
        try:
            while True:
                while not self._owed:
                    self._came.clear()
                    await self._came.wait()
                await self._take_turn()
                await asyncio.sleep(self._pause_s)
        finally:
            unsubscribe()

    def _note(self, peer_id: str) -> None:
        if len(self._owed) < MAX_WAITING_NEWCOMERS:
            self._owed[peer_id] = None
            self._came.set()

    async def _take_turn(self) -> None:
        """Send some records to the newcomer whose turn it is; the others are next."""
        peer_id = next(iter(self._owed))
        keys = self._owed.pop(peer_id)
        if self._kad.table_size > K:
            return
        if keys is None:
            keys = sorted(self._held, key=self._held.__getitem__)  # taken from the end
        records = self._take(keys)
        if records and not await self._kad.send_records(peer_id, records):
            return
        if keys:
            self._owed.setdefault(peer_id, keys)  # unless it has come anew meanwhile
        else:
            log.debug("gave our records to peer=%s", peer_id)

    def _take(self, keys: list[bytes]) -> list[bytes]:
        """Take the next records off the end of `keys`, as many as may be sent now."""
        lowest = self._pace.min_priority()
        records: list[bytes] = []
        while keys and len(records) < self._batch:
            priority = self._held.get(keys[-1])
            if priority is not None and priority < lowest:
                break
            key = keys.pop()
            if priority is not None:  # else dropped meanwhile
                records.append(key)
        return records

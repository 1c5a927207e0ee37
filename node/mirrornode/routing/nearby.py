"""Dials the peers that discovery on the local network sees.

mDNS reports peers again and again, and anybody may answer it: here a bounded number of them is
dialled, each once at a time. Bootstrap peers are kept connected by the swarm itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mirrornode.errors import MirrorError
from mirrornode.wire.kad import bounded_addresses

if TYPE_CHECKING:
    from mirrornode.routing.kad.ports import SwarmPort

log = logging.getLogger(__name__)

MAX_WAITING = 256  # peers seen and not yet dialled; a flood of answers is not followed further
DIALS_AT_ONCE = 8
DIAL_TIMEOUT_S = 5.0


class NearbyPeers:
    """Links the swarm to peers it is told of; `found` is meant for `swarm.mdns.open_mdns`."""

    def __init__(self, swarm: SwarmPort) -> None:
        self._swarm = swarm
        self._waiting: dict[str, tuple[str, ...]] = {}
        self._dialling: set[str] = set()
        self._came = asyncio.Event()

    def found(self, peer_id: str, addresses: Sequence[str]) -> None:
        """Dial a peer unless it is linked; called in the event loop, returns at once."""
        if (
            peer_id == self._swarm.peer_id
            or peer_id in self._dialling
            or self._swarm.link(peer_id) is not None
        ):
            return
        if peer_id in self._waiting or len(self._waiting) < MAX_WAITING:
            self._waiting[peer_id] = bounded_addresses(addresses)
            self._came.set()

    async def run(self) -> None:
        """Dial until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(DIALS_AT_ONCE):
                group.create_task(self._dial_loop())

    async def _dial_loop(self) -> None:
        while True:
            while not self._waiting:
                self._came.clear()
                await self._came.wait()
            peer_id, addresses = self._waiting.popitem()
            self._dialling.add(peer_id)
            try:
                await self._swarm.dial(peer_id, addresses, timeout_s=DIAL_TIMEOUT_S)
            except MirrorError as exc:
                log.debug("nearby peer not reached peer=%s reason=%s", peer_id, exc)
            finally:
                self._dialling.discard(peer_id)

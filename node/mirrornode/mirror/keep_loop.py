"""Keeping, put together: the keeper, pins and copies of one node, and the loop that drives them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mirrornode.errors import MirrorError
from mirrornode.mirror.keep import Keeper
from mirrornode.mirror.keep_choice import Limits
from mirrornode.mirror.keep_pins import Pinning
from mirrornode.mirror.replication import ReplicaSettings, Replication
from mirrornode.wire import keep

if TYPE_CHECKING:
    from mirrornode.config import StorageConfig
    from mirrornode.mirror.get_request import GetPorts
    from mirrornode.mirror.hub.parts import HubParts
    from mirrornode.store.catalog import Catalog
    from mirrornode.swarm.node import Swarm

log = logging.getLogger(__name__)

LOOK_S = 10.0  # cheap: is a limit reached, with what is on its way?
HELD_S = 600.0  # after a round that could not free enough, the next one waits
ROUND_S = 3600.0  # leftovers, uses
MAX_ANSWERING = 4
OTHERS_SHARE = 0.5  # of the quota, or of the free disk, that copies held for others may take


@dataclass(slots=True)
class Keeping:
    """The parts of a node that keep, free and replicate."""

    keeper: Keeper
    pinning: Pinning
    replication: Replication
    catalog: Catalog
    _round_at: float = field(default_factory=time.monotonic)
    _not_before: float = 0.0

    async def run(self) -> None:
        """Keep to the limits and look after copies, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.look)
                await self.replication.tick()
            except* (MirrorError, OSError) as failed:
                log.warning("keeping failed, goes on reason=%s", failed.exceptions[0])
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Free what has to go, if it is time to. Blocking."""
        now = time.monotonic()
        is_round = now - self._round_at >= ROUND_S
        if is_round:
            self._round_at = now
            self.keeper.grow_older()
        elif now < self._not_before or not self.keeper.is_short():
            return
        done = self.keeper.collect(is_due=False)
        if done.short_bytes:
            self._not_before = now + HELD_S
            log.warning("not enough can be freed short_bytes=%d", done.short_bytes)


@asynccontextmanager
async def open_keeping(
    ports: GetPorts, hub: HubParts, swarm: Swarm, settings: StorageConfig
) -> AsyncIterator[Keeping]:
    """Yield the keeping of a node for the length of the block; a crash's rests are tidied first."""
    keeper = Keeper(ports.catalog, ports.active, limits_of(settings))
    await asyncio.to_thread(keeper.recover)
    pinning = Pinning(ports, hub)
    replicas = ReplicaSettings(
        settings.accept_pins, room_for_others(keeper, ports.catalog), settings.replica_away_s
    )
    replication = Replication(ports.catalog, pinning, swarm, replicas)
    if settings.accept_pins:
        swarm.serve(
            keep.PROTOCOL,
            replication.answer,
            max_request_bytes=keep.MAX_REQUEST_BYTES,
            max_concurrent=MAX_ANSWERING,
        )
    try:
        yield Keeping(keeper, pinning, replication, ports.catalog)
    finally:
        await replication.close()
        await asyncio.to_thread(keeper.flush_uses)


def limits_of(settings: StorageConfig) -> Limits:
    """Return what the settings allow the node to keep."""
    return Limits(settings.quota, settings.low_water, settings.keep_free)


def room_for_others(keeper: Keeper, catalog: Catalog) -> Callable[[], int]:
    """Return what tells how many bytes of others' this node may still take. Blocking."""

    def room() -> int:
        limits = keeper.limits
        held = sum(pin.size_bytes for pin in catalog.pins() if pin.owner)
        free = keeper.free_bytes() - limits.keep_free_bytes
        if limits.quota_bytes:
            return min(int(limits.quota_bytes * OTHERS_SHARE) - held, free)
        return int(free * OTHERS_SHARE)

    return room


def pin_records(catalog: Catalog) -> list[dict[str, Any]]:
    """Return what `pin --list` shows. Blocking."""
    return [
        {
            "target": pin.target,
            "name": pin.name,
            "kind": pin.kind,
            "owner": pin.owner,
            "size_bytes": pin.size_bytes,
            "made_at": pin.made_at,
            "replicas": pin.replicas,
            "holders": [
                {
                    "peer_id": one.peer_id,
                    "state": one.state,
                    "reason": one.reason,
                    "seen_at": one.seen_at,
                }
                for one in catalog.replicas_of(pin)
            ],
        }
        for pin in catalog.pins()
    ]

"""Announcing in every network this node is in: one announcer each, over one catalog.

In the local network records are made at once and given to newcomers; in the public one they are
swept, at the pace of a guest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mirrornode.routing.announce import Announcer, AnnounceSettings

if TYPE_CHECKING:
    from mirrornode.routing.networks import Networks
    from mirrornode.store.catalog import Catalog

PUBLIC_SETTINGS = AnnounceSettings(
    batch=400,  # a region's keys when there are a hundred thousand
    rest_ratio=0.25,  # nearly all of the work is waiting for strangers
    trickle_rest_s=10.0,
    first_retry_s=60.0,
    last_retry_s=3600.0,
    greets_newcomers=False,  # who comes is a stranger, not a colleague without records
)


class Announcing:
    """The announcers of `networks`.

    Args:
        networks: Where to announce.
        catalog: What, and what is remembered of it.
        is_busy: See `Announcer`.
    """

    def __init__(
        self, networks: Networks, catalog: Catalog, *, is_busy: Callable[[], bool]
    ) -> None:
        self._catalog = catalog
        self._lan = Announcer(networks.lan, catalog, catalog, is_busy=is_busy)
        self._public_queue = catalog.public_announcements()
        self._public = (
            Announcer(
                networks.public,
                self._public_queue,
                catalog,
                is_busy=is_busy,
                settings=PUBLIC_SETTINGS,
            )
            if networks.public is not None
            else None
        )

    def wake(self) -> None:
        """Look at the queues now: something was enqueued or dropped."""
        self._lan.wake()
        if self._public is not None:
            self._public.wake()

    async def run(self) -> None:
        """Announce until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lan.run())
            if self._public is not None:
                group.create_task(self._public.run())

    def status(self) -> dict[str, dict[str, Any]]:
        """Return how announcing goes, by the network's name; blocking."""
        now = time.time()
        status = {
            "lan": self._lan.status(self._catalog.announce_counts(now))
            | {"behind_s": round(self._catalog.longest_due_s(now), 1)}
        }
        if self._public is not None:
            queue = self._public_queue
            status["public"] = self._public.status(queue.announce_counts(now)) | {
                "behind_s": round(queue.longest_due_s(now), 1)
            }
        return status

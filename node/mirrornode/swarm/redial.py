"""Keeps the bootstrap peers connected: dials them whenever they are not, for as long as we run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import trio

from mirrornode.errors import SourceGone

DIAL_TIMEOUT_S = 10.0
FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0

log = logging.getLogger(__name__)


class Dialler(Protocol):
    """Who can connect to peers and notices when they leave."""

    async def dial(self, peer_id: str, addresses: Sequence[str], timeout_s: float) -> None: ...

    async def wait_gone(self, peer_id: str) -> None: ...


async def keep_connected(dialler: Dialler, peer_id: str, addresses: Sequence[str]) -> None:
    """Run until cancelled; warns about the first failure of a row only."""
    failures = 0
    while True:
        try:
            await dialler.dial(peer_id, addresses, DIAL_TIMEOUT_S)
        except SourceGone as exc:
            level = logging.DEBUG if failures else logging.WARNING
            log.log(level, "bootstrap peer not reached peer=%s reason=%s", peer_id, exc)
            failures += 1
        else:
            failures = 0
            await dialler.wait_gone(peer_id)
        await trio.sleep(backoff_s(failures))


def backoff_s(failures: int) -> float:
    """Return the pause before the next dial: 1 s, then doubling up to a minute."""
    return min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(max(failures - 1, 0), 10))

"""Waiting for a state that no event tells of; the test's own timeout bounds it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as `condition()` is true, looking every 10 ms."""
    while not condition():  # noqa: ASYNC110  # these states have no event
        await asyncio.sleep(0.01)


def until_sync(condition: Callable[[], bool]) -> None:
    """Return as soon as `condition()` is true; for tests without an event loop."""
    while not condition():
        time.sleep(0.02)

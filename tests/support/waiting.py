"""Waiting for a state that no event tells of; the test's own timeout bounds it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as `condition()` is true, looking every 10 ms."""
    while not condition():  # noqa: ASYNC110  # these states have no event
        await asyncio.sleep(0.01)

"""Blocking work in a thread that can be cancelled: it ends at its next report."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Interrupted(BaseException):
    """Ends blocking work from inside its report; never leaves this module."""


async def in_thread(work: Callable[[Callable[[R], None]], T], tell: Callable[[R], None]) -> T:
    """Run blocking work that reports progress; cancelling ends it at its next report.

    Args:
        work: Called in a thread with what it is to report to.
        tell: Gets each report, in that thread.
    """
    stopped = threading.Event()

    def report(value: R) -> None:
        if stopped.is_set():
            raise Interrupted
        tell(value)

    task = asyncio.ensure_future(asyncio.to_thread(work, report))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stopped.set()
        await asyncio.gather(task, return_exceptions=True)
        raise

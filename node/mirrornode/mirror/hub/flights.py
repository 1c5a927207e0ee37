"""Questions to origins in threads of their own, each asked once however many wait for it.

A question goes on when those who asked have left or lost patience: its answer is kept for the next.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_THREADS = 16  # questions under way; more wait. Threads block in sockets, they use no CPU.


@dataclass(frozen=True, slots=True)
class Landed(Generic[T]):
    """What a flight brought: the value or the error, and whose question it was."""

    owner: bytes
    value: T | None
    error: BaseException | None

    def result(self) -> T:
        """Return the value or raise the error."""
        if self.error is not None:
            raise self.error
        assert self.value is not None, "a question has an answer or an error"
        return self.value


class Flights(Generic[T]):
    """Single flight over one thread pool; belongs to one event loop. Close it when done."""

    def __init__(self, name: str) -> None:
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix=name)
        self._flights: dict[Hashable, asyncio.Future[Landed[T]]] = {}

    async def join(
        self, key: Hashable, owner: bytes, question: Callable[[], T], patience_s: float
    ) -> Landed[T]:
        """Wait for the question of that key, which is asked now unless it is under way.

        Args:
            owner: Who asks, to be told to those who join.
            question: Blocking; called in a thread.

        Raises:
            TimeoutError: No answer within `patience_s`; the question goes on.
        """
        flight = self._flights.get(key)
        if flight is None:

            def ask() -> Landed[T]:
                try:
                    return Landed(owner, question(), None)
                except Exception as exc:  # handed to those who wait
                    return Landed(owner, None, exc)

            # With the context of the first who asks: `sources.asking_chain`.
            context = contextvars.copy_context()
            loop = asyncio.get_running_loop()
            flight = loop.run_in_executor(self._threads, context.run, ask)
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        async with asyncio.timeout(patience_s):
            return await asyncio.shield(flight)

    def close(self) -> None:
        """Ask nothing more; what is under way ends by its own timeouts."""
        self._threads.shutdown(wait=False, cancel_futures=True)

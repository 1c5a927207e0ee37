"""One `get` for everybody who asks for the same target at the same place.

The first caller starts it, the others join: all see its progress and get its result, and the work
goes on until the last of them has left. It knows nothing of how the work is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from mirrornode.events import Event, Got, Note

if TYPE_CHECKING:
    from pathlib import Path

Emit = Callable[[Event], None]


class GetWork(Protocol):
    """What runs once for all callers."""

    async def run(self) -> Got: ...

    async def find_more(self, peers: Sequence[str], mirrors: Sequence[str]) -> None:
        """Look for sources at further addresses until cancelled.

        Raises:
            TargetError: One of them is not an address.
        """


class SharedGets:
    """The running gets of a node, by target and place."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, Path], _Shared] = {}

    async def run(
        self,
        target: str,
        place: Path,
        begin: Callable[[Emit], GetWork],
        emit: Emit,
        *,
        peers: Sequence[str],
        mirrors: Sequence[str],
    ) -> Got:
        """Begin the work, or join it, and return its result.

        Args:
            begin: Makes the work of a first caller, whose peers and mirrors it knows.
            peers: What a caller that joins names besides; so `mirrors`.

        Cancelling leaves the work to the other callers; that of the last one ends it.
        """
        key = (target, place)
        while (shared := self._running.get(key)) is not None and shared.is_ending:
            await asyncio.gather(shared.task, return_exceptions=True)
        if shared is not None:
            emit(Note(f"{target} is on its way to {place} already; waiting for that"))
            return await shared.join(emit, peers, mirrors)
        shared = self._running[key] = _Shared(begin)
        shared.task.add_done_callback(lambda _: self._running.pop(key, None))
        return await shared.wait(emit)


class _Shared:
    def __init__(self, begin: Callable[[Emit], GetWork]) -> None:
        self.is_ending = False
        self._told: list[Emit] = []
        self._work = begin(self._tell)
        self.task = asyncio.create_task(self._work.run())

    def _tell(self, event: Event) -> None:
        for emit in tuple(self._told):
            emit(event)

    async def join(self, emit: Emit, peers: Sequence[str], mirrors: Sequence[str]) -> Got:
        """Wait for the result, and look for sources at further addresses meanwhile."""
        # In the list before anything is awaited: the last of the others may leave now.
        self._told.append(emit)
        more = asyncio.create_task(self._work.find_more(peers, mirrors))
        try:
            await asyncio.wait([more, self.task], return_when=asyncio.FIRST_COMPLETED)
            if not self.task.done():
                more.result()  # it ends only by an error in this caller's addresses
            return await asyncio.shield(self.task)
        finally:
            more.cancel()
            await asyncio.gather(more, return_exceptions=True)
            await self._leave(emit)

    async def wait(self, emit: Emit) -> Got:
        """Wait for the result."""
        self._told.append(emit)
        try:
            return await asyncio.shield(self.task)
        finally:
            await self._leave(emit)

    async def _leave(self, emit: Emit) -> None:
        """Take a caller out; without any the work ends."""
        self._told.remove(emit)
        if not self._told and not self.task.done():
            self.is_ending = True
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

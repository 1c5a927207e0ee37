"""A file of the Hub as a client reads it: complete on disk, or while it arrives.

What only an origin has can be verified no earlier than at its end. Such bytes are passed on as they
come, but the last portion is kept back until the hash of the whole is right: what a client has
before that is never a complete file.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.errors import FileChanged
from mirrornode.store.stamps import FileStamp, open_regular

if TYPE_CHECKING:
    from mirrornode.errors import MirrorError
    from mirrornode.mirror.hub.bringing import Attempt

HELD_BACK_BYTES = 256 * 1024
LOOK_AGAIN_S = 0.02


class HubBody:
    """One reader of one file; a context manager, or `close` it."""

    def __init__(self, size_bytes: int, *, restarts_ranges: bool) -> None:
        """Prepare; see `of_file` and `of_attempt`.

        Args:
            restarts_ranges: A resume must be answered with the whole file, because the asker may
                hold a wrong beginning.
        """
        self.size_bytes = size_bytes
        self.restarts_ranges = restarts_ranges
        self.complete: Path | None = None
        self.stamp: FileStamp | None = None
        self._descriptor = -1
        self._attempt: Attempt | None = None
        self._proof: Callable[[], Awaitable[Attempt]] | None = None

    @classmethod
    def of_file(cls, path: Path, *, restarts_ranges: bool) -> HubBody:
        """Return the body of a verified file.

        Raises:
            FileChanged: It is not there any more.
            PathRefused: The operating system denies access.
        """
        descriptor = open_regular(path)
        stamp = FileStamp.of(descriptor)
        body = cls(stamp.size_bytes, restarts_ranges=restarts_ranges)
        body.complete, body.stamp, body._descriptor = path, stamp, descriptor
        return body

    @classmethod
    def of_attempt(
        cls,
        attempt: Attempt,
        size_bytes: int,
        proof: Callable[[], Awaitable[Attempt]],
        *,
        restarts_ranges: bool,
    ) -> HubBody:
        """Return the body of a file that arrives.

        Args:
            proof: Returns the attempt that succeeded, which may be a later one; raises if none did.
        """
        body = cls(size_bytes, restarts_ranges=restarts_ranges)
        body._attempt, body._proof = attempt, proof
        return body

    async def __aenter__(self) -> HubBody:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    @property
    def descriptor(self) -> int:
        """What to read from; good after `wait` has returned once, and until `close`."""
        return self._descriptor

    async def wait(self, start: int) -> int:
        """Wait for bytes from `start` on and return the end of what may be sent now.

        Raises:
            MirrorError: The file did not come, or was not what it was named by. What was sent of
                it must not look complete: cut the connection.
        """
        # Lanes report leaves from threads, thousands a second: looking costs less than being told.
        while (end := self._readable_until(start)) <= start < self.size_bytes:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_AGAIN_S)
        return end

    async def prove(self) -> None:
        """Wait until all of the file is here and its hash is right.

        When bytes were wrong and others are fetched, that is waited for, too: nothing of the wrong
        ones may have been read from this body.

        Raises:
            MirrorError: The file did not come.
        """
        if self._proof is not None:
            assert self._descriptor < 0, "read before it was proven"
            self._attempt = await self._proof()
            self._readable_until(0)

    def close(self) -> None:
        """Stop reading; the transfer goes on."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _readable_until(self, start: int) -> int:
        attempt = self._attempt
        if attempt is None:
            return self.size_bytes
        if attempt.failure is not None:
            raise again(attempt.failure)
        if attempt.is_verified:
            if self._descriptor < 0:
                self._descriptor = open_regular(attempt.output)
            return self.size_bytes
        end = min(attempt.arrived_until(start), self.size_bytes - HELD_BACK_BYTES)
        if end > start and self._descriptor < 0:
            try:
                self._descriptor = attempt.open_part()
            except FileChanged:
                # Renamed already, and about to be called verified; or about to fail.
                return start
        return end


def again(failure: MirrorError) -> MirrorError:
    """Return an exception that may be raised in several readers: a traceback belongs to one."""
    copy = type(failure).__new__(type(failure))
    Exception.__init__(copy, *failure.args)
    copy.__dict__.update(failure.__dict__)
    return copy

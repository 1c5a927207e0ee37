"""One file of the Hub on its way, as all who asked for it share it.

It knows who waits for what, and how it ended; the bytes are brought by `bringing` or `small_file`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from mirrornode.mirror.hub.body import again

if TYPE_CHECKING:
    from mirrornode.errors import MirrorError
    from mirrornode.events import GetProgress
    from mirrornode.mirror.hub.bringing import Attempt, Bringing
    from mirrornode.mirror.recording import Recording


class Sharing:
    """A file on its way, and whether an open repo has asked for it."""

    def __init__(
        self, attempt: Attempt, account: Recording | None, *, asks_peers: bool, is_read: bool
    ) -> None:
        self.first = attempt
        self.account = account  # of the `get` that began it; None for one of its own
        self.bringing: Bringing | None = None
        self.asks_peers = asks_peers  # the hash of a private file is not spoken of
        self.is_read = is_read
        self.is_open = False
        self.is_streamed = False  # somebody reads along, who may come back for the rest
        self.bringers = 0  # who waits for all of it
        self.task: asyncio.Task[None] | None = None
        self.tell_refused: Callable[[], Awaitable[None]] | None = None
        self.ended: asyncio.Future[MirrorError | None] = asyncio.get_running_loop().create_future()
        self.bytes_by_source: Mapping[str, int] = {}
        self.bad_sources: Mapping[str, str] = {}

    def end(self, failure: MirrorError | None = None) -> None:
        """Let go whoever waits for the file."""
        if failure is None:
            self.attempt.is_verified = True
        else:
            self.attempt.failure = failure
        if not self.ended.done():
            self.ended.set_result(failure)

    async def proof(self) -> Attempt:
        """Wait for the end of the transfer and return the attempt whose hash was right.

        Raises:
            MirrorError: The file did not come.
        """
        await asyncio.wait([self.ended])  # not cancelled with who waits
        if (failure := self.ended.result()) is not None:
            raise again(failure)
        return self.attempt

    @property
    def arrived_bytes(self) -> int:
        """Bytes that are here, in whatever order they came."""
        session = self.attempt.session
        return session.board.snapshot(()).done_bytes if session is not None else 0

    def follow(self, recording: Recording, progress: GetProgress) -> None:
        """Let a recording of its own show how it stands; that of a `get` is about more."""
        if self.account is None:
            recording.follow(progress)

    @property
    def attempt(self) -> Attempt:
        return self.bringing.attempt if self.bringing is not None else self.first

"""Limits at work: lanes that wait for bytes, and turns for everybody who sends.

Thin: what may go when is decided in `limit`. One `Downloads` is shared by the lanes of a node or
a transfer, one `Uploads` by all connections of the peer plane (threads) and the gateway (asyncio).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from mirrornode.transfer.limit import FairTurns, TokenBucket, Turn, piece_bytes

if TYPE_CHECKING:
    from mirrornode.sources.ports import Pace

# Faces that send content.
PEER_PLANE, BITSWAP, GATEWAY, HUB_ENDPOINT = "peer_plane", "bitswap", "gateway", "hub"
MAX_PEERS_COUNTED: Final = 256  # by what each was sent; whoever was sent nothing for longest goes
LOOK_S: Final = 0.1  # how often a lane that waits looks whether it was broken off


class Downloads:
    """A rate at which bytes may be received, shared by any number of lanes."""

    def __init__(
        self,
        rate_bytes_per_s: float,
        beyond: Pace | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            beyond: A second limit that the same bytes count for: the node's, behind a transfer's.
        """
        self._clock = clock
        self._beyond = beyond
        self._lock = threading.Lock()  # guards _bucket
        self._bucket = TokenBucket(rate_bytes_per_s, clock())
        own = piece_bytes(rate_bytes_per_s)
        self.piece_bytes = own if beyond is None else min(own, beyond.piece_bytes)

    def wait(self, size_bytes: int, is_broken_off: Callable[[], bool]) -> None:
        """See `Pace.wait`."""
        with self._lock:
            now = self._clock()
            until = now + self._bucket.reserve(size_bytes, now)
        while (left := until - self._clock()) > 0 and not is_broken_off():
            time.sleep(min(left, LOOK_S))
        if self._beyond is not None:
            self._beyond.wait(size_bytes, is_broken_off)


def pace_of(rate_bytes_per_s: float, beyond: Pace | None = None) -> Pace | None:
    """Return the pace of a rate and of `beyond`; None when neither is limited."""
    return Downloads(rate_bytes_per_s, beyond) if rate_bytes_per_s else beyond


class Uploads:
    """All content that leaves this node: always counted, and paced when there is a limit."""

    def __init__(
        self,
        rate_bytes_per_s: float = 0,
        rate_per_peer: float = 0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin; a rate of 0 is no limit. With one, turns come only within `pacing`."""
        self._clock = clock
        self._changed = threading.Condition()  # guards all below
        self._sent: Counter[str] = Counter()  # by face
        self._sent_to: dict[str, int] = {}  # by peer, who was sent something last at the end
        self._is_closed = False
        lowest = min(filter(None, (rate_bytes_per_s, rate_per_peer)), default=0)
        self._turns = FairTurns(rate_bytes_per_s, rate_per_peer, clock()) if lowest else None
        self.piece_bytes = piece_bytes(lowest) if lowest else 0
        """The largest piece to ask a turn for; 0 when nothing is limited."""

    @contextmanager
    def pacing(self) -> Iterator[Uploads]:
        """Give turns for the length of the block; without a limit nothing runs."""
        thread = threading.Thread(target=self._run, name="upload-turns", daemon=True)
        if self._turns is not None:
            thread.start()
        try:
            yield self
        finally:
            with self._changed:
                self._is_closed = True
                self._changed.notify()
            if thread.ident is not None:
                thread.join()

    @property
    def sent_bytes(self) -> int:
        """Content sent so far, heads and TLS not counted."""
        with self._changed:
            return self._sent.total()

    @property
    def sent_by_face(self) -> Mapping[str, int]:
        """As `sent_bytes`, for each face that has sent anything."""
        with self._changed:
            return Counter(self._sent)

    @property
    def sent_by_peer(self) -> Mapping[str, int]:
        """As `sent_bytes`, for each of the peers that were sent anything last."""
        with self._changed:
            return dict(self._sent_to)

    def note_sent(self, size_bytes: int, face: str = PEER_PLANE, peer: str = "") -> None:
        """Count content that went out through a face of this node; called from any thread.

        Args:
            peer: Whom it went to; "" where nobody has proved who he is.
        """
        with self._changed:
            self._sent[face] += size_bytes
            if peer:
                self._sent_to[peer] = self._sent_to.pop(peer, 0) + size_bytes
                if len(self._sent_to) > MAX_PEERS_COUNTED:
                    del self._sent_to[next(iter(self._sent_to))]

    def wait(self, peer: str, size_bytes: int, *, is_small: bool) -> None:
        """Block until a piece of a peer's answer may go; called from any thread.

        Raises:
            ConnectionAbortedError: The node is stopping.
        """
        if self._turns is None:
            return
        come = threading.Event()
        self._ask(Turn(peer, size_bytes, is_small, come.set))
        come.wait()
        self._check_open()

    async def turn(self, peer: str, size_bytes: int, *, is_small: bool) -> None:
        """As `wait`, for an event loop."""
        if self._turns is None:
            return
        loop = asyncio.get_running_loop()
        come = asyncio.Event()
        turn = Turn(peer, size_bytes, is_small, lambda: _wake(loop, come))
        self._ask(turn)
        try:
            await come.wait()
        except asyncio.CancelledError:
            with self._changed:
                self._turns.cancel(turn)
            raise
        self._check_open()

    def _ask(self, turn: Turn) -> None:
        assert self._turns is not None
        with self._changed:
            if self._is_closed:
                turn.wake()
                return
            self._turns.ask(turn, self._clock())
            self._changed.notify()

    def _check_open(self) -> None:
        with self._changed:
            if self._is_closed:
                raise ConnectionAbortedError("the node is stopping")

    def _run(self) -> None:
        assert self._turns is not None
        with self._changed:
            while not self._is_closed:
                granted, wait_s = self._turns.grant(self._clock())
                for turn in granted:
                    turn.wake()
                self._changed.wait(wait_s)
            for turn in self._turns.drain():
                turn.wake()


def _wake(loop: asyncio.AbstractEventLoop, come: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop has ended, and whoever waited in it
        loop.call_soon_threadsafe(come.set)

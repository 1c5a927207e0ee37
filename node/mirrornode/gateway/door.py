"""The door of a node: whether it takes new work, who is still inside, and how it ends in order.

A node that is asked to stop closes its door: new work is turned away, so that others look
elsewhere, and what is under way may be finished for a while. Peers fetch a file in many requests;
those that were fetching when the door closed are let in until they have what they want.

Counts only. Who is turned away with which words is the business of each listener.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

STARTING, SERVING, ENDING = "starting", "serving", "ending"
REGULAR_S = 5.0  # a peer that asked so short a time ago is in the middle of a download
QUIET_S = 1.0  # without a request, peers have what they wanted
LOOK_AGAIN_S = 0.1
RETRY_AFTER_S = 10  # what those who are turned away are told: by then there is another node, or us

# What is counted, in the words of "waiting for 2 …".
UPLOAD, ANSWER, VERB = "upload", "answer over HTTP", "command"


class Door:
    """Who may come in, and who is inside. Thread-safe."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start in the state "starting", in which everybody is let in.

        Args:
            clock: Seconds, never going back.
        """
        self._clock = clock
        self._lock = threading.Lock()  # guards everything below
        self._state = STARTING
        self._inside: Counter[str] = Counter()
        self._peers: Counter[str] = Counter()
        self._last_seen: dict[str, float] = {}
        self._regulars: frozenset[str] = frozenset()
        self._trouble: dict[str, str] = {}

    @property
    def state(self) -> str:
        """One of `STARTING`, `SERVING`, `ENDING`."""
        return self._state

    @property
    def is_closed(self) -> bool:
        """Whether new work is turned away."""
        return self._state == ENDING

    def open(self) -> None:
        """Say that all parts of the node work; nothing after `close`."""
        with self._lock:
            if self._state == STARTING:
                self._state = SERVING

    def close(self) -> None:
        """Turn new work away from now on; for good."""
        with self._lock:
            self._state = ENDING
            since = self._clock() - REGULAR_S
            recent = {peer for peer, seen in self._last_seen.items() if seen >= since}
            self._regulars = frozenset(recent | set(self._peers))

    def set_trouble(self, part: str, reason: str) -> None:
        """Note why a part does not do its work, in a sentence; "" when it does again."""
        with self._lock:
            if reason:
                self._trouble[part] = reason
            else:
                self._trouble.pop(part, None)

    def why_not_ready(self) -> list[str]:
        """Return what keeps the node from being ready, nothing when it is."""
        with self._lock:
            reasons = {
                STARTING: ["starting: not all parts are open yet"],
                SERVING: [],
                ENDING: ["ending: what is under way is finished, nothing new is begun"],
            }[self._state]
            return [*reasons, *self._trouble.values()]

    @contextlib.contextmanager
    def inside(self, kind: str) -> Iterator[None]:
        """Count somebody for the length of the block."""
        with self._lock:
            self._inside[kind] += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside[kind] -= 1

    def admits(self, peer_id: str) -> bool:
        """Tell whether a peer may fetch now: one that was at it when the door closed may go on."""
        return not self.is_closed or peer_id in self._regulars

    @contextlib.contextmanager
    def fetching(self, peer_id: str) -> Iterator[None]:
        """Count one request of a peer for the length of the block."""
        with self._lock:
            self._peers[peer_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._peers[peer_id] -= 1
                if not self._peers[peer_id]:
                    del self._peers[peer_id]
                now = self._clock()
                self._last_seen[peer_id] = now
                if len(self._last_seen) > 2 * len(self._peers) + 64:
                    self._forget_before(now - REGULAR_S)

    def counts(self) -> dict[str, int]:
        """Return how many of each kind are inside, or were a moment ago; none that is zero."""
        with self._lock:
            found = {kind: count for kind, count in self._inside.items() if count}
            since = self._clock() - QUIET_S
            peers = set(self._peers)
            peers |= {peer for peer, seen in self._last_seen.items() if seen > since}
            if peers:
                found[UPLOAD] = len(peers)
            return found

    def _forget_before(self, moment: float) -> None:
        self._last_seen = {p: seen for p, seen in self._last_seen.items() if seen >= moment}


async def drain(
    door: Door,
    downloads: Callable[[], int],
    withdraw: Callable[[], Awaitable[None]],
    *,
    limit_s: float,
    at_once: asyncio.Event,
    tell: Callable[[str], None],
) -> bool:
    """Close the door, take the node off the local network, and wait for what is under way.

    Args:
        downloads: How many there are now.
        withdraw: Stops announcing that this node is here.
        limit_s: How long to wait; 0 = not at all.
        at_once: Ends the waiting.
        tell: Told in a line what is waited for, whenever that changes, and what is broken off.

    Returns:
        Whether all was finished.
    """
    door.close()
    began = time.monotonic()
    await withdraw()
    told = ""
    while text := _text_of(door.counts(), downloads()):
        left_s = began + limit_s - time.monotonic()
        if at_once.is_set() or left_s <= 0:
            tell(f"ending now; broken off: {text}. What arrived so far is kept")
            return False
        if text != told:
            tell(f"ending; waiting up to {max(1, round(left_s))} s for {text}")
            told = text
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(LOOK_AGAIN_S, left_s)):
                await at_once.wait()
    return True


def _text_of(counts: dict[str, int], downloads: int) -> str:
    """Return e.g. "2 uploads, 1 download"; "" when there is nothing."""
    every = {**counts, "download": downloads}
    if downloads and VERB in every:
        del every[VERB]  # most likely the one that downloads
    plural = {ANSWER: "answers over HTTP"}
    return ", ".join(
        f"{count} {kind if count == 1 else plural.get(kind, kind + 's')}"
        for kind, count in every.items()
        if count
    )

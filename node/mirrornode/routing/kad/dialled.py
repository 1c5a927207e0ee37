"""Which links a DHT dialled for its own questions, and which of them to end.

A walk over the public network leaves links to strangers behind, and a sweep thousands. The last
used are kept, because the next question is often to the same peers. Links that somebody else made
are not in here and never ended. Pure.

Driven by: `routing.kad.peers`.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager


class DialledLinks:
    """At most about `limit` peers, the longest unused first; 0 means no limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._peers: OrderedDict[str, None] = OrderedDict()
        self._in_use: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._peers)

    def add(self, peer_id: str) -> None:
        """Note a link that was dialled for us."""
        if self._limit:
            self._peers[peer_id] = None
            self._peers.move_to_end(peer_id)

    def forget(self, peer_id: str) -> None:
        """Note that the link is gone."""
        self._peers.pop(peer_id, None)

    @contextmanager
    def using(self, peer_id: str) -> Iterator[None]:
        """Keep the link of a peer for the length of the block."""
        self._in_use[peer_id] += 1
        if peer_id in self._peers:
            self._peers.move_to_end(peer_id)
        try:
            yield
        finally:
            self._in_use[peer_id] -= 1
            if not self._in_use[peer_id]:
                del self._in_use[peer_id]

    def take_excess(self) -> list[str]:
        """Return the peers whose links to end now, and forget them; never one in use."""
        excess = len(self._peers) - self._limit
        if excess <= 0:
            return []
        idle = [peer for peer in self._peers if peer not in self._in_use][:excess]
        for peer in idle:
            del self._peers[peer]
        return idle

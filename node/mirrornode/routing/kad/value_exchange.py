"""Putting values into the DHT and getting the best of them out again.

A value is verified wherever it comes from, so a peer can only withhold it or answer with an old
one. All that are met on a walk are compared, the newest wins, and those that had an older one or
none are told, as far as they are near enough to keep it.

Driven by: `routing.kad.node`. Spec: libp2p kad-dht, "Value storage and retrieval".
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from mirrornode.errors import LocalProtocolError, RemoteProtocolError
from mirrornode.routing.kad.keys import kad_id, peer_kad_id
from mirrornode.routing.kad.values import verified_value
from mirrornode.wire.kad import KadMessage, KadRecord, MessageType

if TYPE_CHECKING:
    from mirrornode.routing.kad.peers import KadPeers
    from mirrornode.routing.kad.settings import KadSettings
    from mirrornode.routing.kad.values import ValueStore
    from mirrornode.routing.kad.walk import Walker
    from mirrornode.wire.ipns import IpnsRecord

MAX_CORRECTIONS = 256  # waiting to be told; more are left to the next who looks
SPARE_PEERS = 2  # times k: how many of the nearest are tried when nearer ones fail


class ValueExchange:
    """Puts and gets values for us, who are `peer_id`.

    Args:
        peer_id: Ours.
        peers: Who is asked.
        walker: Finds the peers nearest to a key.
        store: What we keep for others; ours goes there too.
        everybody: All peers of a network that is known to have fewer than k, else None.
        clock: Monotonic seconds.
        unix_clock: Unix seconds.
    """

    def __init__(
        self,
        peer_id: str,
        peers: KadPeers,
        walker: Walker,
        *,
        store: ValueStore,
        everybody: Callable[[], Sequence[str] | None],
        clock: Callable[[], float],
        unix_clock: Callable[[], float],
        settings: KadSettings,
    ) -> None:
        self._peer_id = peer_id
        self._peers = peers
        self._walker = walker
        self._store = store
        self._everybody = everybody
        self._clock = clock
        self._unix_clock = unix_clock
        self._settings = settings
        self._corrections: asyncio.Queue[tuple[str, bytes, bytes]] = asyncio.Queue(MAX_CORRECTIONS)

    async def put(self, key: bytes, value: bytes) -> int:
        """Give a value to the k nearest living peers; return how many say that they keep it.

        Raises:
            LocalProtocolError: Nobody would keep it: it is no valid record, or one that is older
                than what this node keeps itself.
        """
        try:
            self._store.put(key, value, self._peer_id, self._clock())
        except RemoteProtocolError as exc:
            raise LocalProtocolError(f"not put into the DHT: {exc}") from exc
        found = self._everybody()
        peers = list(found) if found is not None else await self._walker.closest(key)
        k = self._settings.lookup.k
        place = kad_id(key)
        waiting = heapq.nsmallest(SPARE_PEERS * k, peers, key=lambda p: peer_kad_id(p) ^ place)
        kept_by = 0
        while waiting and kept_by < k:
            chosen, waiting = waiting[: k - kept_by], waiting[k - kept_by :]
            kept_by += sum(await asyncio.gather(*(self._tell(peer, key, value) for peer in chosen)))
        return kept_by

    async def get(self, key: bytes, timeout_s: float) -> IpnsRecord | None:
        """Return the newest record that anybody met on a walk has; None when nobody has any."""
        best = self._verified(key, self._store.get(key, self._clock()))
        answered: dict[str, bytes | None] = {}
        votes = 0
        query = KadMessage(MessageType.GET_VALUE, key)
        async with aclosing(self._walker.answers(query, timeout_s)) as answers:
            async for teller, answer in answers:
                record = self._verified(key, answer.record)
                answered[teller] = record.binary if record is not None else None
                if record is None:
                    continue
                if best is None or record.rank > best.rank:
                    best, votes = record, 0
                votes += record.binary == best.binary
                if votes >= self._settings.quorum:
                    break
        if best is not None:
            self._correct(key, best, answered)
        return best

    async def run(self) -> None:
        """Tell those who had an older value, one after the other, until cancelled."""
        while True:
            peer_id, key, value = await self._corrections.get()
            await self._tell(peer_id, key, value)

    def _verified(self, key: bytes, record: KadRecord | None) -> IpnsRecord | None:
        if record is None or record.key != key:
            return None
        try:
            return verified_value(key, record.value, self._unix_clock())
        except RemoteProtocolError:
            return None  # forged, or it has run out: whoever tells it, it is not there

    def _correct(self, key: bytes, best: IpnsRecord, answered: dict[str, bytes | None]) -> None:
        place = kad_id(key)
        nearest = heapq.nsmallest(
            self._settings.lookup.k, answered, key=lambda peer: peer_kad_id(peer) ^ place
        )
        for peer_id in nearest:
            if answered[peer_id] != best.binary and not self._corrections.full():
                self._corrections.put_nowait((peer_id, key, best.binary))

    async def _tell(self, peer_id: str, key: bytes, value: bytes) -> bool:
        message = KadMessage(MessageType.PUT_VALUE, key, record=KadRecord(key, value))
        # A peer that keeps a newer one, or none at all, says so by closing: it is not dead.
        answer = await self._peers.ask(peer_id, message, is_no_allowed=True)
        return answer is not None and answer.record is not None and answer.record.value == value

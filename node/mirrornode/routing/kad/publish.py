"""Tells the peers nearest to a key that we have it, and checks that they keep the record.

ADD_PROVIDER has no answer, and servers drop records silently (quota, rate limit, unfit address);
so a few of the peers told are asked afterwards.

Driven by: `routing.kad.node`. Spec: libp2p kad-dht, "Content provider advertisement".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mirrornode.wire.kad import KadMessage, KadPeer, MessageType

if TYPE_CHECKING:
    from mirrornode.routing.kad.addresses import AddressFilter
    from mirrornode.routing.kad.peers import KadPeers
    from mirrornode.routing.kad.ports import Link
    from mirrornode.routing.kad.settings import KadSettings
    from mirrornode.routing.kad.walk import Walker

CONFIRMATIONS = 2  # peers asked at a time whether they kept a record


class Publisher:
    """Sends provider records of `peer_id`, which is us, to others."""

    def __init__(
        self,
        peer_id: str,
        peers: KadPeers,
        walker: Walker,
        *,
        address_filter: AddressFilter,
        own_addresses: Callable[[], Sequence[str]],
        settings: KadSettings,
    ) -> None:
        self._peer_id = peer_id
        self._peers = peers
        self._walker = walker
        self._filter = address_filter
        self._own_addresses = own_addresses
        self._settings = settings

    async def publish(self, multihash: bytes) -> int:
        """Send our record to the k nearest living peers; return how many are taken to keep it.

        Those it was sent to, less those that deny having it; 0 when none of those asked has it.
        """
        k = self._settings.lookup.k
        candidates = (await self._walker.closest(multihash))[: 2 * k]
        sent: list[str] = []
        while candidates and len(sent) < k:
            batch, candidates = candidates[: k - len(sent)], candidates[k - len(sent) :]
            results = await asyncio.gather(*(self.send_record(peer, multihash) for peer in batch))
            sent += [peer for peer, ok in zip(batch, results, strict=True) if ok]
        return await self._count_kept(sent, multihash)

    async def send_record(self, peer_id: str, multihash: bytes) -> bool:
        """Send our record to one peer; return whether it was sent (not: kept)."""

        def record(link: Link) -> KadMessage | None:
            addresses = self._filter.select(self._own_addresses(), link.address)
            if not addresses:
                return None  # spec: a record needs an address
            own = KadPeer(self._peer_id, tuple(addresses))
            return KadMessage(MessageType.ADD_PROVIDER, multihash, provider_peers=(own,))

        return await self._peers.tell(peer_id, record)

    async def _count_kept(self, sent: Sequence[str], multihash: bytes) -> int:
        lost = 0
        for start in range(0, min(len(sent), 2 * CONFIRMATIONS), CONFIRMATIONS):
            asked = sent[start : start + CONFIRMATIONS]
            kept = await asyncio.gather(*(self._is_kept(peer, multihash) for peer in asked))
            lost += kept.count(False)
            if any(kept):
                return len(sent) - lost
        return 0

    async def _is_kept(self, peer_id: str, multihash: bytes) -> bool:
        query = KadMessage(MessageType.GET_PROVIDERS, multihash)
        for delay_s in (0.0, self._settings.confirm_delay_s):  # the record may still be on its way
            await asyncio.sleep(delay_s)
            answer = await self._peers.ask(peer_id, query)
            if answer is None:
                return False
            if any(peer.peer_id == self._peer_id for peer in answer.provider_peers):
                return True
        return False

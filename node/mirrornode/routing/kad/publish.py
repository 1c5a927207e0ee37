"""Tells the peers nearest to our keys that we have them, and checks that they keep the records.

Announcing must not slow transfers down, so many keys go together: nobody is looked for in a network
so small that everybody is near, a region is explored once for all keys in it (`cover`), and a peer
gets all its records on one stream. ADD_PROVIDER has no answer, and servers drop records silently
(quota, rate limit, unfit address); so the last message on that stream asks for the last record.

Driven by: `routing.kad.node`. Spec: libp2p kad-dht, "Content provider advertisement".
"""

from __future__ import annotations

import asyncio
import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirrornode.routing.kad.cover import RegionCover, key_within
from mirrornode.routing.kad.keys import kad_id, peer_kad_id
from mirrornode.wire.kad import KadMessage, KadPeer, MessageType, encode_message

if TYPE_CHECKING:
    from mirrornode.routing.kad.addresses import AddressFilter
    from mirrornode.routing.kad.peers import KadPeers
    from mirrornode.routing.kad.ports import Link
    from mirrornode.routing.kad.settings import KadSettings
    from mirrornode.routing.kad.walk import Walker

RECORDS_A_STREAM = 100  # some 20 KiB: fits a stream's window, and takes a server some 5 ms
MAX_GAP_WALKS = 8  # for one key; then it gets a walk of its own
FEW_KEYS = 2  # in a region: cheaper by a walk each than by exploring the region
MAX_COVERED = 20_000  # servers; the public network has half
SPARE_PEERS = 2  # times k: how many of the nearest are tried when nearer ones fail


@dataclass(slots=True)
class _Share:
    """One key: who may yet be told of it, the nearest first, and how many keep it."""

    key: bytes
    candidates: list[str]
    kept_by: int = 0


class Publisher:
    """Sends provider records of `peer_id`, which is us, to others.

    Args:
        peer_id: Ours.
        peers: Who is asked.
        walker: Finds the peers nearest to a key.
        everybody: All peers of a network that is known to have fewer than k, else None.
        address_filter: Which of our addresses a peer may be told.
        own_addresses: Our multiaddrs at present, without /p2p.
        clock: Monotonic seconds.
        settings: Times and bounds.
    """

    def __init__(
        self,
        peer_id: str,
        peers: KadPeers,
        walker: Walker,
        *,
        everybody: Callable[[], Sequence[str] | None],
        address_filter: AddressFilter,
        own_addresses: Callable[[], Sequence[str]],
        clock: Callable[[], float],
        settings: KadSettings,
    ) -> None:
        self._clock = clock
        self._cover = RegionCover(settings.lookup.k)
        self._cover_ends = 0.0
        self._peer_id = peer_id
        self._peers = peers
        self._walker = walker
        self._everybody = everybody
        self._filter = address_filter
        self._own_addresses = own_addresses
        self._settings = settings

    async def publish(self, keys: Sequence[bytes]) -> list[int]:
        """Send our records to the k nearest living peers of each key.

        Returns:
            For each key, how many peers are taken to keep its record. One that denies the record
            asked for is taken to keep none of those it was sent with.
        """
        nearest = await self._nearest(set(keys))
        shares = {key: _Share(key, candidates) for key, candidates in nearest.items()}
        k = self._settings.lookup.k
        while True:
            told: dict[str, list[_Share]] = {}
            for share in shares.values():
                missing = k - share.kept_by
                chosen, share.candidates = share.candidates[:missing], share.candidates[missing:]
                for peer in chosen:
                    told.setdefault(peer, []).append(share)
            if not told:
                return [shares[key].kept_by for key in keys]
            await asyncio.gather(*(self._tell(peer, its) for peer, its in told.items()))

    async def send_records(self, peer_id: str, keys: Sequence[bytes]) -> bool:
        """Send our records to one peer; return whether it keeps them, going by the last of them."""
        link = await self._peers.reach(peer_id)
        if link is None:
            return False
        records = self._records(keys, link)
        if not records:
            return False
        query = KadMessage(MessageType.GET_PROVIDERS, keys[-1])
        answer = await self._peers.ask(peer_id, query, ahead=records)
        if answer is not None and not self._names_us(answer):
            await asyncio.sleep(self._settings.confirm_delay_s)  # some keep records in their time
            answer = await self._peers.ask(peer_id, query)
        return answer is not None and self._names_us(answer)

    async def _tell(self, peer_id: str, shares: Sequence[_Share]) -> None:
        for start in range(0, len(shares), RECORDS_A_STREAM):
            some = shares[start : start + RECORDS_A_STREAM]
            if not await self.send_records(peer_id, [share.key for share in some]):
                self._cover.drop(peer_id)
                return
            for share in some:
                share.kept_by += 1

    async def _nearest(self, keys: Iterable[bytes]) -> dict[bytes, list[str]]:
        """Return the peers to be told of each key, the nearest first."""
        everybody = self._everybody()
        by_place = sorted((kad_id(key), key) for key in keys)
        if everybody is None:
            places = [place for place, _ in by_place]
            return {key: await self._explore(place, key, places) for place, key in by_place}
        count = SPARE_PEERS * self._settings.lookup.k
        nearest: dict[bytes, list[str]] = {}
        for place, key in by_place:
            by_distance = ((peer_kad_id(peer) ^ place, peer) for peer in everybody)
            nearest[key] = [peer for _, peer in heapq.nsmallest(count, by_distance)]
        return nearest

    async def _explore(self, place: int, key: bytes, places: Sequence[int]) -> list[str]:
        """Return the peers nearest to one key, by what is known or by walks.

        Args:
            place: Where the key lies.
            key: It.
            places: Where it and the others lie, ascending: many in one region share walks.
        """
        cover = self._fresh_cover()
        count = SPARE_PEERS * self._settings.lookup.k
        for _ in range(MAX_GAP_WALKS):
            if (found := cover.nearest(place, count)) is not None:
                return found
            gap = cover.gap_near(place)
            if gap is None:
                break
            waiting = bisect_left(places, cover.home_of(place).stop) - bisect_left(places, place)
            if waiting <= FEW_KEYS:
                break
            await self._walk(key_within(gap), cover)
        return (await self._walk(key, cover))[:count]

    async def _walk(self, key: bytes, cover: RegionCover) -> list[str]:
        found, is_finished = await self._walker.explore(key)
        if is_finished:
            cover.add(kad_id(key), found)
        return found

    def _fresh_cover(self) -> RegionCover:
        now = self._clock()
        if now >= self._cover_ends or len(self._cover) > MAX_COVERED:
            self._cover = RegionCover(self._settings.lookup.k)
            self._cover_ends = now + self._settings.cover_s
        return self._cover

    def _records(self, keys: Sequence[bytes], link: Link) -> list[bytes]:
        """Return an ADD_PROVIDER for each key; nothing if there is no address to name."""
        addresses = self._filter.select(self._own_addresses(), link.address)
        if not addresses:
            return []  # spec: a record needs an address
        own = (KadPeer(self._peer_id, tuple(addresses)),)
        kind = MessageType.ADD_PROVIDER
        return [encode_message(KadMessage(kind, key, provider_peers=own)) for key in keys]

    def _names_us(self, answer: KadMessage) -> bool:
        return any(peer.peer_id == self._peer_id for peer in answer.provider_peers)

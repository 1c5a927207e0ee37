"""The routing table: which DHT servers we know to be up, by their distance from us.

256 k-buckets by shared prefix; a full bucket keeps the peers it has (old peers are the reliable
ones) and refuses newcomers. It holds peers that are connected or answered lately; whoever fails is
removed by the owner. Pure: no clock, no I/O.

Driven by: `routing.kad.node`. Spec: Kademlia paper, 2.2; libp2p kad-dht, "Kademlia routing table".
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterator

from mirrornode.routing.kad.keys import KEY_BITS, common_prefix_bits, peer_kad_id

K = 20  # replication and bucket size of every IPFS network


class RoutingTable:
    """Peers by bucket; `own_id` is our place in the key space and never holds an entry."""

    def __init__(self, own_id: int, *, bucket_size: int = K) -> None:
        self.own_id = own_id
        self._bucket_size = bucket_size
        self._buckets: list[dict[str, int]] = [{} for _ in range(KEY_BITS + 1)]
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, peer_id: object) -> bool:
        return isinstance(peer_id, str) and peer_id in self._bucket_of(peer_kad_id(peer_id))

    def __iter__(self) -> Iterator[str]:
        for bucket in self._buckets:
            yield from bucket

    def add(self, peer_id: str) -> bool:
        """Put a peer in; return whether it is in the table now.

        Ourselves and newcomers to a full bucket are refused.
        """
        place = peer_kad_id(peer_id)
        if place == self.own_id:
            return False
        bucket = self._bucket_of(place)
        if peer_id in bucket:
            return True
        if len(bucket) >= self._bucket_size:
            return False
        bucket[peer_id] = place
        self._size += 1
        return True

    def remove(self, peer_id: str) -> bool:
        """Take a peer out; return whether it was in."""
        if self._bucket_of(peer_kad_id(peer_id)).pop(peer_id, None) is None:
            return False
        self._size -= 1
        return True

    def closest(self, target: int, count: int = K, *, exclude: Container[str] = ()) -> list[str]:
        """Return up to `count` peers, nearest to `target` first."""
        candidates = (
            (place ^ target, peer_id)
            for bucket in self._buckets
            for peer_id, place in bucket.items()
            if peer_id not in exclude
        )
        return [peer_id for _, peer_id in heapq.nsmallest(count, candidates)]

    def deepest_bucket(self) -> int:
        """Return the index of the nearest bucket that holds a peer; -1 when the table is empty."""
        return max((index for index, bucket in enumerate(self._buckets) if bucket), default=-1)

    def _bucket_of(self, place: int) -> dict[str, int]:
        return self._buckets[common_prefix_bits(self.own_id, place)]

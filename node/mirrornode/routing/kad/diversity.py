"""Bounds how many peers of one network operator a routing table holds.

Whoever rents a /16 can make any number of peer ids, but not addresses all over the internet: a
table that takes few peers of each group cannot be filled by one of them. Pure.

Driven by: `routing.kad.node`. Spec: go-libp2p-kbucket `peerdiversity`: IPv4 /16, IPv6 /32; three
peers of a group in the table, two in a bucket.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from mirrornode.routing.kad.addresses import group_of


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """Peers of one IP group; 0 means any number."""

    per_table: int = 0
    per_bucket: int = 0


class IpDiversity:
    """Counts the groups of the peers in one table."""

    def __init__(self, limits: GroupLimits) -> None:
        self._limits = limits
        self._in_table: Counter[str] = Counter()
        self._in_bucket: Counter[tuple[int, str]] = Counter()
        self._places: dict[str, tuple[int, frozenset[str]]] = {}

    def admit(self, peer_id: str, bucket: int, addresses: Iterable[str]) -> bool:
        """Count a peer in and return True, or False when one of its groups is full."""
        limits = self._limits
        if peer_id in self._places or not (limits.per_table or limits.per_bucket):
            return True
        groups = frozenset(filter(None, map(group_of, addresses)))
        for group in groups:
            if 0 < limits.per_table <= self._in_table[group]:
                return False
            if 0 < limits.per_bucket <= self._in_bucket[bucket, group]:
                return False
        self._places[peer_id] = bucket, groups
        self._in_table.update(groups)
        self._in_bucket.update((bucket, group) for group in groups)
        return True

    def remove(self, peer_id: str) -> None:
        """Count a peer out; nothing if it was not in."""
        bucket, groups = self._places.pop(peer_id, (0, frozenset()))
        self._in_table -= Counter(groups)
        self._in_bucket -= Counter((bucket, group) for group in groups)

"""Which servers lie where, as far as walks have shown: the nearest to a key without a walk to it.

A walk to one place finds the k servers nearest to it, so every server in a ball around that place
is known then. Balls of several walks join into regions, and in a region with k servers or more the
k nearest to each of its places are certain: one exploration serves all our keys there. Pure.

Driven by: `routing.kad.publish`. The idea is that of go-libp2p-kad-dht `provider` (sweeps).
"""

from __future__ import annotations

import hashlib
import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from mirrornode.routing.kad.keys import KEY_BITS, peer_kad_id

MAX_SOUGHT_BITS = 13  # finding a key in so small a region takes 2^13 hashes, some 5 ms

_EVERYTHING = 1 << KEY_BITS


@dataclass(frozen=True, slots=True)
class Region:
    """The places that begin with the first `bits` bits of `start`."""

    start: int
    bits: int

    @classmethod
    def around(cls, place: int, bits: int) -> Region:
        """Return the region of that many bits in which a place lies."""
        shift = KEY_BITS - bits
        return cls(place >> shift << shift, bits)

    @property
    def stop(self) -> int:
        """The first place after it."""
        return self.start + (1 << (KEY_BITS - self.bits))

    @property
    def sibling(self) -> Region:
        """The other half of the region one bit wider; not of the whole space."""
        return Region(self.start ^ (1 << (KEY_BITS - self.bits)), self.bits)

    @property
    def halves(self) -> tuple[Region, Region]:
        """Its lower and its upper half."""
        lower = Region(self.start, self.bits + 1)
        return lower, lower.sibling


class RegionCover:
    """What a few walks have shown of a network whose keys are kept by `k` servers each."""

    def __init__(self, k: int) -> None:
        self._k = k
        self._starts: list[int] = []  # of the known stretches, disjoint and ascending
        self._stops: list[int] = []
        self._servers: list[tuple[int, str]] = []

    def __len__(self) -> int:
        """Return how many servers are known."""
        return len(self._servers)

    def add(self, target: int, nearest: Sequence[str]) -> None:
        """Take the servers that a finished walk to `target` found, the nearest first.

        The first k are believed to be complete; fewer than k are everybody.
        """
        for peer_id in nearest:
            entry = peer_kad_id(peer_id), peer_id
            index = bisect_left(self._servers, entry)
            if self._servers[index : index + 1] != [entry]:
                insort(self._servers, entry)
        if len(nearest) < self._k:
            self._know(0, _EVERYTHING)
            return
        radius = (peer_kad_id(nearest[self._k - 1]) ^ target) + 1
        for bit in range(KEY_BITS + 1):  # the ball, cut into aligned regions
            if radius >> bit & 1:
                begin = target >> bit
                begin = (begin ^ ((radius >> bit) - 1)) << bit
                self._know(begin, begin + (1 << bit))

    def drop(self, peer_id: str) -> None:
        """Forget a server that failed."""
        entry = peer_kad_id(peer_id), peer_id
        index = bisect_left(self._servers, entry)
        if self._servers[index : index + 1] == [entry]:
            del self._servers[index]

    def nearest(self, place: int, limit: int) -> list[str] | None:
        """Return the servers nearest to a place, None when the first k of them are not certain.

        Those after the first k are as near as we know.
        """
        region = self._known_region(place)
        if region is None or (region.bits and len(self._within(region)) < self._k):
            return None
        wider = Region.around(place, max(region.bits - 1, 0))
        found = heapq.nsmallest(limit, ((at ^ place, peer) for at, peer in self._within(wider)))
        return [peer for _, peer in found]

    def gap_near(self, place: int) -> Region | None:
        """Return the unknown region to look into next so that `nearest(place)` becomes certain.

        None when nothing is known around the place: look there.
        """
        region = self._known_region(place)
        if region is None or not region.bits:
            return None
        gap = region.sibling
        while self._is_touched(gap):
            lower, upper = gap.halves
            gap = upper if self._is_known(lower) or not self._is_touched(upper) else lower
        return gap

    def home_of(self, place: int) -> Region:
        """Return the narrowest region around a place in which k servers were seen."""
        bits = 0
        while bits < KEY_BITS and len(self._within(Region.around(place, bits + 1))) >= self._k:
            bits += 1
        return Region.around(place, bits)

    def _know(self, start: int, stop: int) -> None:
        first = bisect_left(self._stops, start)  # those that touch [start, stop) are joined with it
        last = bisect_right(self._starts, stop)
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def _is_known(self, region: Region) -> bool:
        index = bisect_right(self._starts, region.start) - 1
        return index >= 0 and self._stops[index] >= region.stop

    def _is_touched(self, region: Region) -> bool:
        index = bisect_right(self._stops, region.start)
        return index < len(self._starts) and self._starts[index] < region.stop

    def _known_region(self, place: int) -> Region | None:
        """Return the widest region around a place that is known whole."""
        index = bisect_right(self._starts, place) - 1
        if index < 0 or self._stops[index] <= place:
            return None
        start, stop = self._starts[index], self._stops[index]
        for bits in range(KEY_BITS + 1):
            region = Region.around(place, bits)
            if region.start >= start and region.stop <= stop:
                return region
        return None

    def _within(self, region: Region) -> list[tuple[int, str]]:
        low = bisect_left(self._servers, (region.start, ""))
        return self._servers[low : bisect_left(self._servers, (region.stop, ""))]


def key_within(region: Region) -> bytes:
    """Return a message key whose place lies in a region, or very near when that is tiny.

    Servers hash what they are asked for, so a preimage is searched. Always the same for a region.
    """
    bits = min(region.bits, MAX_SOUGHT_BITS)
    wanted = region.start >> (KEY_BITS - bits)
    for number in count():
        key = b"\x12\x20" + number.to_bytes(32, "big")  # looks like a peer id to who checks
        if int.from_bytes(hashlib.sha256(key).digest()[:2], "big") >> (16 - bits) == wanted:
            break
    return key

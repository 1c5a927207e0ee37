"""When each key is announced again, so that a large network is swept once in every interval.

The key space is cut into regions of some 40 servers. Each region has its moment in the interval,
evenly spread, and all our keys in it are due then: one exploration serves them all, and the load,
ours and the network's, is the same at any hour. The moments hang on the wall clock and on who we
are, so that they outlive a restart and not all nodes of the world visit one region at once. Pure.

Driven by: `routing.announce`. The idea is that of go-libp2p-kad-dht `provider`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mirrornode.routing.kad.keys import KEY_BITS
from mirrornode.routing.kad.table import K

REGION_SERVERS = 2 * K  # on average: fewer than K are then as good as never in one
MAX_REGION_BITS = 20
SOONEST = 1 / 12  # of the interval: a key that was announced less long ago waits for the next round


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """The regions of a network and their times.

    Attributes:
        servers: How many servers the network has, about.
        interval_s: Between two visits to a region.
        offset: Our share of the interval before the first region's moment, 0 to 1.
    """

    servers: int
    interval_s: float
    offset: float = 0.0

    @property
    def region_bits(self) -> int:
        """How many leading bits the places of a region share; 0 when there is only one region."""
        if self.servers < 2 * REGION_SERVERS:
            return 0
        return min(int(math.log2(self.servers / REGION_SERVERS)), MAX_REGION_BITS)

    @property
    def regions(self) -> int:
        """How many there are."""
        return 1 << self.region_bits

    def region_of(self, place: int) -> int:
        """Return the number of the region a place lies in."""
        return place >> (KEY_BITS - self.region_bits)

    def next_at(self, place: int, now: float) -> float:
        """Return when a key that was just announced is to be announced again.

        Between 1/12 and 13/12 of the interval from now, so not much later than one that waits for
        the whole of it; both in Unix seconds.
        """
        phase_s = (self.region_of(place) / self.regions + self.offset) % 1 * self.interval_s
        soonest = now + SOONEST * self.interval_s
        rounds = math.ceil((soonest - phase_s) / self.interval_s)
        return rounds * self.interval_s + phase_s

    def cut(self, places: Iterable[int], max_regions: int) -> int:
        """Return how many of the places, from the first on, lie in at most that many regions."""
        seen: set[int] = set()
        count = 0
        for place in places:
            seen.add(self.region_of(place))
            if len(seen) > max_regions:
                break
            count += 1
        return count

"""How many servers a DHT has, told from how near the nearest of them are to random keys.

Places are spread evenly, so the k-th nearest of n servers lies about k/n of the key space away. A
dozen walks give n to some 7 %: enough to say how wide a region with 20 servers is. Pure.

Driven by: `routing.kad.walk`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median

from mirrornode.routing.kad.keys import KEY_BITS

REMEMBERED_WALKS = 16


class SizeEstimate:
    """Learns from walks; knows `remembered` until the first.

    Args:
        remembered: What was estimated before a restart; 0 when nothing is known.
    """

    def __init__(self, remembered: int = 0) -> None:
        self._remembered = remembered
        self._estimates: deque[float] = deque(maxlen=REMEMBERED_WALKS)

    @property
    def servers(self) -> int:
        """About how many servers there are besides us; 0 when nothing is known."""
        return round(median(self._estimates)) if self._estimates else self._remembered

    def remember(self, servers: int) -> None:
        """Take what was estimated before a restart."""
        self._remembered = servers

    def walked(self, distances: Sequence[int], k: int) -> None:
        """Take the distances of the servers nearest to a key, the nearest first."""
        if len(distances) < k:
            self._estimates.append(len(distances))  # that is everybody
        else:
            self._estimates.append((k - 1) * 2**KEY_BITS / max(distances[k - 1], 1))

"""How fast and how reliable a source has been, as numbers that decay with time. Pure: no clock.

Driven by: `transfer.plan`, which calls it with the caller's monotonic seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

RATE_MEMORY_S = 2.0  # half the weight of a rate is younger than about 1.4 s
FIRST_RATE = 8e6  # bytes a second assumed before anything arrived: a first run of a few MiB
MAX_FAILURES = 6  # consecutive failures after which a source is given up
BACKOFF_FIRST_S = 0.25
BACKOFF_MAX_S = 8.0


@dataclass(slots=True)
class Rate:
    """Bytes a second over the last `RATE_MEMORY_S` or so, by decaying sums."""

    bytes_sum: float = 0.0
    seconds_sum: float = 0.0

    def record(self, size_bytes: int, elapsed_s: float) -> None:
        """Note that `size_bytes` took `elapsed_s`."""
        elapsed_s = max(elapsed_s, 1e-6)
        keep = math.exp(-elapsed_s / RATE_MEMORY_S)
        self.bytes_sum = self.bytes_sum * keep + size_bytes
        self.seconds_sum = self.seconds_sum * keep + elapsed_s

    @property
    def is_known(self) -> bool:
        return self.seconds_sum > 0

    @property
    def bytes_per_s(self) -> float:
        return self.bytes_sum / self.seconds_sum if self.seconds_sum else FIRST_RATE


@dataclass(slots=True)
class Score:
    """One source's record within one transfer."""

    received_bytes: int = 0
    failures: int = 0  # in a row, forgotten at the next success
    total_failures: int = 0
    blocked_until: float = 0.0
    last_reason: str = ""

    def succeeded(self, size_bytes: int) -> None:
        """Note verified bytes; 0 when another source was first with them."""
        self.received_bytes += size_bytes
        self.failures = 0

    def failed(self, now: float, reason: str, retry_after_s: float | None = None) -> None:
        """Note a failure; the source rests before it is asked again."""
        self.failures += 1
        self.total_failures += 1
        self.last_reason = reason
        rest = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (self.failures - 1))
        if retry_after_s is not None:
            rest = max(rest, min(retry_after_s, 60.0))
        self.blocked_until = now + rest

    @property
    def is_given_up(self) -> bool:
        return self.failures >= MAX_FAILURES

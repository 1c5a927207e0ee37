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
FAR_RTT_S = 0.010  # a LAN is below, Wi-Fi included
FAR_LATENCY_S = 0.1  # where no round trip is known: what a busy server of a LAN seldom takes
MAX_REST_S = 60.0  # of the rest that a source asks for; it may name any number


@dataclass(slots=True)
class Rate:
    """Bytes a second over the last `RATE_MEMORY_S` or so, by decaying sums."""

    bytes_sum: float = 0.0
    seconds_sum: float = 0.0
    prior: float = FIRST_RATE  # what to assume before anything arrived

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
        # An empty leaf is measured as well: no rate is nothing.
        return max(1.0, self.bytes_sum / self.seconds_sum) if self.seconds_sum else self.prior


@dataclass(slots=True)
class Score:
    """One source's record within one transfer."""

    received_bytes: int = 0
    latency_s: float = 0.0  # from a request to its first byte, connecting included; 0 = unknown
    last_success_at: float = -math.inf
    late_runs: int = 0  # fell far behind what the rate promised, less the leaves since
    failures: int = 0  # in a row, forgotten at the next success
    total_failures: int = 0
    blocked_until: float = 0.0
    asked_until: float = 0.0  # the part of the above that the source asked for itself
    last_reason: str = ""
    first_byte_s: float | None = None  # as `latency_s`, of the first request alone
    rtt_s: float | None = None  # the shortest round trip of its connections
    busy_s: float = 0.0  # how long it had runs, without the present ones
    busy_since: float | None = None  # since when it has had runs

    def began(self, now: float) -> None:
        """Note that the source is asked for something, after it was not."""
        self.busy_since = now

    def rested(self, now: float) -> None:
        """Note that the source is asked for nothing any more."""
        self.busy_s, self.busy_since = self.busy_until(now), None

    def busy_until(self, now: float) -> float:
        """Return for how many seconds the source has been at work."""
        return self.busy_s + (now - self.busy_since if self.busy_since is not None else 0.0)

    def succeeded(self, size_bytes: int, now: float) -> None:
        """Note verified bytes; 0 when another source was first with them."""
        self.received_bytes += size_bytes
        self.failures = 0
        self.last_success_at = now
        if self.late_runs:
            self.late_runs -= 1

    def answered(self, elapsed_s: float) -> None:
        """Note how long a request took to be answered."""
        old = self.latency_s
        if self.first_byte_s is None:
            self.first_byte_s = elapsed_s
        # Quick to believe a shorter time: the first one holds the handshakes as well.
        share = 0.2 if elapsed_s > old else 0.5
        self.latency_s = old + share * (elapsed_s - old) if old else elapsed_s

    def crossed(self, rtt_s: float) -> None:
        """Note the round trip of one of the source's connections."""
        self.rtt_s = rtt_s if self.rtt_s is None else min(self.rtt_s, rtt_s)

    @property
    def is_far(self) -> bool:
        """Whether a long line lies between, as far as is known."""
        if self.rtt_s is not None:
            return self.rtt_s >= FAR_RTT_S
        return self.latency_s >= FAR_LATENCY_S

    @property
    def weight(self) -> float:
        """Return the share of its usual run that a source should get: less after late ones."""
        return 0.5 ** min(self.late_runs, 4)

    def failed(self, now: float, reason: str, retry_after_s: float | None = None) -> None:
        """Note a failure; the source rests before it is asked again."""
        self.failures += 1
        self.total_failures += 1
        self.last_reason = reason
        rest = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (self.failures - 1))
        if retry_after_s is not None:
            self.asked_until = max(self.asked_until, now + min(retry_after_s, MAX_REST_S))
        # Another lane's failure a moment later must not cut short what the source asked for.
        self.blocked_until = max(self.asked_until, now + rest)

    def revived(self) -> None:
        """Allow one more try to a source that was given up, once it has had the rest it wanted."""
        self.failures = min(self.failures, MAX_FAILURES - 1)
        self.blocked_until = self.asked_until

    @property
    def is_given_up(self) -> bool:
        return self.failures >= MAX_FAILURES

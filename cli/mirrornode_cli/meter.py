"""Recent rate and an honest time to go, from samples of a byte counter.

Pure: the time is an argument.
"""

from __future__ import annotations

import math

TIME_CONSTANT_S = 3.0  # a change of speed shows within about this time
MIN_OBSERVED_S = 0.5  # below this a rate says more about chunking than about speed


class RateMeter:
    """An exponentially weighted mean rate that falls towards zero while nothing arrives."""

    def __init__(self, time_constant_s: float = TIME_CONSTANT_S) -> None:
        self._tau_s = time_constant_s
        self._started_s: float | None = None
        self._last_s = 0.0
        self._last_bytes = 0
        self._weighted = 0.0

    def sample(self, now_s: float, done_bytes: int) -> None:
        """Take the counter's value at a time; earlier times and lower values are ignored."""
        if self._started_s is None:
            self._started_s = self._last_s = now_s
            self._last_bytes = done_bytes
            return
        elapsed_s = now_s - self._last_s
        if elapsed_s <= 0 or done_bytes < self._last_bytes:
            return
        kept = math.exp(-elapsed_s / self._tau_s)
        rate = (done_bytes - self._last_bytes) / elapsed_s
        self._weighted = self._weighted * kept + rate * (1 - kept)
        self._last_s = now_s
        self._last_bytes = done_bytes

    def rate(self, now_s: float) -> float | None:
        """Return bytes a second at this time; None until enough was seen."""
        if self._started_s is None or now_s - self._started_s < MIN_OBSERVED_S:
            return None
        faded = math.exp(-max(0.0, now_s - self._last_s) / self._tau_s)
        seen = 1 - math.exp(-(now_s - self._started_s) / self._tau_s)
        return self._weighted * faded / seen

    def time_left(self, now_s: float, remaining_bytes: int) -> float | None:
        """Return seconds to go at the recent rate; None when unknown or stalled."""
        rate = self.rate(now_s)
        if rate is None or rate < 1 or remaining_bytes < 0:
            return None
        return remaining_bytes / rate

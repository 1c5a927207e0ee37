"""What a mirror is worth, out of how it did before. Pure: the time is an argument.

The score is in bytes a second: what a run of `RUN_BYTES` from this mirror brings, by its rate and
its time to the first byte, times the square of its success rate, times the user's weight. Half of
what counts is younger than a week. A mirror that was never tried has no score; it is worth a try.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from mirrornode.sources.web import public_url

if TYPE_CHECKING:
    from mirrornode.store.records import MirrorUse

HALF_LIFE_S: Final = 7 * 86_400.0
RUN_BYTES: Final = 8 << 20  # what a far server is typically asked for at once
WRONG_COUNTS: Final = 4.0  # wrong bytes weigh as so many failures


@dataclass(frozen=True, slots=True)
class MirrorScore:
    """How a mirror did.

    Attributes:
        uses: How many uses are known.
        good: How many of them went well.
        success: What to expect of the next, 0 to 1: by age, and not without hope after one
            failure; None when there are none.
        rate_bytes_per_s: While it delivered; None when it never did.
        first_byte_s: Mean time to the head of an answer; None when it was never measured.
    """

    uses: int = 0
    good: int = 0
    success: float | None = None
    rate_bytes_per_s: float | None = None
    first_byte_s: float | None = None

    def worth(self, weight: float) -> float | None:
        """Return the score; None when the rate is not known, 0 when there was never one."""
        if self.success is None:
            return None
        if self.rate_bytes_per_s is None:
            return None if self.success > 0.5 else 0.0  # reached and not asked for bytes, or failed
        seconds = (self.first_byte_s or 0.0) + RUN_BYTES / self.rate_bytes_per_s
        return weight * self.success**2 * RUN_BYTES / seconds


def score_of(uses: Sequence[MirrorUse], now: float) -> MirrorScore:
    """Return how a mirror did, as of `now` (Unix seconds; a use from the future is of today)."""
    if not uses:
        return MirrorScore()
    good = all_ = sizes = seconds = first_bytes = first_weights = 0.0
    for use in uses:
        weight = 0.5 ** (max(0.0, now - use.at) / HALF_LIFE_S)
        good += weight * (use.outcome == "ok")
        all_ += weight * (WRONG_COUNTS if use.outcome == "wrong" else 1.0)
        if use.size_bytes > 0 and use.seconds > 0:
            sizes += weight * use.size_bytes
            seconds += weight * use.seconds
        if use.first_byte_s is not None:
            first_bytes += weight * use.first_byte_s
            first_weights += weight
    return MirrorScore(
        len(uses),
        sum(use.outcome == "ok" for use in uses),
        # One good use is assumed: a single failure does not rule a mirror out for ever.
        (good + 1.0) / (all_ + 1.0),
        sizes / seconds if seconds else None,
        first_bytes / first_weights if first_weights else None,
    )


def mirror_key(url: str) -> str:
    """Return the name under which a mirror's history is kept.

    A base or a gateway is itself; of the URL of a file, its server is what comes back.
    """
    shown = public_url(url)
    if is_base(url):
        return shown if shown.endswith("/") else shown + "/"
    scheme, netloc, *_ = urlsplit(shown)
    return urlunsplit((scheme, netloc, "/", "", ""))


def is_base(url: str) -> bool:
    """Tell whether a URL names a gateway or a folder of files, and not one file."""
    return url.endswith("/") or urlsplit(url).path in ("", "/")

"""Numbers as people read them: sizes, rates, durations, short source names. Pure functions.

Sizes are decimal (1 MB = 1,000,000 bytes), as disks and networks are sold.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
MAX_SHOWN_DURATION_S = 99 * 3600  # longer than that is no estimate any more


def size_text(size_bytes: float) -> str:
    """Return e.g. "0 B", "1.50 kB", "12.3 MB", "2.15 GB": three significant digits."""
    value = float(max(0.0, size_bytes))
    unit = 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    if unit == 0:
        return f"{int(value)} B"
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {_UNITS[unit]}"


def rate_text(rate_bytes_per_s: float | None) -> str:
    """Return e.g. "812 MB/s"; "-" when the rate is not known."""
    return "-" if rate_bytes_per_s is None else f"{size_text(rate_bytes_per_s)}/s"


def duration_text(seconds: float | None) -> str:
    """Return "0:07", "12:05" or "3:00:12"; "-" when unknown or too long to mean anything."""
    if seconds is None or not 0 <= seconds <= MAX_SHOWN_DURATION_S:
        return "-"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def moment_text(unix_s: float | None) -> str:
    """Return e.g. "2026-11-23 15:04", in the machine's time zone; "-" for None."""
    return "-" if unix_s is None else datetime.fromtimestamp(unix_s).strftime("%Y-%m-%d %H:%M")


def seconds_text(seconds: float) -> str:
    """Return how long something took: "0.42 s", "12.3 s", "4:05 min"."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 100:
        return f"{seconds:.1f} s"
    unit = "h" if seconds >= 3600 else "min"
    return f"{duration_text(seconds)} {unit}"


def percent_text(done: int, total: int) -> str:
    """Return e.g. "45.2%"; 100% only when all is done, "-" when the total is unknown."""
    if total <= 0:
        return "-"
    if done >= total:
        return "100%"
    return f"{min(99.9, int(1000 * done / total) / 10):.1f}%"


def source_text(source_id: str) -> str:
    """Return a short name of a source id `<kind>:<id>`: the end of a peer id, the host of a URL.

    The end of a peer id is what differs: all Ed25519 ids begin with the same characters.
    """
    kind, _, rest = source_id.partition(":")
    if not rest:
        return printable(kind)
    if "://" in rest:
        rest = urlsplit(rest).netloc or rest
    elif kind == "peer" and len(rest) > 12:
        rest = f"…{rest[-8:]}"
    return printable(f"{kind} {rest}")


def count_text(count: int, noun: str) -> str:
    """Return "1 file", "2 files"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def printable(text: str) -> str:
    """Return the text with control characters replaced.

    Names and reasons come from other machines; they may not move the cursor or fake a line.
    """
    return "".join(char if char.isprintable() else "�" for char in text)

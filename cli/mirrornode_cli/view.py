"""What a running `get` or `add` looks like: state in, lines of text out. Pure; no terminal here.

`wide` lines fit the given width, down to about 30 columns; the plain form is one line.
"""

from __future__ import annotations

from mirrornode.events import AddProgress, Event, GetProgress, SourceState
from mirrornode_cli.meter import RateMeter
from mirrornode_cli.units import (
    count_text,
    duration_text,
    percent_text,
    printable,
    rate_text,
    size_text,
    source_text,
)

MAX_SOURCES_SHOWN = 6
MIN_BAR_CELLS = 8
_PHASES = {
    "finding": "looking for sources",
    "structure": "reading the structure",
    "transfer": "fetching and verifying",
    "finishing": "finishing",
}


class GetView:
    """The progress of one `get`."""

    def __init__(self, target: str) -> None:
        self._target = printable(target)
        self._meter = RateMeter()
        self._latest: GetProgress | None = None

    def take(self, event: Event, now_s: float) -> None:
        """Remember the newest progress; other events are not for this view."""
        if isinstance(event, GetProgress):
            self._latest = event
            self._meter.sample(now_s, max(0, event.done_bytes - event.resumed_bytes))

    def lines(self, width: int, now_s: float) -> list[str]:
        """Return the live display: what, how far, and who delivers."""
        latest = self._latest
        if latest is None:
            return [_clip(f"get {self._target}: starting", width)]
        lines = [_clip(f"{_PHASES.get(latest.phase, latest.phase)}: {self._target}", width)]
        if latest.total_bytes:
            lines.append(
                _bar_line(latest.done_bytes, latest.total_bytes, self._meter, width, now_s)
            )
        if extras := _extras(latest):
            lines.append(_clip(f"  {extras}", width))
        shown = sorted(latest.sources, key=lambda source: -source.rate_bytes_per_s)
        lines += [_source_line(source, width) for source in shown[:MAX_SOURCES_SHOWN]]
        if len(shown) > MAX_SOURCES_SHOWN:
            lines.append(_clip(f"  and {len(shown) - MAX_SOURCES_SHOWN} more sources", width))
        return lines

    def plain(self, now_s: float) -> str:
        """Return one line for logs and pipes."""
        latest = self._latest
        if latest is None or not latest.total_bytes:
            phase = _PHASES.get(latest.phase, latest.phase) if latest else "starting"
            return f"get {self._target}: {phase}"
        numbers = _numbers(latest.done_bytes, latest.total_bytes, self._meter, now_s)
        if latest.done_bytes >= latest.total_bytes:
            return f"get {self._target}: {numbers}"  # nobody is asked for anything any more
        working = sum(source.state == "active" for source in latest.sources)
        return f"get {self._target}: {numbers}, from {count_text(working, 'source')}"


class AddView:
    """The progress of one `add` or `verify`: bytes read of bytes to read."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._meter = RateMeter()
        self._latest: AddProgress | None = None

    def take(self, event: Event, now_s: float) -> None:
        """Remember the newest progress; other events are not for this view."""
        if isinstance(event, AddProgress):
            self._latest = event
            self._meter.sample(now_s, event.done_bytes)

    def lines(self, width: int, now_s: float) -> list[str]:
        """Return the live display: how far, and which path."""
        latest = self._latest
        if latest is None or not latest.total_bytes:
            return [_clip(f"{self._verb}: looking at the files", width)]
        path = f"{self._verb}: {printable(latest.path)}" if latest.path else self._verb
        return [
            _clip_left(path, width),
            _bar_line(latest.done_bytes, latest.total_bytes, self._meter, width, now_s),
        ]

    def plain(self, now_s: float) -> str:
        """Return one line for logs and pipes."""
        latest = self._latest
        if latest is None or not latest.total_bytes:
            return f"{self._verb}: looking at the files"
        return (
            f"{self._verb}: {_numbers(latest.done_bytes, latest.total_bytes, self._meter, now_s)}"
        )


View = GetView | AddView


def _numbers(done: int, total: int, meter: RateMeter, now_s: float) -> str:
    left = meter.time_left(now_s, total - done)
    return (
        f"{percent_text(done, total)} of {size_text(total)}, {rate_text(meter.rate(now_s))}, "
        f"{duration_text(left)} left"
    )


def _bar_line(done: int, total: int, meter: RateMeter, width: int, now_s: float) -> str:
    left = duration_text(meter.time_left(now_s, total - done))
    speed = rate_text(meter.rate(now_s))
    numbers = (
        f"{percent_text(done, total):>6}  {size_text(done)} of {size_text(total)}"
        f"  {speed:>9}  {left} left"
    )
    cells = width - len(numbers) - 4
    if cells >= MIN_BAR_CELLS:
        filled = min(cells, cells * done // total)
        return f"  {'━' * filled}{'╌' * (cells - filled)}  {numbers}"
    short = f"{percent_text(done, total)} of {size_text(total)} {speed} {left}"
    return _clip(f"  {numbers}" if len(numbers) + 2 <= width else short, width)


def _extras(latest: GetProgress) -> str:
    parts = []
    if latest.files_total > 1:
        parts.append(f"{latest.files_done:,} of {latest.files_total:,} files")
    if latest.resumed_bytes:
        parts.append(f"{size_text(latest.resumed_bytes)} resumed")
    return ", ".join(parts)


def _source_line(source: SourceState, width: int) -> str:
    name = source_text(source.source_id)
    state = source.state if not source.reason else f"{source.state}: {printable(source.reason)}"
    rate = rate_text(source.rate_bytes_per_s if source.state == "active" else None)
    amounts = f"{size_text(source.received_bytes):>8}  {rate:>9}"
    room = max(8, min(32, width - len(amounts) - 14))
    return _clip(f"  {_clip(name, room):<{room}}  {amounts}  {state}", width)


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def _clip_left(text: str, width: int) -> str:
    return text if len(text) <= width else "…" + text[len(text) - max(0, width - 1) :]

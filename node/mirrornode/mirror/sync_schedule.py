"""When a synced target is due: an interval, and the hours of the day in which it may run. Pure.

Times are Unix seconds that the caller brings; hours of the day are those of the machine's time
zone, or of the one that is given. What runs, and how, is in `sync`.
"""

from __future__ import annotations

import datetime
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirrornode.store import sync as states

if TYPE_CHECKING:
    from mirrornode.store.sync import SyncState

RETRY_S = 300.0  # after a first failure; twice as long after each further one
DAY_S = 86_400.0
MIN_EVERY_S = 60.0  # the origin is asked that often at most
MAX_EVERY_S = 365 * 86_400.0

_EVERY = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhdw])", re.ASCII)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
_WINDOW = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of the day, in minutes after midnight: `[start, stop)`, over midnight where it ends
    before it starts.
    """

    start: int
    stop: int

    def closes_at(self, now: float, zone: datetime.tzinfo | None = None) -> float | None:
        """Return when the window that is open now closes; None when none is."""
        for start, stop in self._spans(now, zone):
            if start <= now < stop:
                return stop
        return None

    def opens_at(self, now: float, zone: datetime.tzinfo | None = None) -> float:
        """Return `now` while the window is open, else when it opens next."""
        if self.closes_at(now, zone) is not None:
            return now
        return min(start for start, _ in self._spans(now, zone) if start > now)

    def _spans(self, now: float, zone: datetime.tzinfo | None) -> list[tuple[float, float]]:
        today = datetime.datetime.fromtimestamp(now, zone).date()
        days = [today + datetime.timedelta(days=count) for count in (-1, 0, 1, 2)]
        spans = []
        for day, following in itertools.pairwise(days):
            last = day if self.stop > self.start else following
            spans.append((_moment(day, self.start, zone), _moment(last, self.stop, zone)))
        return spans


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a target runs by itself.

    Attributes:
        every_s: From the start of a run that ended well to the next; 0 = only by hand.
        window: The hours in which it may; None = all.
    """

    every_s: float
    window: Window | None = None


def parse_schedule(every: str, window: str) -> Schedule:
    """Return the schedule that two settings mean.

    Raises:
        ValueError: One makes no sense; says how it is written.
    """
    every_s = 0.0
    if every:
        match = _EVERY.fullmatch(every.strip().lower())
        every_s = float(match[1]) * _SECONDS[match[2]] if match else 0.0
        if not MIN_EVERY_S <= every_s <= MAX_EVERY_S:
            raise ValueError(
                f'every = "{every}": give a number and a unit, such as 30m, 6h or 1d, from one '
                'minute to a year; "" for runs by hand only'
            )
    if not window:
        return Schedule(every_s)
    found = _WINDOW.fullmatch(window.strip())
    start, stop = (_minutes(found[1], found[2]), _minutes(found[3], found[4])) if found else (0, 0)
    if start == stop or max(start, stop) > 24 * 60:
        raise ValueError(
            f'window = "{window}": give two different times of the day, such as 22:00-06:00; '
            '"" for all day'
        )
    return Schedule(every_s, Window(start % 1440, stop % 1440))


def next_run(
    schedule: Schedule,
    state: SyncState | None,
    now: float,
    zone: datetime.tzinfo | None = None,
) -> float | None:
    """Return when a target is to run next: `now` or earlier when it is due, None for never.

    What never ran, was killed, or was stopped by the end of its window, is due at once; what failed
    is tried again sooner than what went well.
    """
    if not schedule.every_s or (state is not None and state.outcome == states.RUNNING):
        return None
    due = now
    if state is not None and state.outcome not in (states.KILLED, states.PAUSED):
        if state.outcome == states.OK:
            due = state.started_at + schedule.every_s
        else:
            pause_s = RETRY_S * 2 ** min(max(0, state.failures - 1), 20)
            due = (state.ended_at or state.started_at) + min(schedule.every_s, pause_s)
        due = min(due, now + schedule.every_s)  # the clock may have been set back
    if schedule.window is None:
        return due
    return schedule.window.opens_at(max(due, now), zone)


def is_overdue(schedule: Schedule, state: SyncState | None, now: float) -> bool:
    """Tell whether a target on schedule has not run well for two intervals.

    An interval is a day at least where there is a window; before the first good run, two failures
    count as much.
    """
    if not schedule.every_s or state is None:
        return False
    if state.ok_at is None:
        return state.failures >= 2
    interval_s = schedule.every_s if schedule.window is None else max(DAY_S, schedule.every_s)
    return now - state.ok_at > 2 * interval_s


def _minutes(hours: str, minutes: str) -> int:
    return int(hours) * 60 + int(minutes) if int(minutes) < 60 else 24 * 60 + 1


def _moment(day: datetime.date, minute: int, zone: datetime.tzinfo | None) -> float:
    clock = datetime.time(minute // 60, minute % 60)
    return datetime.datetime.combine(day, clock, tzinfo=zone).timestamp()

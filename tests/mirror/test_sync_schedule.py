"""When targets are due: time in, times out."""

from __future__ import annotations

import datetime
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from mirrornode.mirror.sync_schedule import Schedule, Window, is_overdue, next_run, parse_schedule
from mirrornode.store.sync import CANCELLED, FAILED, KILLED, OK, PARTIAL, PAUSED, RUNNING, SyncState

HOUR = 3600.0
UTC = datetime.UTC
BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = Window(22 * 60, 6 * 60)
DAY = Window(9 * 60, 17 * 60)


def at(text: str, zone: datetime.tzinfo = UTC) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


NOON = at("2026-03-10 12:00")
LAST = SyncState("t", outcome=OK, started_at=NOON - HOUR, ended_at=NOON - HOUR / 2)


@pytest.mark.parametrize(
    ("every", "window", "expected"),
    [
        ("6h", "", Schedule(6 * HOUR)),
        ("90m", "22:00-06:00", Schedule(1.5 * HOUR, NIGHT)),
        ("1.5h", " 9:00 - 17:00 ", Schedule(1.5 * HOUR, DAY)),
        ("1W", "00:00-24:00", None),
        ("", "", Schedule(0.0)),
    ],
)
def test_parse_when_written_well_then_a_schedule(
    every: str, window: str, expected: Schedule | None
) -> None:
    if expected is None:
        assert parse_schedule(every, window).window == Window(0, 0)
    else:
        assert parse_schedule(every, window) == expected


@pytest.mark.parametrize("every", ["6", "h", "-1h", "10s", "0h", "400d", "nan h", "1e9h", "6 hrs"])
def test_parse_when_the_interval_makes_no_sense_then_refused(every: str) -> None:
    with pytest.raises(ValueError, match="every"):
        parse_schedule(every, "")


@pytest.mark.parametrize("window", ["22:00", "22:00-22:00", "25:00-06:00", "22:60-06:00", "22-6"])
def test_parse_when_the_window_makes_no_sense_then_refused(window: str) -> None:
    with pytest.raises(ValueError, match="window"):
        parse_schedule("6h", window)


@pytest.mark.parametrize(
    ("window", "now", "closes", "opens"),
    [
        (NIGHT, "2026-03-10 12:00", None, "2026-03-10 22:00"),
        (NIGHT, "2026-03-10 22:00", "2026-03-11 06:00", "2026-03-10 22:00"),
        (NIGHT, "2026-03-11 05:59", "2026-03-11 06:00", "2026-03-11 05:59"),
        (NIGHT, "2026-03-11 06:00", None, "2026-03-11 22:00"),
        (DAY, "2026-03-10 12:00", "2026-03-10 17:00", "2026-03-10 12:00"),
        (DAY, "2026-03-10 17:00", None, "2026-03-11 09:00"),
        (Window(0, 0), "2026-03-10 12:00", "2026-03-11 00:00", "2026-03-10 12:00"),
    ],
)
def test_window_when_asked_then_says_when_it_closes_and_opens(
    window: Window, now: str, closes: str | None, opens: str
) -> None:
    assert window.closes_at(at(now), UTC) == (None if closes is None else at(closes))
    assert window.opens_at(at(now), UTC) == at(opens)


def test_window_when_clocks_change_in_it_then_it_is_an_hour_shorter_or_longer() -> None:
    for night, hours in (("2026-03-28", 7), ("2026-10-24", 9)):  # of the change to and from summer
        opened = at(f"{night} 22:00", BERLIN)
        closes = NIGHT.closes_at(opened, BERLIN)
        assert closes is not None
        assert closes - opened == hours * HOUR


def test_next_run_when_it_never_ran_was_killed_or_paused_then_at_once() -> None:
    every = Schedule(6 * HOUR)
    assert next_run(every, None, NOON, UTC) == NOON
    for outcome in (KILLED, PAUSED):
        assert next_run(every, replace(LAST, outcome=outcome), NOON, UTC) == NOON


def test_next_run_when_it_went_well_then_an_interval_after_its_start() -> None:
    assert next_run(Schedule(6 * HOUR), LAST, NOON, UTC) == LAST.started_at + 6 * HOUR


@pytest.mark.parametrize("outcome", [FAILED, PARTIAL, CANCELLED])
def test_next_run_when_it_failed_then_sooner_and_ever_later(outcome: str) -> None:
    every, ended = Schedule(HOUR), NOON - 10
    pauses = []
    for failures in (1, 2, 3, 50):
        state = replace(LAST, outcome=outcome, ended_at=ended, failures=failures)
        due = next_run(every, state, NOON, UTC)
        assert due is not None
        pauses.append(due - ended)
    assert pauses == [300, 600, 1200, HOUR]


def test_next_run_when_the_window_is_shut_then_when_it_opens() -> None:
    night = Schedule(HOUR, NIGHT)
    assert next_run(night, None, NOON, UTC) == at("2026-03-10 22:00")
    assert next_run(night, LAST, NOON, UTC) == at("2026-03-10 22:00")
    late = replace(LAST, started_at=at("2026-03-11 05:30"))
    assert next_run(night, late, at("2026-03-11 05:40"), UTC) == at("2026-03-11 22:00")


def test_next_run_when_only_by_hand_or_running_then_never() -> None:
    assert next_run(Schedule(0.0), None, NOON, UTC) is None
    assert next_run(Schedule(HOUR), replace(LAST, outcome=RUNNING), NOON, UTC) is None


def test_next_run_when_the_clock_was_set_back_then_not_in_a_year() -> None:
    ahead = replace(LAST, started_at=NOON + 365 * 24 * HOUR)
    assert next_run(Schedule(HOUR), ahead, NOON, UTC) == NOON + HOUR


def test_overdue_when_two_intervals_went_by_without_a_good_run() -> None:
    hourly, nightly = Schedule(HOUR), Schedule(HOUR, NIGHT)
    good = replace(LAST, ok_at=NOON - 2 * HOUR)
    assert not is_overdue(hourly, good, NOON)
    assert is_overdue(hourly, good, NOON + 1)
    assert not is_overdue(nightly, good, NOON + 1)
    assert is_overdue(nightly, good, NOON + 48 * HOUR)
    assert not is_overdue(Schedule(0.0), good, NOON + 1)
    assert not is_overdue(hourly, None, NOON)
    never = replace(LAST, outcome=FAILED, ok_at=None)
    assert [is_overdue(hourly, replace(never, failures=n), NOON) for n in (1, 2)] == [False, True]

"""Each alert is told of once, and once when it has ended."""

from __future__ import annotations

from mirrornode.mirror.alerts_rules import Finding
from mirrornode.mirror.alerts_state import FIRED, RECOVERED, AlertBook, Notice
from mirrornode.store.alert_records import Alert

DISK = Finding("disk", "", "critical", "91 % full")
SLOW = Finding("slow", "a", "warning", "a is slow")
FULL = Alert("disk", "", "critical", "91 % full", 100.0)


def events(notices: list[Notice]) -> list[tuple[str, str]]:
    return [(notice.event, notice.alert.rule) for notice in notices]


def test_take_when_it_lasts_then_told_once_and_the_text_is_the_latest() -> None:
    book = AlertBook()
    assert book.take([DISK], 100.0, 60.0) == [Notice(FIRED, FULL, 100.0)]
    fuller = Finding("disk", "", "critical", "95 % full")
    assert book.take([fuller], 200.0, 60.0) == []
    assert book.alerts == (Alert("disk", "", "critical", "95 % full", 100.0),)


def test_take_when_all_was_well_for_long_enough_then_the_end_is_told_once() -> None:
    book = AlertBook()
    book.take([DISK, SLOW], 100.0, 60.0)
    assert book.take([SLOW], 110.0, 60.0) == []
    assert book.take([SLOW], 169.0, 60.0) == []
    assert book.take([SLOW], 170.0, 60.0) == [Notice(RECOVERED, FULL, 170.0)]
    assert book.take([SLOW], 999.0, 60.0) == []
    assert book.names == {("slow", "a")}


def test_take_when_it_comes_and_goes_then_it_is_one_alert() -> None:
    book = AlertBook()
    told = [book.take([DISK] if at % 20 else [], float(at), 60.0) for at in range(10, 500, 10)]
    assert [events(notices) for notices in told if notices] == [[(FIRED, "disk")]]


def test_take_when_restarted_then_it_is_not_told_again() -> None:
    book = AlertBook([FULL])
    assert book.take([DISK], 500.0, 60.0) == []
    assert book.alerts == (FULL,)
    assert events(book.take([], 501.0, 0.0)) == [(RECOVERED, "disk")]


def test_take_when_the_clock_is_set_back_then_it_ends_later_and_not_never() -> None:
    book = AlertBook([FULL])
    assert book.take([], 5000.0, 60.0) == []
    assert book.take([], 100.0, 60.0) == []
    assert events(book.take([], 5060.0, 60.0)) == [(RECOVERED, "disk")]


def test_alerts_are_the_oldest_first() -> None:
    book = AlertBook()
    book.take([SLOW], 1.0, 0.0)
    book.take([DISK, SLOW], 2.0, 0.0)
    assert [alert.rule for alert in book.alerts] == ["slow", "disk"]

"""When the rules of alerts find something wrong, and of whom they say it."""

from __future__ import annotations

import dataclasses

import pytest

from mirrornode.config_alerts import AlertsConfig
from mirrornode.mirror.alerts_rules import (
    ANNOUNCE,
    DISK,
    FAILING,
    ORIGIN,
    SLOW,
    WRONG,
    Backlog,
    Facts,
    Finding,
    find_all,
    find_faults,
    is_slow,
)
from mirrornode.sources.origins import OriginState
from mirrornode.store.alert_records import ASIDE, BACK, TRIAL
from mirrornode.store.history import DAY_S
from mirrornode.store.history_records import HistoryTotals
from mirrornode.store.records import MirrorUse
from support.alert_facts import NOW, download, facts, server, standing, use

SETTINGS = AlertsConfig()


def found(what: Facts, settings: AlertsConfig = SETTINGS) -> list[tuple[str, str]]:
    faults = find_faults(what, settings, {})
    return [(one.rule, one.key) for one in find_all(what, settings, faults, {})]


def text_of(what: Facts, rule: str) -> str:
    (finding,) = [one for one in find_all(what, SETTINGS, {}, {}) if one.rule == rule]
    return finding.text


# Three downloads in a row below 1 MB/s


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ((0.5, 0.9, 0.1), True),
        ((0.5, 0.9), False),
        ((0.5, 1.0, 0.1), False),
        ((0.5, 0.9, 0.1, 50.0), True),
        ((50.0, 0.5, 0.9, 0.1), False),
    ],
)
def test_slow_when_the_last_three_downloads_were(rates: tuple[float, ...], expected: bool) -> None:
    assert is_slow(facts(downloads=rates), SETTINGS) is expected
    assert found(facts(downloads=rates)) == ([(SLOW, "")] if expected else [])


def test_slow_when_short_small_cancelled_or_empty_ones_lie_between_then_they_do_not_count() -> None:
    others = [
        download(0.5, seconds=1.0),
        download(0.01),
        download(0.5, outcome="cancelled"),
        download(None, outcome="failed"),
    ]
    slow = [download(0.5)] * 3
    what = Facts(NOW, downloads=[*others, *slow])
    assert is_slow(what, SETTINGS)
    assert not is_slow(Facts(NOW, downloads=[*others, *slow[1:]]), SETTINGS)
    assert is_slow(Facts(NOW, downloads=[download(9.0, seconds=0.1), *slow]), SETTINGS) is False


def test_slow_when_switched_off_then_nothing() -> None:
    off = AlertsConfig(slow_downloads=0)
    what = facts(server("a", 0.1, 0.1, 0.1), server("b", 9.0), downloads=(0.1, 0.1, 0.1))
    assert found(what, off) == []


def test_mirror_when_slow_and_another_is_not_then_it_is_at_fault_and_the_node_is_not() -> None:
    what = facts(server("a", 0.2, 0.3, 0.1), server("b", 5.0, 4.0), downloads=(0.5, 0.5, 0.5))
    assert found(what) == [(SLOW, "a")]


@pytest.mark.parametrize("rates", [(0.2, 3.0, 0.1, 0.1), (0.2, 0.1)], ids=["one good", "only two"])
def test_mirror_when_not_slow_three_times_in_a_row_then_no_fault(rates: tuple[float, ...]) -> None:
    assert find_faults(facts(server("a", *rates), server("b", 5.0)), SETTINGS, {}) == {}


def test_mirror_when_it_failed_or_brought_nothing_then_that_counts_as_slow() -> None:
    idle = use(0.0, 30.0)
    failing = dataclasses.replace(server("a", None, 0.1), uses=[*server("a", None, 0.1).uses, idle])
    assert list(find_faults(facts(failing, server("b", 5.0)), SETTINGS, {})) == ["a"]


def test_mirrors_when_all_are_slow_then_it_is_the_line_and_the_node_is_told_of() -> None:
    servers = server("a", 0.3, 0.3, 0.3), server("b", 0.4, 0.4, 0.4), server("c", 0.5, 0.5, 0.5)
    assert found(facts(*servers, downloads=(0.9, 0.9, 0.9))) == [(SLOW, "")]
    assert found(facts(*servers, downloads=(1.2, 1.2, 1.2))) == []


def test_mirror_when_slow_and_another_was_never_used_then_that_may_be_better() -> None:
    servers = server("a", 0.3, 0.3, 0.3), server("b")
    assert found(facts(*servers, downloads=(0.3, 0.3, 0.3))) == [(SLOW, "a")]
    assert found(facts(*servers, downloads=(9.0, 9.0, 9.0))) == []  # peers bring it anyway


def test_mirror_when_slow_and_only_an_origin_is_fast_then_none_can_stand_in() -> None:
    servers = server("a", 0.3, 0.3, 0.3), server("hub:o", 9.0, kind="origin")
    assert find_faults(facts(*servers), SETTINGS, {}) == {}


def test_mirror_when_its_bad_uses_are_a_day_old_or_before_it_came_back_then_no_fault() -> None:
    slow, good = server("a", 0.1, 0.1, 0.1), server("b", 5.0)
    later = facts(slow, good, now=NOW + DAY_S + 60)
    assert find_faults(later, SETTINGS, {}) == {}
    back = {"a": standing("a", BACK, age_s=5.0)}
    assert find_faults(facts(slow, good), SETTINGS, back) == {}
    assert list(find_faults(facts(slow, good), SETTINGS, {"a": standing("a", BACK, 900)})) == ["a"]


# More than a fifth of a day's downloads failed


@pytest.mark.parametrize(
    ("failed", "total", "expected"),
    [(1, 4, False), (1, 5, False), (2, 5, True), (2, 10, False), (3, 10, True), (9, 50, False)],
)
def test_mirror_when_more_than_a_fifth_of_its_uses_failed_then_at_fault(
    failed: int, total: int, expected: bool
) -> None:
    uses = [use(9.0, 9000.0, outcome="failed")] * failed + [use(9.0, 9999.0)] * (total - failed)
    uses.insert(0, use(9.0))  # the last one was good: it is no streak
    bad = dataclasses.replace(server("a"), uses=[*uses[:1], *uses[2:], uses[1]])
    assert bool(find_faults(facts(bad, server("b", 9.0)), SETTINGS, {})) is expected


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ({"ok": 3, "failed": 1}, False),
        ({"ok": 4, "failed": 1}, False),
        ({"ok": 3, "failed": 1, "partial": 1}, True),
        ({"ok": 8, "failed": 2, "cancelled": 50}, False),
        ({"failed": 5}, True),
        ({"cancelled": 9}, False),
    ],
)
def test_node_when_more_than_a_fifth_of_a_days_downloads_failed(
    outcomes: dict[str, int], expected: bool
) -> None:
    what = Facts(NOW, day=HistoryTotals(outcomes))
    assert found(what) == ([(FAILING, "")] if expected else [])


def test_node_when_failing_alert_stands_then_it_ends_a_little_below_its_mark() -> None:
    what = Facts(NOW, day=HistoryTotals({"ok": 82, "failed": 18}))
    assert find_all(what, SETTINGS, {}, {}) == []
    assert len(find_all(what, SETTINGS, {}, {}, {(FAILING, "")})) == 1
    calm = Facts(NOW, day=HistoryTotals({"ok": 85, "failed": 15}))
    assert find_all(calm, SETTINGS, {}, {}, {(FAILING, "")}) == []


@pytest.mark.parametrize(("state", "word"), [(ASIDE, "put aside"), (TRIAL, "on trial")])
def test_server_that_was_put_aside_is_told_of_until_it_is_back(state: str, word: str) -> None:
    what = facts(server("a", 9.0), server("b", 9.0), downloads=(0.1, 0.1, 0.1))
    (finding,) = find_all(what, SETTINGS, {}, {"a": standing("a", state)})
    assert (finding.rule, finding.key) == (SLOW, "a")
    assert word in finding.text
    back = {"a": standing("a", BACK)}
    assert [one.key for one in find_all(what, SETTINGS, {}, back)] == [""]


# Disk, origins, wrong bytes, announcements


@pytest.mark.parametrize(
    ("used", "active", "expected"),
    [(0.9, False, False), (0.91, False, True), (0.89, True, True), (0.87, True, False)],
)
def test_disk_when_more_than_nine_tenths_are_used(
    used: float, active: bool, expected: bool
) -> None:
    what = Facts(NOW, disk_used=used)
    stands = {(DISK, "")} if active else set()
    assert bool(find_all(what, SETTINGS, {}, {}, stands)) is expected
    assert found(Facts(NOW, disk_used=used), AlertsConfig(disk_used=1.0)) == []


def test_origin_when_it_did_not_answer_three_times_then_named_with_the_reason() -> None:
    what = Facts(
        NOW,
        origins=[
            OriginState("hub:a", 2, "no"),
            OriginState("hub:b", 3, "refuses\x1b[2J connections"),
            OriginState("hub:c", 0, ""),
        ],
    )
    assert found(what) == [(ORIGIN, "hub:b")]
    assert text_of(what, ORIGIN) == "origin hub:b cannot be reached: refuses [2J connections"
    assert found(what, AlertsConfig(origin_failures=0)) == []


def test_wrong_bytes_when_a_source_sent_some_then_each_is_named() -> None:
    what = Facts(NOW, wrong=[("peer:x", "peer", NOW), ("", "http", NOW), ("", "http", NOW - 9)])
    assert found(what) == [(WRONG, "peer:x"), (WRONG, "http")]
    assert found(what, AlertsConfig(wrong_bytes=False)) == []


def test_wrong_bytes_when_the_history_is_not_kept_then_from_the_record_of_mirrors() -> None:
    bad = dataclasses.replace(server("a"), uses=[use(1.0, 60.0, outcome="wrong")])
    assert found(facts(bad)) == [(WRONG, "a")]
    assert found(facts(bad, now=NOW + DAY_S)) == []


def backlog(*waiting: int, total: int = 100, step_s: float = 1200.0) -> Facts:
    first = NOW - step_s * (len(waiting) - 1)
    return Facts(
        NOW,
        backlog=[
            Backlog(first + step_s * index, count, total) for index, count in enumerate(waiting)
        ],
    )


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        ((20, 30, 25, 40), True),
        ((20, 20, 20, 20), True),
        ((40, 30, 25, 20), False),  # it shrinks
        ((20, 30, 5, 40), False),  # it was nearly done
        ((20, 30, 40), False),  # not for an hour
        ((9, 9, 9, 9), False),  # hardly any
    ],
)
def test_announcements_when_many_wait_for_an_hour_and_do_not_become_less(
    waiting: tuple[int, ...], expected: bool
) -> None:
    assert found(backlog(*waiting)) == ([(ANNOUNCE, "")] if expected else [])


def test_announcements_when_the_last_samples_are_old_or_it_is_off_then_nothing() -> None:
    assert found(backlog(20, 20, 20, 20), AlertsConfig(announce_share=1.0)) == []
    what = backlog(20, 20, 20, 20)
    assert found(dataclasses.replace(what, now=NOW + 20_000)) == []


def test_find_all_when_nothing_is_known_then_nothing_is_wrong() -> None:
    assert find_all(Facts(NOW), SETTINGS, {}, {}) == []


def test_find_all_when_a_fault_is_not_switched_then_it_is_told_of() -> None:
    fault = Finding(FAILING, "a", "warning", "mirror a failed")
    what = Facts(NOW, servers=[server("a")], day=HistoryTotals({"failed": 9}))
    assert find_all(what, SETTINGS, {"a": fault}, {}) == [fault]  # and not of the node as well


def test_use_when_its_time_was_not_measured_then_no_division_by_zero() -> None:
    odd = dataclasses.replace(server("a"), uses=[MirrorUse("", NOW, 5, 0.0, None, "ok")] * 3)
    assert find_faults(facts(odd, server("b", 5.0)), SETTINGS, {}) == {}

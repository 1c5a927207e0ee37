"""Who is put aside, how long it rests, and how it comes back."""

from __future__ import annotations

import dataclasses

import pytest

from mirrornode.config_alerts import AlertsConfig
from mirrornode.mirror.alerts_rules import Finding, Server
from mirrornode.mirror.alerts_switch import (
    LONGEST_RESTS,
    SOON_S,
    after_knock,
    due_for_trial,
    next_standings,
)
from mirrornode.store.alert_records import ASIDE, BACK, TRIAL, Standing
from mirrornode.store.history import DAY_S
from support.alert_facts import NOW, facts, server, standing, use

SETTINGS = AlertsConfig()


def fault(name: str) -> Finding:
    return Finding("slow", name, "warning", f"mirror {name} is slow")


def after(
    standings: dict[str, Standing], faults: str, *servers: Server, now: float = NOW
) -> dict[str, str]:
    """Return the states of `next_standings`; `faults` are names of one letter."""
    found = next_standings(
        standings, {name: fault(name) for name in faults}, facts(*servers, now=now), SETTINGS
    )
    return {name: one.state for name, one in found.items()}


def test_fault_when_another_is_in_use_then_put_aside() -> None:
    found = next_standings({}, {"a": fault("a")}, facts(server("a"), server("b")), SETTINGS)
    assert found == {"a": Standing("a", ASIDE, "slow", "mirror a is slow", NOW, 0)}


def test_fault_when_there_is_no_other_then_it_stays() -> None:
    assert after({}, "a", server("a")) == {}
    assert after({}, "a", server("a"), server("o", kind="origin")) == {}
    assert after({}, "ab", server("a"), server("b")) == {}
    aside = {"b": standing("b", ASIDE)}
    assert after(aside, "a", server("a"), server("b")) == {"b": ASIDE}
    assert after({"b": standing("b", TRIAL)}, "a", server("a"), server("b")) == {"b": TRIAL}


def test_faults_when_a_third_is_in_use_then_both_are_put_aside() -> None:
    assert after({}, "ab", server("a"), server("b"), server("c")) == {"a": ASIDE, "b": ASIDE}


def test_fault_when_switching_is_off_then_nothing_and_who_was_aside_is_back() -> None:
    off = AlertsConfig(switch=False)
    what = facts(server("a"), server("b"), server("c"))
    found = next_standings({"c": standing("c", ASIDE, 60)}, {"a": fault("a")}, what, off)
    assert [(one.server, one.state) for one in found.values()] == [("c", BACK)]


def test_server_when_no_longer_configured_then_forgotten() -> None:
    assert after({"x": standing("x", ASIDE)}, "", server("a"), server("b")) == {}


@pytest.mark.parametrize("rests", [0, 1, 2, 9])
def test_rest_when_it_is_over_then_due_and_longer_each_time(rests: int) -> None:
    rest_s = SETTINGS.rest_s * min(2**rests, LONGEST_RESTS)
    what = facts(server("a"), server("b"))
    for age_s, is_due in ((rest_s - 1, False), (rest_s, True)):
        aside = {"a": standing("a", ASIDE, age_s, rests)}
        assert due_for_trial(aside, {}, what, SETTINGS) == (["a"] if is_due else [])


def test_rest_when_all_others_are_at_fault_then_due_soon() -> None:
    what, faults = facts(server("a"), server("b")), {"b": fault("b")}
    aside = {"a": standing("a", ASIDE, SOON_S)}
    assert due_for_trial(aside, {}, what, SETTINGS) == []
    assert due_for_trial(aside, faults, what, SETTINGS) == ["a"]
    assert due_for_trial({"a": standing("a", ASIDE)}, faults, what, SETTINGS) == []


def test_rest_when_the_clock_was_set_back_then_due() -> None:
    aside = {"a": standing("a", ASIDE, age_s=-5000.0)}
    assert due_for_trial(aside, {}, facts(server("a"), server("b")), SETTINGS) == ["a"]


def test_knock_when_answered_then_on_trial_else_a_longer_rest() -> None:
    aside = standing("a", ASIDE, 300, rests=1)
    assert after_knock(aside, NOW, answers=True) == standing("a", TRIAL, rests=1)
    assert after_knock(aside, NOW, answers=False) == standing("a", ASIDE, rests=2)


@pytest.mark.parametrize(
    ("rates", "state"),
    [
        ((), TRIAL),
        ((9.0,), TRIAL),
        ((9.0, 9.0), BACK),
        ((None,), ASIDE),
        ((0.1,), ASIDE),
        ((9.0, None), ASIDE),
    ],
)
def test_trial_when_two_good_ones_in_a_row_then_back_and_aside_at_the_first_bad_one(
    rates: tuple[float | None, ...], state: str
) -> None:
    trial = {"a": standing("a", TRIAL, 3600)}
    assert after(trial, "", server("a", *rates), server("b", 9.0)) == {"a": state}


@pytest.mark.parametrize(
    ("rule", "age_s", "state"),
    [("slow", 600, TRIAL), ("slow", 3600, BACK), ("failing", 600, BACK)],
)
def test_trial_when_only_short_ones_come_by_then_they_count_in_the_end(
    rule: str, age_s: float, state: str
) -> None:
    short = [use(0.2, 5.0, seconds=1.0), use(0.2, 9.0, seconds=1.0)]
    trial = {"a": dataclasses.replace(standing("a", TRIAL, age_s), rule=rule)}
    assert after(trial, "", Server("a", "mirror", short), server("b", 9.0)) == {"a": state}


def test_trial_when_its_good_uses_were_before_it_then_they_prove_nothing() -> None:
    trial = {"a": standing("a", TRIAL)}
    assert after(trial, "", server("a", 9.0, 9.0), server("b", 9.0)) == {"a": TRIAL}


def test_trial_when_it_fails_again_then_its_rest_is_longer() -> None:
    trial = {"a": standing("a", TRIAL, 3600, rests=2)}
    found = next_standings(trial, {}, facts(server("a", None), server("b", 9.0)), SETTINGS)
    assert found["a"] == standing("a", ASIDE, rests=3)


def test_back_when_at_fault_again_within_a_day_then_its_rest_is_longer_else_forgotten() -> None:
    back = standing("a", BACK, 3600, rests=1)
    what = facts(server("a"), server("b"))
    assert next_standings({"a": back}, {"a": fault("a")}, what, SETTINGS)["a"].rests == 2
    old = dataclasses.replace(back, changed_at=NOW - DAY_S)
    assert next_standings({"a": old}, {}, what, SETTINGS) == {}
    assert next_standings({"a": old}, {"a": fault("a")}, what, SETTINGS)["a"].rests == 0

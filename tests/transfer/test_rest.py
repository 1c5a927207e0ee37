"""How long a source is left alone, when it is asked again, and what silent ones cost nobody."""

from __future__ import annotations

import pytest

from mirrornode.transfer.plan import Plan
from mirrornode.transfer.race import MAX_COPIES, STUCK_S
from mirrornode.transfer.score import MAX_FAILURES, MAX_REST_S, Score

EDGES = [index * 10 for index in range(11)]  # ten leaves
FILE_STOPS = [4, 10]


def test_rest_that_a_source_asked_for_is_not_cut_short_by_another_lane() -> None:
    score = Score()
    score.failed(100.0, "answered 503", 30.0)
    score.failed(100.1, "answered 503", 5.0)
    score.failed(100.2, "reset")
    assert score.blocked_until == 130.0


@pytest.mark.parametrize("asked", [1e9, float("inf")])
def test_rest_has_a_bound(asked: float) -> None:
    score = Score()
    score.failed(100.0, "answered 503", asked)
    assert score.blocked_until == 100.0 + MAX_REST_S


def plan_with_a_source_given_up(retry_after_s: float | None = None) -> Plan:
    plan = Plan(EDGES, FILE_STOPS)
    plan.add_source("fake:a")
    for number in range(MAX_FAILURES):
        run = plan.next_run("fake:a", 1, 100.0 * number)
        assert run is not None
        plan.end_run(run, 100.0 * number, failure="reset", retry_after_s=retry_after_s)
    assert plan.state("fake:a") == "failed"
    return plan


def test_source_when_revived_then_asked_once_and_given_up_again() -> None:
    plan = plan_with_a_source_given_up()
    now = 100.0 * (MAX_FAILURES - 1)
    assert plan.next_run("fake:a", 1, 9000.0) is None
    plan.revive("fake:a")
    run = plan.next_run("fake:a", 1, now)
    assert run is not None
    plan.end_run(run, now, failure="reset")
    assert plan.state("fake:a") == "failed"


def test_source_when_revived_and_it_delivers_then_it_is_as_good_as_new() -> None:
    plan = plan_with_a_source_given_up()
    plan.revive("fake:a")
    run = plan.next_run("fake:a", 1, 900.0)
    assert run is not None
    plan.leaf_arrived(run, 901.0)
    plan.end_run(run, 901.0, failure="reset")
    assert plan.state("fake:a") == "idle"


def test_source_when_revived_then_the_rest_it_asked_for_still_holds() -> None:
    plan = plan_with_a_source_given_up(retry_after_s=30.0)
    now = 100.0 * (MAX_FAILURES - 1)
    plan.revive("fake:a")
    assert plan.next_run("fake:a", 1, now + 29.0) is None
    assert plan.next_run("fake:a", 1, now + 31.0) is not None


@pytest.mark.parametrize(("whole_file", "left"), [(True, {4, 5, 6, 7, 8, 9}), (False, {0, 1})])
def test_source_when_it_lacks_a_file_then_not_asked_for_the_rest_of_it(
    whole_file: bool, left: set[int]
) -> None:
    plan = Plan(EDGES, FILE_STOPS)
    plan.add_source("fake:a", cursor=2)
    run = plan.next_run("fake:a", 1, 1.0)
    assert run is not None
    assert run.pos == 2
    run.stop = 4
    plan.lacks(run, "answered 404", whole_file=whole_file)
    plan.end_run(run, 1.0)
    assert plan.score("fake:a").last_reason == "answered 404"
    asked: set[int] = set()
    while (run := plan.next_run("fake:a", 1, 2.0)) is not None:
        while plan.wants_more(run):
            asked.add(run.pos)
            plan.leaf_arrived(run, 2.0)
        plan.end_run(run, 2.0)
    assert asked == (left if whole_file else left | {4, 5, 6, 7, 8, 9})


def test_leaf_that_is_there_is_not_fetched_again_because_a_silent_run_still_holds_it() -> None:
    leaves = 40
    plan = Plan([index << 20 for index in range(leaves + 1)], [leaves])
    for name in ("fake:dead", "fake:dumb", "fake:mute", "fake:good"):
        plan.add_source(name)
    silent = [plan.next_run(name, name, 0.0) for name in ("fake:dead", "fake:dumb", "fake:mute")]
    assert all(silent)
    fetched: list[int] = []
    now = 0.0
    while not plan.is_complete:
        now += 1.0
        assert now < 60.0, "the good source does not come to an end"
        run = plan.next_run("fake:good", "good", now)
        if run is None:
            continue
        while plan.wants_more(run):
            fetched.append(run.pos)
            plan.leaf_arrived(run, now)
        plan.end_run(run, now)
    assert sorted(fetched) == list(range(leaves))


def test_leaf_when_all_its_copies_are_silent_then_one_more_is_allowed() -> None:
    plan = Plan([0, 10], [1])
    for number in range(MAX_COPIES + 1):
        plan.add_source(f"fake:{number}")
    for number in range(MAX_COPIES):
        assert plan.next_run(f"fake:{number}", number, 10.0 * number) is not None
    late = 10.0 * MAX_COPIES + STUCK_S
    assert plan.next_run(f"fake:{MAX_COPIES}", MAX_COPIES, late) is not None

"""The planner: every rule on its own, and properties of whole transfers in virtual time."""

from __future__ import annotations

import random
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrornode.transfer.plan import Plan, Run
from mirrornode.transfer.score import MAX_FAILURES
from support.transfer_sim import SimSource, Simulation, uniform_edges

MIB = 1 << 20
MB = 1_000_000


def take(plan: Plan, source: str, lane: object, now: float = 0.0) -> Run:
    run = plan.next_run(source, lane, now)
    assert run is not None
    return run


def test_plan_gives_no_leaf_twice_and_stops_at_file_ends() -> None:
    plan = Plan(uniform_edges(10), [4, 4, 10])
    plan.add_source("a")
    runs: list[Run] = []
    for lane in range(20):
        run = plan.next_run("a", lane, 0.0)
        if run is None:
            break
        assert not run.pos < 4 < run.stop
        runs.append(run)  # a later lane may still take its tail
    seen = [leaf for run in runs for leaf in range(run.pos, run.stop)]
    assert sorted(seen) == list(range(10))


def test_plan_returns_failed_leaves_to_the_row() -> None:
    plan = Plan(uniform_edges(4), [4])
    plan.add_source("a")
    plan.add_source("b")
    run = take(plan, "a", 1)
    plan.end_run(run, 0.0, failure="reset")
    assert plan.next_run("a", 1, 0.0) is None  # it rests first
    assert take(plan, "b", 2).pos == run.pos


def test_plan_gives_up_source_after_failures_in_a_row_until_it_is_added_again() -> None:
    plan = Plan(uniform_edges(4), [4])
    plan.add_source("a")
    now = 0.0
    for _ in range(MAX_FAILURES):
        now += 100.0
        plan.end_run(take(plan, "a", 1, now), now, failure="reset")
    assert plan.state("a") == "failed"
    assert plan.next_run("a", 1, now + 1000) is None
    plan.add_source("a")
    assert take(plan, "a", 1, now + 1000)


def test_plan_never_asks_a_banned_source_again() -> None:
    plan = Plan(uniform_edges(4), [4])
    plan.add_source("a")
    plan.end_run(take(plan, "a", 1), 0.0)
    plan.ban("a", "wrong bytes")
    plan.add_source("a")
    assert plan.state("a") == "banned"
    assert plan.next_run("a", 1, 1e6) is None


def test_plan_asks_partial_source_only_for_what_it_has() -> None:
    plan = Plan(uniform_edges(8), [8])
    available = bytearray([0, 0, 1, 1, 0, 1, 0, 0])
    plan.add_source("a", available=available)
    runs: list[Run] = []
    while (run := plan.next_run("a", len(runs), 0.0)) is not None:
        runs.append(run)
    assert sorted(leaf for run in runs for leaf in range(run.pos, run.stop)) == [2, 3, 5]


def test_plan_when_source_lacks_leaves_then_others_get_them() -> None:
    plan = Plan(uniform_edges(2), [2])
    plan.add_source("a")
    run = take(plan, "a", 1)
    plan.lacks(run)
    plan.end_run(run, 0.0)
    rest = plan.next_run("a", 1, 0.0)
    assert rest is None or rest.pos != run.pos
    plan.add_source("b", cursor=run.pos)
    assert take(plan, "b", 2).pos == run.pos


def test_plan_moves_tail_when_owner_is_slow() -> None:
    plan = Plan(uniform_edges(64), [64])
    plan.add_source("slow")
    plan.add_source("fast")
    slow = take(plan, "slow", 1)
    plan.leaf_arrived(slow, 5.0)  # 1 MiB in 5 s
    now = 5.0
    while (run := plan.next_run("fast", 2, now)) is not None and run.stop > slow.stop:
        while plan.wants_more(run):
            now += 0.01
            plan.leaf_arrived(run, now)
        plan.end_run(run, now)
    before = slow.stop
    assert run is not None
    assert run.stop <= 64
    assert slow.stop <= before


def test_plan_duplicates_last_leaf_of_a_stalled_owner_once() -> None:
    plan = Plan(uniform_edges(1), [1])
    for name in ("stalled", "good", "other"):
        plan.add_source(name)
    owner = take(plan, "stalled", 1)
    assert plan.next_run("good", 2, 0.1) is None
    duplicate = take(plan, "good", 2, 60.0)
    assert duplicate.pos == owner.pos
    assert plan.next_run("other", 3, 60.0) is None
    plan.leaf_arrived(duplicate, 60.1)
    assert plan.is_complete
    plan.end_run(duplicate, 60.1)
    plan.end_run(owner, 61.0, failure="too slow")
    assert plan.is_complete


def test_plan_when_source_ignores_ranges_then_only_its_first_run_goes_on() -> None:
    plan = Plan(uniform_edges(64), [64])
    plan.add_source("web")
    first, second = take(plan, "web", 1), take(plan, "web", 2)
    assert not plan.set_sequential(second)
    plan.end_run(second, 0.0)
    assert plan.set_sequential(first)
    assert plan.next_run("web", 2, 0.0) is None
    while plan.wants_more(first) or plan.extend(first):
        plan.leaf_arrived(first, 1.0)
    assert plan.is_complete


@settings(max_examples=60, deadline=None)
@given(
    leaves=st.integers(1, 120),
    rates=st.lists(st.floats(0.5 * MB, 200 * MB), min_size=1, max_size=6),
    scripts=st.lists(
        st.sampled_from(["", "", "stall:0.5", "lie", "gone:0.3", "late:0.5", "trickle"]),
        min_size=6,
        max_size=6,
    ),
)
def test_plan_always_completes_when_one_source_is_good(
    leaves: int, rates: list[float], scripts: list[str]
) -> None:
    sources = [SimSource("good", 10 * MB)]
    sources += [
        SimSource(f"s{index}", rate, script=scripts[index]) for index, rate in enumerate(rates)
    ]
    result = Simulation(uniform_edges(leaves), sources).run()
    assert result.is_complete


def test_simulation_four_equal_sources_reach_the_ideal() -> None:
    sources = [SimSource(f"s{n}", 50 * MB) for n in range(4)]
    result = Simulation(uniform_edges(2048), sources).run()
    ideal = 2048 * MIB / (200 * MB)
    assert result.is_complete
    assert ideal / result.seconds >= 0.95
    assert result.duplicate_bytes <= 0.01 * 2048 * MIB


def test_simulation_bad_company_costs_little() -> None:
    good = [SimSource(f"s{n}", 50 * MB) for n in range(4)]
    alone = Simulation(uniform_edges(2048), good).run().seconds
    bad = [
        SimSource("stalls", 50 * MB, script="stall:0.99"),
        SimSource("trickles", 50 * MB, script="trickle"),
        SimSource("lies", 50 * MB, script="lie"),
    ]
    result = Simulation(uniform_edges(2048), [*good, *bad]).run()
    assert result.is_complete
    assert result.seconds <= 1.1 * alone


def test_simulation_many_sources_a_third_faulty_stays_near_the_ideal() -> None:
    efficiencies = []
    for seed in range(10):
        rng = random.Random(seed)
        sources = []
        for number in range(200):
            script = ""
            if number % 3 == 0:
                script = rng.choice(["stall:0.3", "trickle", "lie", "gone:1.0", "stall:0.9"])
            sources.append(
                SimSource(f"s{number}", rng.uniform(1, 20) * MB, rng.uniform(0.001, 0.1), 1, script)
            )
        leaves = 16_384
        ideal = leaves * MIB / sum(s.rate for s in sources if not s.script)
        result = Simulation(uniform_edges(leaves), sources).run()
        assert result.is_complete
        efficiencies.append(ideal / result.seconds)
    assert median(efficiencies) >= 0.9, efficiencies


@pytest.mark.parametrize("leaves", [1, 2, 7])
def test_plan_when_done_is_given_then_only_the_rest_is_asked(leaves: int) -> None:
    done = bytearray(leaves)
    done[0] = 1
    plan = Plan(uniform_edges(leaves), [leaves], done)
    plan.add_source("a")
    assert plan.left == leaves - 1
    run = plan.next_run("a", 1, 0.0)
    assert run is None if leaves == 1 else run is not None and run.pos >= 1

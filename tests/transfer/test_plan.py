"""The planner: every rule on its own, and properties of whole transfers in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrornode.transfer.plan import Plan
from mirrornode.transfer.run import Run
from mirrornode.transfer.score import MAX_FAILURES
from support.transfer_sim import FAULTS, SimSource, Simulation, uniform_edges

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


@settings(max_examples=80, deadline=None)
@given(
    leaves=st.integers(1, 120),
    rates=st.lists(st.floats(0.5 * MB, 200 * MB), min_size=1, max_size=6),
    scripts=st.lists(st.sampled_from(["", "", *FAULTS]), min_size=6, max_size=6),
    partial=st.sampled_from([None, (0.0, 0.5), (0.3, 0.9)]),
    latency_s=st.floats(0.0, 0.3),
    in_order=st.booleans(),
)
def test_plan_always_completes_when_one_source_is_good(
    leaves: int,
    rates: list[float],
    scripts: list[str],
    partial: tuple[float, float] | None,
    latency_s: float,
    in_order: bool,
) -> None:
    sources = [SimSource("good", 10 * MB, latency_s, lanes=4)]
    sources += [
        SimSource(f"s{index}", rate, script=scripts[index], parts=None if index % 2 else partial)
        for index, rate in enumerate(rates)
    ]
    result = Simulation(uniform_edges(leaves), sources, in_order=in_order).run()
    assert result.is_complete
    assert sum(result.by_source.values()) == leaves * MIB
    # The good one alone would have needed so long, and a little for waiting and starting.
    assert result.seconds <= 1.5 * leaves * MIB / (10 * MB) + 4 * latency_s + 2.0


@pytest.mark.parametrize("leaves", [1, 2, 7])
def test_plan_when_done_is_given_then_only_the_rest_is_asked(leaves: int) -> None:
    done = bytearray(leaves)
    done[0] = 1
    plan = Plan(uniform_edges(leaves), [leaves], done)
    plan.add_source("a")
    assert plan.left == leaves - 1
    run = plan.next_run("a", 1, 0.0)
    assert run is None if leaves == 1 else run is not None and run.pos >= 1


def work(plan: Plan, run: Run, now: float, leaf_s: float) -> float:
    """Bring a whole run, each leaf after `leaf_s`; return when it ended."""
    while plan.wants_more(run):
        now += leaf_s
        plan.leaf_arrived(run, now)
    plan.end_run(run, now)
    return now


def test_plan_asks_far_source_for_longer_runs() -> None:
    sizes = {}
    for name, latency_s in (("near", 0.001), ("far", 0.2)):
        plan = Plan(uniform_edges(4096), [4096])
        plan.add_source(name)
        first = take(plan, name, 1)
        plan.answered(first, latency_s)
        now = work(plan, first, latency_s, 0.1)
        run = take(plan, name, 1, now)
        sizes[name] = run.stop - run.pos
    assert sizes["near"] == 4  # 0.4 s at ten leaves a second
    assert sizes["far"] >= 10 * sizes["near"]


def test_plan_when_run_stalls_then_all_of_it_goes_to_others_before_any_timeout() -> None:
    plan = Plan(uniform_edges(1000), [1000])
    plan.add_source("stalls")
    plan.add_source("good", cursor=500)
    stalled = take(plan, "stalls", 1)
    expected = set(range(stalled.pos, stalled.stop))
    now = 0.0
    seen: set[int] = set()
    while now < 3.0:
        run = take(plan, "good", 2, now)
        seen |= set(range(run.pos, run.stop))
        now = work(plan, run, now, 0.01)
    assert stalled.is_late
    assert stalled.stop == stalled.pos + 1
    plan.set_available("good", bytearray(leaf in expected for leaf in range(1000)))
    run = take(plan, "good", 2, now)
    assert set(range(run.pos, run.stop)) <= expected


def test_plan_when_a_late_leaf_arrives_at_last_then_nobody_is_asked_for_it_again() -> None:
    plan = Plan(uniform_edges(100), [100])
    plan.add_source("late")
    plan.add_source("good", cursor=50)
    late = take(plan, "late", 1)
    now = work(plan, take(plan, "good", 2), 1.5, 0.01)
    run = take(plan, "good", 2, now)
    assert late.is_late
    plan.leaf_arrived(late, now)
    assert not plan.wants_more(late)
    plan.end_run(late, now)
    seen = [run]
    while (more := plan.next_run("good", len(seen) + 2, now)) is not None:
        seen.append(more)
    assert all(not run.pos <= late.pos - 1 < run.stop for run in seen)


def test_plan_after_a_late_run_asks_the_source_for_less() -> None:
    plan = Plan(uniform_edges(4096), [4096])
    plan.add_source("moody")
    plan.add_source("good", cursor=2000)
    now = work(plan, take(plan, "moody", 1), 0.0, 0.01)
    now = work(plan, take(plan, "good", 2, now), now, 0.01)
    before = take(plan, "moody", 1, now)
    usual = before.stop - before.pos
    for _ in range(200):
        now = work(plan, take(plan, "good", 2, now), now, 0.01)
        if before.is_late:
            break
    assert before.is_late
    plan.end_run(before, now)
    after = take(plan, "moody", 1, now)
    assert after.stop - after.pos <= usual // 2 + 1


def test_plan_when_nothing_arrives_from_anyone_then_no_run_is_called_late() -> None:
    plan = Plan(uniform_edges(100), [100])
    plan.add_source("a")
    plan.add_source("b", cursor=50)
    runs = [take(plan, "a", 1), take(plan, "b", 2)]
    plan.next_run("a", 3, 30.0)
    assert not any(run.is_late for run in runs)


def test_plan_asks_the_whole_source_first_for_what_partial_ones_lack() -> None:
    plan = Plan(uniform_edges(256), [256], own_id="peer:me")
    plan.add_source("seed")
    plan.add_source("peer:a", available=bytearray([1] * 200 + [0] * 56))
    plan.add_source("peer:b", available=bytearray([1] * 100 + [0] * 156))
    seed = take(plan, "seed", 1)
    assert seed.pos >= 200
    partial = take(plan, "peer:a", 2)
    assert 100 <= partial.pos < 200


def test_plan_when_first_leaf_is_empty_then_the_source_goes_on() -> None:
    plan = Plan([0, 0, MIB, 2 * MIB], [1, 3])
    plan.add_source("a")
    run = take(plan, "a", 1)
    assert (run.pos, run.stop) == (0, 1)
    plan.leaf_arrived(run, 0.1)
    plan.end_run(run, 0.1)
    assert take(plan, "a", 1, 0.5).pos == 1


def test_plan_when_told_to_wait_then_lanes_are_halved_and_the_source_rests() -> None:
    plan = Plan(uniform_edges(100), [100])
    plan.add_source("a", max_lanes=16)
    run = take(plan, "a", 1)
    take(plan, "a", 2)
    plan.end_run(run, 0.0, failure="429", retry_after_s=5.0)
    assert plan.next_run("a", 1, 4.9) is None
    assert plan.wanted_lanes("a", 0.0) == 1
    assert not plan.keeps_lane("a", 1)
    assert plan.keeps_lane("a", 2)
    assert take(plan, "a", 2, 5.1)


def test_plan_when_some_connections_are_turned_away_then_as_many_lanes_as_are_served() -> None:
    plan = Plan(uniform_edges(1000), [1000])
    plan.add_source("far", max_lanes=16)
    plan.score("far").crossed(0.05)
    assert plan.wanted_lanes("far", 0.0) == 16
    runs = [take(plan, "far", lane) for lane in range(16)]
    for run in runs[:10]:
        plan.answered(run, 0.1)
    for run in runs[10:]:
        plan.end_run(run, 0.2, failure="closed the connection without an answer")
    assert plan.wanted_lanes("far", 0.3) == 10
    assert plan.score("far").failures == 0
    assert sum(plan.keeps_lane("far", lane) for lane in range(16)) == 10
    plan.end_run(runs[0], 9.0, failure="fell silent")  # no refusal
    late = take(plan, "far", 0, 10.0)
    plan.end_run(late, 18.0, failure="did not accept a connection in time")
    assert plan.wanted_lanes("far", 18.0) == 10


def test_plan_with_many_sources_begins_with_one_lane_each() -> None:
    plan = Plan(uniform_edges(1000), [1000])
    for number in range(100):
        plan.add_source(f"s{number}", max_lanes=16)
    assert plan.wanted_lanes("s0", 0.0) == 2
    assert plan.wanted_lanes("s99", 0.0) == 1


def test_plan_gives_far_sources_many_lanes_at_once_all_together() -> None:
    plan = Plan(uniform_edges(1000), [1000])
    for name in ("near", "far", "farther", "unknown"):
        plan.add_source(name, max_lanes=16)
    plan.score("near").crossed(0.004)
    plan.score("far").crossed(0.05)
    plan.score("farther").crossed(0.2)
    wanted = [plan.wanted_lanes(name, 0.0) for name in ("near", "far", "farther", "unknown")]
    assert wanted == [2, 16, 3, 1]


def test_plan_takes_a_source_for_far_by_its_latency_where_no_round_trip_is_known() -> None:
    plan = Plan(uniform_edges(1000), [1000])
    plan.add_source("proxied", max_lanes=16)
    run = take(plan, "proxied", 1)
    plan.answered(run, 0.3)
    assert plan.wanted_lanes("proxied", 0.3) == 16


@pytest.mark.parametrize(("leaves", "in_order", "wanted"), [(40, False, 12), (1000, True, 6)])
def test_plan_gives_a_far_source_fewer_lanes_for_little_work_or_a_reader(
    leaves: int, in_order: bool, wanted: int
) -> None:
    plan = Plan(uniform_edges(leaves), [leaves], in_order=in_order)
    plan.add_source("far", max_lanes=16)
    plan.score("far").crossed(0.05)
    assert plan.wanted_lanes("far", 0.0) == wanted


@pytest.mark.parametrize(("rtt_s", "tail"), [(0.001, []), (0.1, [(1, 3), (0, 1)])])
def test_plan_shares_the_run_of_a_slow_lane_among_those_of_a_far_source_only(
    rtt_s: float, tail: list[tuple[int, int]]
) -> None:
    plan = Plan(uniform_edges(64), [64])
    plan.add_source("a", max_lanes=2)
    plan.score("a").crossed(rtt_s)
    slow, now = take(plan, "a", "slow"), 0.0
    runs = []
    while (run := plan.next_run("a", "quick", now)) is not None:
        runs.append((run.pos, run.stop))
        while plan.wants_more(run):
            now += 0.001
            plan.leaf_arrived(run, now)
        plan.end_run(run, now)
    assert now < slow.slow_at
    assert runs == [(3, 6), (6, 64), *tail]
    assert slow.stop == (tail[0][0] if tail else 3)


def test_plan_when_source_ignores_ranges_then_wants_one_lane() -> None:
    plan = Plan(uniform_edges(64), [64])
    plan.add_source("web", max_lanes=16)
    first, _ = take(plan, "web", 1), take(plan, "web", 2)
    plan.set_sequential(first)
    assert plan.wanted_lanes("web", 0.0) == 1
    assert not plan.keeps_lane("web", 2)
    assert plan.keeps_lane("web", 1)


def test_plan_when_source_is_given_up_then_its_lanes_end_until_it_is_back() -> None:
    plan = Plan(uniform_edges(4), [4])
    plan.add_source("a")
    for step in range(MAX_FAILURES):
        plan.end_run(take(plan, "a", 1, 100.0 * step), 100.0 * step, failure="reset")
    assert not plan.keeps_lane("a", 1)
    assert plan.wanted_lanes("a", 900.0) == 0
    plan.add_source("a")
    assert plan.wanted_lanes("a", 900.0) == 2
    assert plan.keeps_lane("a", 1)


def test_plan_in_order_gives_the_earliest_leaf_whoever_asks() -> None:
    plan = Plan(uniform_edges(1000), [1000], in_order=True, own_id="peer:me")
    plan.add_source("seed", cursor=700)
    plan.add_source("peer:a", available=bytearray([0, 0] + [1] * 998), cursor=300)
    runs = [take(plan, "seed", 1), take(plan, "peer:a", 2), take(plan, "seed", 3)]
    assert runs[0].pos == 0
    assert runs[1].pos == max(2, runs[0].stop)
    assert min(run.pos for run in runs[1:]) == runs[0].stop


def test_plan_in_order_races_a_slow_owner_of_the_first_leaf_before_new_work() -> None:
    plan = Plan(uniform_edges(1000), [1000], in_order=True)
    plan.add_source("slow")
    plan.add_source("fast")
    slow = take(plan, "slow", 1)
    now = work(plan, take(plan, "fast", 2), 0.0, 0.01)
    while now < 0.5:
        run = take(plan, "fast", 2, now)
        if run.pos == slow.pos:
            break
        now = work(plan, run, now, 0.01)
    assert run.pos == 0
    assert now < 0.5


def test_plan_in_order_leaves_the_first_leaf_to_another_lane_of_its_source_for_a_while() -> None:
    plan = Plan(uniform_edges(1000), [1000], in_order=True)
    plan.add_source("origin")
    first = take(plan, "origin", 1)
    now, positions = 0.0, []
    while now <= first.slow_at:
        run = take(plan, "origin", 2, now)
        positions.append((now < first.slow_at, run.pos == first.pos))
        now = work(plan, run, now, 0.01)
    run = take(plan, "origin", 2, now)
    # Both share one line: what the server has sent to the first already would come twice.
    assert (True, True) not in positions
    assert run.pos == first.pos

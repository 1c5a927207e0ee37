"""The number of lanes by trial, in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

from mirrornode.transfer.lanes import HALVING_S, HOLD_S, REVIEW_S, LaneTrials

MB = 1_000_000
LEAF = 1_000_000


def drive(
    trials: LaneTrials,
    rate_of: Callable[[int, float], float],
    seconds: float,
    *,
    start: float = 0.0,
    room: int = 64,
    noise: float = 0.0,
) -> list[int]:
    """Let leaves arrive at a rate that depends on lanes and time; return lanes every 0.2 s."""
    rng = random.Random(7)
    seen, owed, now = [], 0.0, start
    while now < start + seconds:
        owed += rate_of(trials.wanted, now) * 0.2 * (1 + rng.uniform(-noise, noise))
        while owed >= LEAF:
            owed -= LEAF
            trials.arrived(LEAF)
        now += 0.2
        seen.append(trials.look(now, trials.wanted, room))
    return seen


def test_lanes_when_each_brings_more_then_they_grow_to_the_bound() -> None:
    seen = drive(LaneTrials(16), lambda lanes, now: lanes * 5 * MB, 10.0, noise=0.1)
    assert seen[0] == 2
    assert seen[-1] == 16


def test_lanes_when_more_bring_nothing_then_they_shrink_back_and_wait() -> None:
    seen = drive(LaneTrials(4), lambda lanes, now: 100 * MB, HOLD_S, noise=0.1)
    assert max(seen) == 4
    assert seen[-1] == 2
    assert sum(before != after for before, after in pairwise(seen)) == 2


def test_lanes_when_a_few_more_help_then_the_number_between_is_found() -> None:
    seen = drive(LaneTrials(16), lambda lanes, now: min(50, 10 * lanes) * MB, 12.0)
    assert 5 <= seen[-1] <= 6


def test_lanes_do_not_swing_when_the_rate_is_noisy() -> None:
    seen = drive(LaneTrials(16), lambda lanes, now: 60 * MB, 300.0, noise=0.15)
    changes = sum(before != after for before, after in pairwise(seen))
    assert changes <= 20
    assert seen.count(2) > 0.9 * len(seen)


def test_lanes_when_the_server_grows_narrow_then_lanes_that_bring_nothing_go() -> None:
    trials = LaneTrials(16)
    drive(trials, lambda lanes, now: lanes * 5 * MB, 10.0)
    assert trials.wanted == 16
    seen = drive(trials, lambda lanes, now: 20 * MB, 6 * REVIEW_S, start=10.0)
    assert seen[-1] <= 8


def test_lanes_when_there_is_no_room_then_none_are_tried() -> None:
    assert set(drive(LaneTrials(16), lambda lanes, now: lanes * MB, 20.0, room=0)) == {2}
    seen = drive(LaneTrials(16), lambda lanes, now: lanes * 9 * MB, 20.0, room=1)
    assert all(after - before <= 1 for before, after in pairwise(seen))


def test_lanes_when_some_starve_then_nothing_is_concluded() -> None:
    trials = LaneTrials(16)
    for step in range(100):
        trials.arrived(LEAF)
        trials.starved()
        assert trials.look(step * 0.2, trials.wanted, 64) == 2


def test_lanes_when_refused_then_halved_and_no_trial_soon() -> None:
    trials = LaneTrials(16)
    drive(trials, lambda lanes, now: lanes * 5 * MB, 10.0)
    trials.refused(10.0)
    assert trials.wanted == 8
    seen = drive(trials, lambda lanes, now: lanes * 5 * MB, HOLD_S - 2, start=10.0)
    assert set(seen) == {8}


def test_lanes_when_the_source_is_far_then_many_at_once_and_only_once() -> None:
    trials = LaneTrials(16)
    trials.note_far(10)
    assert trials.wanted == 12
    trials.note_far(10)
    assert trials.wanted == 12
    trials = LaneTrials(8)
    trials.note_far(10)
    assert trials.wanted == 8
    trials = LaneTrials(8)
    trials.note_far(-3)
    assert trials.wanted == 2


def test_lanes_when_the_source_is_near_then_as_many_as_near_ones_may_have() -> None:
    trials = LaneTrials(16, near=4)
    drive(trials, lambda lanes, now: lanes * 5 * MB, 10.0)
    assert trials.wanted == 4
    trials.note_far(16)
    assert trials.wanted == 16


def test_lanes_when_a_far_source_gains_nothing_by_many_then_they_go() -> None:
    trials = LaneTrials(16)
    trials.note_far(16)
    seen = drive(trials, lambda lanes, now: 20 * MB, 8 * REVIEW_S)
    assert seen[0] == 16
    assert seen[-1] <= 6


def test_lanes_when_a_far_source_has_refused_then_no_more_at_once() -> None:
    trials = LaneTrials(16)
    trials.refused(0.0)
    trials.note_far(16)
    assert trials.wanted == 1


def test_lanes_when_many_are_refused_together_then_halved_once() -> None:
    trials = LaneTrials(16)
    trials.note_far(16)
    for step in range(8):
        trials.refused(step * 0.1)
    assert trials.wanted == 8
    trials.refused(HALVING_S)
    assert trials.wanted == 4
    trials.refused(2 * HALVING_S, working=3)
    assert trials.wanted == 3


def test_lanes_never_more_than_allowed() -> None:
    for most in (0, 1, 3, 5):
        seen = drive(LaneTrials(most), lambda lanes, now: lanes * 5 * MB, 20.0)
        assert max(seen) == max(1, most)

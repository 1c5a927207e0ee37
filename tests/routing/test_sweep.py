"""The plan of a sweep: regions, their moments, and what goes together."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from mirrornode.routing.kad.keys import KEY_BITS
from mirrornode.routing.sweep import SweepPlan

DAY_S = 22 * 3600.0
NOW = 1_700_000_000.0


def _places(count: int, seed: int = 1) -> list[int]:
    rng = random.Random(seed)
    return [rng.getrandbits(KEY_BITS) for _ in range(count)]


@pytest.mark.parametrize(
    ("servers", "regions"),
    [(0, 1), (1, 1), (5, 1), (79, 1), (80, 2), (10_000, 128), (20_000, 256), (10**12, 1 << 20)],
)
def test_regions_have_some_40_servers_or_more(servers: int, regions: int) -> None:
    assert SweepPlan(servers, DAY_S).regions == regions


def test_keys_of_a_region_are_due_at_one_moment_of_each_interval() -> None:
    plan = SweepPlan(10_000, DAY_S, offset=0.3)
    moments: dict[int, set[float]] = {}
    for place in _places(3000):
        at = plan.next_at(place, NOW)
        moments.setdefault(plan.region_of(place), set()).add(round(at % DAY_S, 3))
        assert NOW + DAY_S / 12 <= at <= NOW + DAY_S * 13 / 12
        assert plan.next_at(place, at + 60) == pytest.approx(at + DAY_S)
    assert len(moments) == 128
    assert all(len(times) == 1 for times in moments.values())


def test_work_is_spread_evenly_over_the_interval() -> None:
    plan = SweepPlan(10_000, DAY_S)
    watches = Counter(int(plan.next_at(place, NOW) % DAY_S // 7200) for place in _places(22_000))
    assert len(watches) == 11
    assert max(watches.values()) < 1.3 * min(watches.values())


def test_two_nodes_visit_a_region_at_different_times() -> None:
    place = _places(1)[0]
    ours, theirs = (SweepPlan(10_000, DAY_S, offset).next_at(place, NOW) for offset in (0.1, 0.6))
    assert abs(ours - theirs) % DAY_S == pytest.approx(DAY_S / 2)


@pytest.mark.parametrize(("servers", "kept"), [(5, 300), (10_000, 20)])
def test_cut_keeps_what_lies_in_the_first_regions(servers: int, kept: int) -> None:
    plan = SweepPlan(servers, DAY_S)
    places = sorted(_places(300))
    count = plan.cut(places, 8)
    assert len({plan.region_of(place) for place in places[:count]}) <= 8
    assert abs(count - kept) <= 10 if kept < 300 else count == 300

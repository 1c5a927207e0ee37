"""Whole transfers of the real plan in virtual time: how near they come to the ideal."""

from __future__ import annotations

import itertools
from statistics import median

import pytest

from support.crowd_sim import Crowd, CrowdSettings
from support.transfer_sim import (
    FAULTS,
    MB,
    MIB,
    SimResult,
    SimSource,
    Simulation,
    ideal_s,
    main,
    measure,
    uniform_edges,
)


def simulate(leaves: int, *sources: SimSource, in_order: bool = False) -> SimResult:
    result = Simulation(uniform_edges(leaves), sources, in_order=in_order).run()
    assert result.is_complete
    return result


GOOD = [SimSource(f"good{n}", 50 * MB) for n in range(4)]


def test_four_equal_sources_reach_the_ideal() -> None:
    result = simulate(2048, *GOOD)
    assert ideal_s(GOOD, 2048 * MIB) / result.seconds >= 0.95
    assert result.duplicate_bytes <= 0.01 * 2048 * MIB


@pytest.mark.parametrize("leaves", [256, 2048])
def test_bad_company_costs_little(leaves: int) -> None:
    alone = simulate(leaves, *GOOD).seconds
    bad = [
        SimSource("stalls", 50 * MB, script="stall:0.99"),
        SimSource("trickles", 50 * MB, script="trickle"),
        SimSource("lies", 50 * MB, script="lie"),
    ]
    assert simulate(leaves, *GOOD, *bad).seconds <= 1.1 * alone


def test_many_sources_a_third_faulty_stay_near_the_ideal() -> None:
    found = [measure(seed, 200, 16_384) for seed in range(8)]
    assert median(item.of_all for item in found) >= 0.9, found
    assert min(item.of_all for item in found) >= 0.85, found
    assert max(item.duplicate_share for item in found) <= 0.01, found


@pytest.mark.parametrize("fault", FAULTS)
def test_one_faulty_source_among_good_ones_costs_little(fault: str) -> None:
    sources = [*GOOD, SimSource("faulty", 50 * MB, 0.02, script=fault)]
    result = simulate(1024, *sources)
    assert ideal_s(GOOD, 1024 * MIB) / result.seconds >= 0.95
    assert result.duplicate_bytes <= 0.02 * 1024 * MIB


def test_a_source_that_comes_back_is_used_again() -> None:
    returning = SimSource("returning", 50 * MB, script="gone:2 returns:6")
    result = simulate(2048, GOOD[0], returning)
    assert result.by_source["returning"] >= 0.3 * 2048 * MIB


def test_a_lone_source_that_is_overloaded_for_a_while_still_delivers() -> None:
    result = simulate(64, SimSource("busy", 50 * MB, script="busy:5"))
    assert 5 < result.seconds < 5 + 2 + 2 * 64 * MIB / (50 * MB)


def test_a_far_mirror_gets_lanes_until_they_bring_nothing_more() -> None:
    far = SimSource("far", 100 * MB, 0.2, lanes=16, lane_rate=5 * MB)
    result = simulate(2048, far)
    assert result.most_lanes["far"] == 16
    assert result.seconds <= 1.3 * 2048 * MIB / (16 * 5 * MB)
    near = simulate(4096, SimSource("near", 110 * MB, lanes=4))
    assert near.seconds <= 1.02 * 4096 * MIB / (110 * MB)


def waits(result: SimResult) -> float:
    """Return the longest time that a reader waited for one leaf after the one before."""
    return max(after - before for before, after in itertools.pairwise([0.0, *result.head_s]))


@pytest.mark.parametrize(
    "company",
    [
        SimSource("slow", 0.5 * MB),
        SimSource("trickles", 50 * MB, script="trickle"),
        SimSource("stalls", 50 * MB, script="stall:0.3"),
        SimSource("far", 50 * MB, 0.3, lanes=16, lane_rate=4 * MB),
    ],
)
def test_a_reader_in_order_does_not_wait_for_a_slow_owner(company: SimSource) -> None:
    result = simulate(512, SimSource("fast", 50 * MB), company, in_order=True)
    assert waits(result) <= 1.0
    assert result.head_s[0] <= 0.2
    assert result.duplicate_bytes <= 0.05 * 512 * MIB


@pytest.mark.parametrize(("refresh_s", "meet_s"), [(0.5, 0.0), (1.0, 2.0), (2.0, 0.0)])
def test_eight_takers_of_one_capped_seed_are_through_soon_after_one(
    refresh_s: float, meet_s: float
) -> None:
    alone = max(Crowd(CrowdSettings(takers=1)).run().seconds)
    result = Crowd(CrowdSettings(takers=8, refresh_s=refresh_s, meet_s=meet_s)).run()
    assert max(result.seconds) <= 1.3 * alone
    assert result.seed_copies <= 1.5
    assert result.duplicate_share <= 0.05


def test_takers_that_join_later_are_helped_by_the_others() -> None:
    alone = max(Crowd(CrowdSettings(takers=1)).run().seconds)
    result = Crowd(CrowdSettings(takers=8, join_every_s=1.0)).run()
    assert max(result.seconds) <= 1.3 * alone
    assert result.seed_copies <= 1.5


def test_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--sources", "12", "--seeds", "2", "--leaves", "256"])
    assert "of all that was offered" in capsys.readouterr().out

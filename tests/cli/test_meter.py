"""The recent rate and the estimate of what is left."""

from __future__ import annotations

import pytest

from mirrornode_cli.meter import RateMeter


def test_rate_when_steady_then_exact_from_the_start() -> None:
    meter = RateMeter()
    for tenth in range(20):
        meter.sample(tenth / 10, tenth * 100)
    assert meter.rate(1.9) == pytest.approx(1000)


def test_rate_when_little_was_seen_then_unknown() -> None:
    meter = RateMeter()
    meter.sample(0.0, 0)
    meter.sample(0.1, 1000)
    assert meter.rate(0.1) is None
    assert meter.time_left(0.1, 1000) is None


def test_rate_when_nothing_was_sampled_then_unknown() -> None:
    assert RateMeter().rate(5.0) is None


def test_rate_when_it_doubles_then_follows_within_some_seconds() -> None:
    meter = RateMeter()
    done = 0
    for second in range(11):
        meter.sample(float(second), done)
        done += 100
    done -= 100
    for second in range(11, 31):
        done += 200
        meter.sample(float(second), done)
    assert meter.rate(30.0) == pytest.approx(200, rel=0.01)


def test_time_left_when_nothing_arrives_then_grows_until_unknown() -> None:
    meter = RateMeter()
    meter.sample(0.0, 0)
    meter.sample(1.0, 1000)
    soon = meter.time_left(1.0, 1000)
    later = meter.time_left(10.0, 1000)
    assert soon == pytest.approx(1.0)
    assert later is not None
    assert later > 10
    assert meter.time_left(200.0, 1000) is None


def test_sample_when_counter_or_clock_runs_back_then_ignored() -> None:
    meter = RateMeter()
    meter.sample(0.0, 1000)
    meter.sample(1.0, 500)
    meter.sample(-1.0, 5000)
    meter.sample(2.0, 3000)
    assert meter.rate(2.0) == pytest.approx(1000)

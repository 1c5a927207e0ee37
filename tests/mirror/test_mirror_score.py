"""What a mirror is worth: rate, reliability, age and weight."""

from __future__ import annotations

import pytest

from mirrornode.mirror.mirror_score import (
    HALF_LIFE_S,
    RUN_BYTES,
    MirrorScore,
    is_base,
    mirror_key,
    score_of,
)
from mirrornode.store.records import MirrorUse

NOW = 1_800_000_000.0
MB = 1_000_000


def use(
    size_bytes: int = 0,
    seconds: float = 1.0,
    *,
    outcome: str = "ok",
    age_s: float = 0.0,
    first_byte_s: float | None = None,
) -> MirrorUse:
    return MirrorUse("m", NOW - age_s, size_bytes, seconds, first_byte_s, outcome)


def worth(*uses: MirrorUse, weight: float = 1.0) -> float:
    found = score_of(uses, NOW).worth(weight)
    assert found is not None
    return found


def test_score_when_never_tried_then_unknown() -> None:
    assert score_of([], NOW) == MirrorScore()
    assert MirrorScore().worth(5.0) is None


def test_score_when_all_went_well_then_the_rate_by_bytes() -> None:
    score = score_of([use(100 * MB, 2.0), use(1 * MB, 1.0)], NOW)
    assert score.rate_bytes_per_s == pytest.approx(101 * MB / 3)
    assert score.success == 1.0
    assert score.worth(1.0) == pytest.approx(101 * MB / 3)
    assert score.worth(0.5) == pytest.approx(101 * MB / 6)
    assert score.worth(0.0) == 0


def test_score_when_slow_to_answer_then_less_for_the_same_rate() -> None:
    score = score_of([use(100 * MB, 1.0, first_byte_s=0.5), use(100 * MB, 1.0)], NOW)
    assert score.first_byte_s == 0.5
    assert score.worth(1.0) == pytest.approx(RUN_BYTES / (0.5 + RUN_BYTES / (100 * MB)))


def test_score_when_it_failed_then_less_and_less_but_never_for_ever() -> None:
    good, bad = use(10 * MB, 1.0), use(outcome="failed")
    values = [worth(good, *[bad] * count) for count in range(5)]
    assert values == sorted(values, reverse=True)
    assert values[1] > 0.3 * values[0]
    assert 0 < values[4] < 0.2 * values[0]
    assert worth(bad) == 0


def test_score_when_bytes_were_wrong_then_worse_than_a_failure() -> None:
    good = use(10 * MB, 1.0)
    assert worth(good, use(outcome="wrong")) < worth(good, *[use(outcome="failed")] * 2)


def test_score_when_failures_are_old_then_they_hardly_count() -> None:
    good, bad = use(10 * MB, 1.0), use(outcome="failed")
    old = use(outcome="failed", age_s=10 * HALF_LIFE_S)
    assert worth(good, old) > 0.99 * worth(good)
    assert worth(good, bad) < 0.6 * worth(good)


def test_score_when_the_clock_went_back_then_as_if_of_today() -> None:
    assert worth(use(10 * MB, 1.0, age_s=-1e9)) == worth(use(10 * MB, 1.0))


@pytest.mark.parametrize(
    ("url", "key", "base"),
    [
        ("https://user:pw@m.example/hf/?token=x", "https://m.example/hf/", False),
        ("https://user:pw@m.example/hf/", "https://m.example/hf/", True),
        ("http://m.example:81", "http://m.example:81/", True),
        ("http://m.example/a/model.bin?sig=secret", "http://m.example/", False),
        ("http://[::1]:80/x.bin", "http://[::1]:80/", False),
    ],
)
def test_key_holds_no_secret_and_a_file_is_its_server(url: str, key: str, base: bool) -> None:
    assert is_base(url) is base
    if base or not url.endswith("x"):
        assert mirror_key(url) == key

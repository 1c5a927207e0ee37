"""Which mirrors begin, which join, and what is remembered of them."""

from __future__ import annotations

from mirrornode.events import SourceState
from mirrornode.mirror.mirror_choice import (
    IDLE_S,
    POOR_BYTES_PER_S,
    SETTLE_S,
    SILENT_S,
    MirrorChoice,
)
from mirrornode.mirror.mirror_score import mirror_key
from mirrornode.store.records import MirrorUse
from mirrornode.transfer.worker import WRONG_BYTES

NOW = 1_800_000_000.0
MB = 1_000_000


def url(name: str) -> str:
    return f"http://{name}.example/"


def choice(rates: dict[str, float | None], weights: dict[str, float] | None = None) -> MirrorChoice:
    """Make mirrors by name with a known rate in MB/s; None: never tried, 0: never delivered."""
    history = {
        mirror_key(url(name)): [
            MirrorUse("", NOW, int(rate * MB), 1.0, None, "ok" if rate else "failed")
        ]
        for name, rate in rates.items()
        if rate is not None
    }
    by_url = {url(name): weight for name, weight in (weights or {}).items()}
    return MirrorChoice.of([url(name) for name in rates], by_url, history, NOW)


def names(urls: list[str]) -> list[str]:
    return [text.removeprefix("http://").removesuffix(".example/") for text in urls]


def state(name: str, kind: str = "active", received: int = 0, reason: str = "") -> SourceState:
    return SourceState(f"http:{url(name)}", kind, received, 0.0, reason)


def started(mirrors: MirrorChoice) -> list[str]:
    first = mirrors.first(0.0)
    for text in mirrors.urls:
        mirrors.looked_at(text, f"http:{text}")
    return names(first)


def test_first_when_all_are_known_then_the_best_three_by_worth() -> None:
    mirrors = choice({"slow": 1, "best": 50, "fast": 30, "dead": 0, "mid": 20})
    assert names(mirrors.urls) == ["best", "fast", "mid", "slow", "dead"]
    assert started(mirrors) == ["best", "fast", "mid"]
    assert mirrors.has_reserve


def test_first_when_some_are_unknown_then_one_of_them_is_tried() -> None:
    mirrors = choice({"a": None, "b": 5, "c": 50, "d": 9, "e": None, "f": 7})
    assert started(mirrors) == ["c", "d", "f", "a"]


def test_first_when_none_is_known_then_some_in_the_order_given() -> None:
    assert started(choice(dict.fromkeys("abcde"))) == ["a", "b", "c"]
    assert started(choice({"a": None, "b": 4})) == ["b", "a"]
    assert started(choice({})) == []


def test_first_when_each_has_failed_before_then_tried_again() -> None:
    assert started(choice({"a": 0, "b": 0})) == ["a", "b"]


def test_first_when_weighted_then_by_rate_times_weight_and_zero_is_left_out() -> None:
    mirrors = choice({"near": 10, "far": 30, "last": 90}, {"near": 4.0, "last": 0.0})
    assert names(mirrors.urls) == ["near", "far", "last"]
    assert started(mirrors) == ["near", "far"]


def test_more_when_one_fails_then_the_next_takes_its_place_at_once() -> None:
    mirrors = choice(dict(zip("abcde", (50, 40, 30, 20, 10), strict=True)))
    started(mirrors)
    assert mirrors.more(90 * MB, 1, waits=True, now=0.1) == []
    mirrors.failed(url("b"))
    assert names(mirrors.more(90 * MB, 2, waits=True, now=0.2)) == ["d"]
    assert mirrors.more(90 * MB, 3, waits=True, now=0.3) == []
    mirrors.take([state("a", "banned", reason="403")], 0.4)
    assert names(mirrors.more(90 * MB, 4, waits=True, now=0.5)) == ["e"]
    mirrors.failed(url("c"))
    assert mirrors.more(90 * MB, 5, waits=True, now=0.6) == []


def test_more_when_the_rate_is_poor_then_one_joins_after_they_have_settled() -> None:
    mirrors = choice({"a": 50, "b": 40, "c": 30, "d": 20, "e": 10})
    started(mirrors)
    assert mirrors.more(9 * MB, 1, waits=True, now=SETTLE_S - 0.1) == []
    assert mirrors.more(11 * MB, 2, waits=True, now=SETTLE_S) == []
    assert names(mirrors.more(9 * MB, 3, waits=True, now=SETTLE_S)) == ["d"]
    assert mirrors.more(0, 3, waits=True, now=SETTLE_S + 0.1) == []
    assert mirrors.more(6 * MB, 4, waits=True, now=3 * SETTLE_S) == []
    assert names(mirrors.more(4 * MB, 5, waits=True, now=3 * SETTLE_S)) == ["e"]
    assert not mirrors.has_reserve


def test_more_when_nothing_arrives_then_they_join_one_after_the_other() -> None:
    mirrors = choice(dict.fromkeys("abcdef"))
    started(mirrors)
    assert mirrors.more(0, 0, waits=True, now=SILENT_S - 0.1) == []
    assert names(mirrors.more(0, 0, waits=True, now=SILENT_S)) == ["d"]
    assert names(mirrors.more(0, 0, waits=True, now=SILENT_S + 0.1)) == ["e"]
    # Something has come: they have until they settle to show more.
    assert mirrors.more(0, 1, waits=True, now=SILENT_S + 0.2) == []
    assert names(mirrors.more(0, 1, waits=True, now=SILENT_S + 0.1 + SETTLE_S)) == ["f"]


def test_more_when_nobody_waits_then_nobody_joins() -> None:
    mirrors = choice({"a": 50, "b": 40, "c": 30, "d": 20})
    started(mirrors)
    assert mirrors.more(0, 0, waits=False, now=99.0) == []


def test_more_when_the_reserve_is_unknown_then_only_if_it_is_really_slow() -> None:
    mirrors = choice(dict.fromkeys("abcd"))
    started(mirrors)
    assert mirrors.more(POOR_BYTES_PER_S, 1, waits=True, now=SETTLE_S) == []
    assert names(mirrors.more(POOR_BYTES_PER_S - 1, 2, waits=True, now=SETTLE_S)) == ["d"]


def test_more_when_nothing_arrives_then_weight_zero_joins_as_the_last() -> None:
    mirrors = choice({"a": 50, "b": None, "last": None, "other": 9}, {"last": 0, "other": 0})
    assert started(mirrors) == ["a", "b"]
    assert mirrors.more(1.0, 10, waits=True, now=10.0) == []
    assert mirrors.more(0.0, 10, waits=True, now=10.0 + IDLE_S - 0.1) == []
    assert names(mirrors.more(0.0, 10, waits=True, now=10.0 + IDLE_S)) == ["last"]
    assert mirrors.more(0.0, 11, waits=True, now=10.1 + IDLE_S) == []
    assert names(mirrors.more(0.0, 11, waits=True, now=10.1 + 2 * IDLE_S)) == ["other"]


def test_more_when_there_is_only_weight_zero_then_it_joins_after_a_while() -> None:
    mirrors = choice({"last": None}, {"last": 0})
    assert started(mirrors) == []
    assert mirrors.more(0.0, 0, waits=True, now=IDLE_S - 0.1) == []
    assert names(mirrors.more(0.0, 0, waits=True, now=IDLE_S)) == ["last"]


def test_uses_tell_bytes_busy_time_and_outcome_of_those_who_were_asked() -> None:
    mirrors = choice(dict.fromkeys(("good", "liar", "gone")) | {"spare": None})
    started(mirrors)
    mirrors.take([state("good"), state("liar"), state("gone", "failed")], 10.0)
    mirrors.take([state("good", received=5 * MB), state("liar", "banned")], 12.0)
    liar = state("liar", "banned", 7, WRONG_BYTES)
    mirrors.take([state("good", "idle", 5 * MB), liar, state("gone", "failed")], 15.0)
    told = {
        use.mirror: (use.size_bytes, use.seconds, use.outcome) for use in mirrors.uses(9.0, NOW)
    }
    assert told == {
        url("good"): (5 * MB, 2.0, "ok"),
        url("liar"): (7, 3.0, "wrong"),
        url("gone"): (0, 9.0, "failed"),
    }


def test_uses_when_a_mirror_only_lacked_the_file_then_not_judged() -> None:
    mirrors = choice({"a": None})
    started(mirrors)
    mirrors.take([state("a", "idle")], 1.0)
    assert mirrors.uses(9.0, NOW) == []


# Mirrors that were put aside


def standing_choice(
    rates: dict[str, float | None],
    *,
    aside: str = "",
    on_trial: str = "",
    weights: dict[str, float] | None = None,
) -> MirrorChoice:
    """As `choice`; names of one letter are aside or on trial."""
    history = {
        mirror_key(url(name)): [MirrorUse("", NOW, int(rate * MB), 1.0, None, "ok")]
        for name, rate in rates.items()
        if rate
    }
    return MirrorChoice.of(
        [url(name) for name in rates],
        {url(name): weight for name, weight in (weights or {}).items()},
        history,
        NOW,
        aside=[url(name) for name in aside],
        on_trial=[url(name) for name in on_trial],
    )


def test_first_when_the_best_is_put_aside_then_it_is_the_last_resort() -> None:
    mirrors = standing_choice({"a": 50, "b": 5, "c": None, "d": 1}, aside="a", weights={"d": 0})
    assert names(mirrors.urls) == ["b", "c", "d", "a"]
    assert started(mirrors) == ["b", "c"]
    mirrors.failed(url("b"))
    mirrors.failed(url("c"))
    assert mirrors.more(0.0, 0, waits=True, now=IDLE_S - 0.1) == []
    assert names(mirrors.more(0.0, 0, waits=True, now=IDLE_S)) == ["d"]
    assert names(mirrors.more(0.0, 0, waits=True, now=2 * IDLE_S)) == ["a"]


def test_first_when_only_weight_0_is_not_aside_then_that_is_the_next_best() -> None:
    assert started(standing_choice({"a": 9, "b": 5}, aside="a", weights={"b": 0})) == ["b"]


def test_first_when_all_are_aside_then_they_join_when_nothing_comes() -> None:
    mirrors = standing_choice({"a": 9, "b": 5}, aside="ab")
    assert started(mirrors) == []
    assert names(mirrors.more(0.0, 0, waits=True, now=IDLE_S)) == ["a"]


def test_first_when_one_is_on_trial_then_it_begins_besides_the_best() -> None:
    rates: dict[str, float | None] = {"a": 50, "b": 40, "c": 30, "d": 20, "e": 1}
    assert started(standing_choice(rates, on_trial="e")) == ["a", "b", "c", "e"]


def test_uses_when_it_worked_in_vain_or_rested_after_failures_then_they_are_noted() -> None:
    mirrors = choice({"slow": None, "down": None, "idle": None})
    started(mirrors)
    mirrors.take(
        [
            SourceState(f"http:{url('slow')}", "idle", 0, 0.0, busy_s=1.5),
            SourceState(f"http:{url('down')}", "idle", 0, 0.0, "answered 503", failures=2),
            SourceState(f"http:{url('idle')}", "idle", 0, 0.0, busy_s=0.5),
        ],
        1.0,
    )
    uses = [(use.mirror, use.size_bytes, use.outcome) for use in mirrors.uses(2.0, NOW)]
    assert uses == [(url("slow"), 0, "ok"), (url("down"), 0, "failed")]

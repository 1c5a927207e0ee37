"""What goes when room is short, as a pure choice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirrornode.mirror.keep_choice import (
    CHANGED,
    IN_USE,
    LINKED,
    PINNED,
    Held,
    Limits,
    choose,
    excess_bytes,
)

SIZES = st.integers(min_value=0, max_value=10**12)
MODELS = st.lists(
    st.builds(
        Held,
        name=st.text(max_size=3),
        size_bytes=SIZES,
        used_at=st.floats(min_value=0, max_value=2e9),
        held_by=st.sampled_from(["", "", "", PINNED, IN_USE, CHANGED, LINKED]),
    ),
    max_size=40,
)


@given(models=MODELS, excess=st.integers(min_value=-1, max_value=10**13))
def test_choose_when_anything_is_held_then_never_chosen_and_enough_goes_if_it_can(
    models: list[Held], excess: int
) -> None:
    chosen = choose(models, excess)
    assert len(set(chosen)) == len(chosen)
    assert all(not models[number].held_by for number in chosen)
    freed = sum(models[number].size_bytes for number in chosen)
    can_go = sum(model.size_bytes for model in models if not model.held_by)
    assert freed >= min(excess, can_go)
    if chosen:  # the last one was needed
        assert freed - models[chosen[-1]].size_bytes < excess


@given(models=MODELS, excess=st.integers(min_value=1, max_value=10**13))
def test_choose_when_some_go_then_none_that_stays_was_used_earlier(
    models: list[Held], excess: int
) -> None:
    chosen = choose(models, excess)
    stays = [
        model.used_at
        for number, model in enumerate(models)
        if number not in chosen and not model.held_by and model.size_bytes
    ]
    assert not chosen or not stays or max(models[n].used_at for n in chosen) <= min(stays)


@given(
    used=SIZES,
    free=SIZES,
    quota=SIZES,
    low_water=st.floats(min_value=0.1, max_value=1),
    keep_free=SIZES,
    is_due=st.booleans(),
)
def test_excess_when_it_goes_then_below_the_mark_and_enough_free(
    used: int, free: int, quota: int, low_water: float, keep_free: int, is_due: bool
) -> None:
    limits = Limits(quota, low_water, keep_free)
    excess = excess_bytes(used, free, limits, is_due=is_due)
    assert excess >= 0
    assert free + excess >= keep_free or not keep_free
    if quota and (used > quota or is_due):
        assert used - excess <= max(limits.low_water_bytes, 0)


def test_excess_when_no_limit_is_set_then_nothing_goes() -> None:
    assert excess_bytes(10**15, 0, Limits(), is_due=True) == 0


def test_excess_when_between_mark_and_quota_then_only_by_hand() -> None:
    limits = Limits(quota_bytes=100, low_water=0.8)
    assert excess_bytes(90, 0, limits, is_due=False) == 0
    assert excess_bytes(90, 0, limits, is_due=True) == 10
    assert excess_bytes(101, 0, limits, is_due=False) == 21


def test_choose_when_equally_old_then_the_largest_first() -> None:
    models = [Held("a", 1, 5.0), Held("b", 9, 5.0), Held("c", 3, 4.0)]
    assert choose(models, 4) == [2, 1]

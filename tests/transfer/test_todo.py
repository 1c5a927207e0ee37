"""The row of leaves to do, against a plain model of it."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mirrornode.transfer.todo import RELEVEL_S, Holding, Todo

LEAVES = 40
parts = st.lists(st.integers(0, 1), min_size=LEAVES, max_size=LEAVES).map(bytearray)


def level(todo: Todo, holdings: list[Holding], leaf: int) -> int:
    """Return how many partial sources have a leaf: few enough for a level each."""
    return sum(
        holding.available is not None and 1 in holding.available and holding.available[leaf]
        for holding in holdings
    )


@settings(max_examples=150, deadline=None)
@given(
    done=parts,
    availables=st.lists(st.one_of(st.none(), parts), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
def test_todo_gives_each_leaf_once_and_the_rarest_first(
    done: bytearray, availables: list[bytearray | None], seed: int
) -> None:
    rng = random.Random(seed)
    todo = Todo(done, own_id="peer:me")
    holdings = [
        todo.admit(f"peer:{number}", None if available is None else bytearray(available))
        for number, available in enumerate(availables)
    ]
    is_open = [not leaf for leaf in done]
    now = 0.0
    for _ in range(80):
        now += RELEVEL_S
        holding = rng.choice(holdings)
        word = rng.choice(["take", "take", "take", "give", "lack", "learn"])
        start = rng.randrange(LEAVES)
        stop = min(LEAVES, start + rng.randint(1, 6))
        if word == "give":
            todo.give_back(start, stop)
            is_open[start:stop] = [True] * (stop - start)
        elif word == "lack":
            todo.lacks(holding, start, stop)
        elif word == "learn" and holding.available is not None:
            grown = bytearray(holding.available)
            grown[start:stop] = b"\x01" * (stop - start)
            todo.set_available(holding, grown)
        if word != "take":
            continue
        wanted = [leaf for leaf in range(LEAVES) if is_open[leaf] and holding.has(leaf)]
        found = todo.find(holding, start, now)
        assert (found is None) == (not wanted)
        if found is None:
            continue
        leaf, limit = found
        assert leaf in wanted
        assert level(todo, holdings, leaf) == min(level(todo, holdings, x) for x in wanted)
        reach = todo.reach(holding, leaf, limit)
        assert leaf < reach <= limit
        for taken in range(leaf, reach):
            assert taken in wanted
            assert level(todo, holdings, taken) == level(todo, holdings, leaf)
            is_open[taken] = False
        todo.take(leaf, reach)
        assert [todo.is_open(leaf) for leaf in range(LEAVES)] == is_open


@settings(max_examples=50, deadline=None)
@given(done=parts, available=parts, cursor=st.integers(0, LEAVES - 1))
def test_todo_in_order_finds_the_next_leaf_from_the_cursor_however_rare(
    done: bytearray, available: bytearray, cursor: int
) -> None:
    todo = Todo(done, own_id="peer:me", in_order=True)
    todo.admit("peer:b", bytearray(b"\x01" * cursor + bytes(LEAVES - cursor)))
    wanted = [leaf for leaf in range(LEAVES) if available[leaf] and not done[leaf]]
    wanted.sort(key=lambda leaf: (leaf < cursor, leaf))
    found = todo.find(todo.admit("peer:a", available), cursor, 0.0)
    assert (found[0] if found else None) == (wanted[0] if wanted else None)


def test_todo_without_partial_sources_goes_on_at_the_cursor() -> None:
    todo = Todo(bytearray(100))
    seed = todo.admit("seed", None)
    todo.take(60, 70)
    assert todo.find(seed, 30, 0.0) == (30, 100)
    assert todo.find(seed, 65, 0.0) == (70, 100)
    todo.take(70, 100)
    assert todo.find(seed, 65, 0.0) == (0, 65)


def test_todo_when_a_partial_source_is_banned_then_it_counts_no_more() -> None:
    todo = Todo(bytearray(10))
    seed = todo.admit("seed", None)
    partial = todo.admit("peer:a", bytearray([1] * 9 + [0]))
    assert todo.has_partial_sources
    assert todo.find(seed, 0, 0.0) == (9, 10)
    todo.forget(partial)
    assert not todo.has_partial_sources
    assert todo.find(seed, 0, 1.0) == (0, 10)


def test_todo_when_more_sources_than_a_byte_counts_then_still_right() -> None:
    todo = Todo(bytearray(4))
    sources = [todo.admit(f"peer:{n}", bytearray([0, 1, 1, 1])) for n in range(400)]
    seed = todo.admit("seed", None)
    assert todo.find(seed, 2, 0.0) == (0, 2)
    for source in sources:
        todo.forget(source)
    todo.take(0, 1)
    assert todo.find(seed, 2, 1.0) == (2, 4)

"""Connections that wait for their next use."""

from __future__ import annotations

from mirrornode.sources.idle import IDLE_LIFE_S, MAX_IDLE, Idle


def test_idle_connections_are_few_and_young() -> None:
    now = [0.0]
    idle: Idle[int] = Idle(clock=lambda: now[0])
    for number in range(MAX_IDLE + 4):
        idle.give(number)
    assert idle.take() == MAX_IDLE + 3
    assert idle.take(lambda number: number == 3) is None
    assert idle.take(lambda number: number == 4) == 4
    now[0] = IDLE_LIFE_S + 1
    assert idle.take() is None


def test_idle_connections_when_all_are_taken_then_none_is_left() -> None:
    idle: Idle[str] = Idle()
    idle.give("a")
    idle.give("b")
    assert idle.take_all() == ["a", "b"]
    assert idle.take() is None

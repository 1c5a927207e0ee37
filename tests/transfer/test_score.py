"""What a source's record says of its time: first byte, round trip, seconds at work."""

from __future__ import annotations

from mirrornode.transfer.board import Board
from mirrornode.transfer.plan import Plan
from mirrornode.transfer.score import Score
from support.models import LEAF, model_of
from support.transfer_sim import uniform_edges

MODEL = model_of(40 * LEAF)


def test_first_byte_is_that_of_the_first_request_and_the_round_trip_the_shortest() -> None:
    score = Score()
    assert (score.first_byte_s, score.rtt_s) == (None, None)
    for elapsed_s, rtt_s in ((0.3, 0.02), (0.1, 0.01), (0.2, 0.05)):
        score.answered(elapsed_s)
        score.crossed(rtt_s)
    assert (score.first_byte_s, score.rtt_s) == (0.3, 0.01)


def test_plan_when_lanes_come_and_go_then_a_source_is_busy_while_any_works() -> None:
    plan = Plan(uniform_edges(1000), [1000])
    plan.add_source("fake:a")
    first, second = plan.next_run("fake:a", 1, 100.0), plan.next_run("fake:a", 2, 100.5)
    assert first is not None
    assert second is not None
    plan.end_run(first, 101.0)
    score = plan.score("fake:a")
    assert score.busy_until(102.0) == 2.0
    plan.end_run(second, 102.0, failure="fell silent")
    assert score.busy_until(110.0) == 2.0
    again = plan.next_run("fake:a", 1, 120.0)
    assert again is not None
    plan.end_run(again, 120.5)
    assert (score.busy_until(130.0), score.total_failures) == (2.5, 1)


def test_board_tells_the_times_of_each_source() -> None:
    now = 100.0
    board = Board(MODEL.manifest, bytearray(MODEL.manifest.leaves), clock=lambda: now)
    board.add_source("fake:a", None, 0)
    run = board.take("fake:a", 1)
    assert run is not None
    now = 100.5
    board.answered(run, 0.004)
    state = board.snapshot(["fake:a"]).sources[0]
    assert (state.busy_s, state.first_byte_s, state.rtt_s, state.failures) == (0.5, 0.5, 0.004, 0)

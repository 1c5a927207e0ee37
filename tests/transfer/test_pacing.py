"""Limits at work: lanes and connections wait, are woken, and leave when they must."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mirrornode.transfer.pacing import MAX_PEERS_COUNTED, Downloads, Uploads, pace_of


def never() -> bool:
    return False


def test_downloads_when_more_than_a_burst_then_the_lane_waits_for_it() -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.1  # time passes by being looked at
        return now

    pace = Downloads(1e6, clock=clock)
    pace.wait(100_000, never)  # a burst: not waited for
    assert now < 0.5
    for _ in range(100):
        pace.wait(20_000, never)
    assert now >= 1.9


def test_downloads_when_broken_off_then_the_wait_ends() -> None:
    pace = Downloads(10_000)
    ended = threading.Event()
    broken = threading.Event()

    def wait() -> None:
        pace.wait(1, never)
        pace.wait(10_000_000, broken.is_set)  # a quarter of an hour
        pace.wait(10_000_000, broken.is_set)
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    broken.set()
    assert ended.wait(30)


def test_pace_when_two_limits_then_pieces_of_the_smaller_and_both_count() -> None:
    node = Downloads(1e6)
    both = pace_of(100e6, node)
    assert both is not None
    assert both.piece_bytes == node.piece_bytes < Downloads(100e6).piece_bytes
    both.wait(90_000, never)
    spent = threading.Event()
    node.wait(50_000, lambda: spent.set() or True)  # type: ignore[func-returns-value]  # a probe
    assert spent.is_set()  # the node's burst had been used up by the transfer
    assert pace_of(0, node) is node
    assert pace_of(0) is None


def test_uploads_when_not_limited_then_nobody_waits_and_all_is_counted() -> None:
    uploads = Uploads()
    assert uploads.piece_bytes == 0
    uploads.wait("peer", 1 << 40, is_small=False)
    uploads.note_sent(3)
    uploads.note_sent(4)
    assert uploads.sent_bytes == 7
    with uploads.pacing():
        pass


def test_uploads_to_peers_are_counted_for_those_who_were_sent_something_last() -> None:
    uploads = Uploads()
    uploads.note_sent(3, peer="first")
    uploads.note_sent(5)
    for number in range(MAX_PEERS_COUNTED - 1):
        uploads.note_sent(1, peer=f"peer {number}")
    uploads.note_sent(4, peer="first")
    assert uploads.sent_by_peer["first"] == 7
    uploads.note_sent(1, peer="one more")
    assert len(uploads.sent_by_peer) == MAX_PEERS_COUNTED
    assert "peer 0" not in uploads.sent_by_peer
    assert {"first", "one more"} <= uploads.sent_by_peer.keys()


async def test_uploads_when_limited_then_threads_and_tasks_share_the_turns() -> None:
    with Uploads(1e6).pacing() as uploads:
        size = uploads.piece_bytes
        rounds = 20  # four bursts

        def thread() -> None:
            for _ in range(rounds):
                uploads.wait("thread", size, is_small=False)
                uploads.note_sent(size)

        async def task() -> None:
            for _ in range(rounds):
                await uploads.turn("task", size, is_small=False)
                uploads.note_sent(size)

        await asyncio.gather(asyncio.to_thread(thread), task())
        assert uploads.sent_bytes == 2 * rounds * size


async def test_uploads_when_a_task_is_cancelled_then_its_turn_is_taken_back() -> None:
    with Uploads(10_000).pacing() as uploads:
        await uploads.turn("a", 1024, is_small=False)
        gone = asyncio.create_task(uploads.turn("a", 10_000_000, is_small=False))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        await uploads.turn("a", 1024, is_small=False)


async def test_uploads_when_the_node_stops_then_all_who_wait_are_told() -> None:
    uploads = Uploads(10_000)
    failures: list[OSError] = []

    def thread() -> None:
        try:
            for _ in range(1000):
                uploads.wait("thread", 1024, is_small=False)
        except ConnectionAbortedError as exc:
            failures.append(exc)

    waiting = threading.Thread(target=thread)
    with uploads.pacing():
        waiting.start()
        await uploads.turn("task", 1024, is_small=False)
    await asyncio.to_thread(waiting.join)
    assert len(failures) == 1
    with pytest.raises(ConnectionAbortedError):
        await uploads.turn("late", 1024, is_small=False)

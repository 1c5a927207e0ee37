"""The board: many threads take and report, every leaf comes out once."""

from __future__ import annotations

import random
import threading

from mirrornode.transfer.board import Board
from support.models import LEAF, folder_of, model_of
from support.shared_files import content

FILES = {"empty": b"", "a": content(3 * LEAF), "b": content(40 * LEAF + 1)}


def test_board_when_threads_hammer_it_then_each_leaf_is_done_once() -> None:
    manifest = folder_of(FILES).manifest
    board = Board(manifest, bytearray(manifest.leaves))
    rng = random.Random(5)
    faults = [rng.random() < 0.3 for _ in range(1000)]
    arrived: list[int] = []

    def lane(source_id: str) -> None:
        while (run := board.take(source_id, threading.current_thread())) is not None:
            while True:
                if faults and faults.pop():
                    board.end(run)  # gave up without a failure: back to the row
                    break
                leaf = run.pos
                goes_on = board.arrived(run)
                arrived.append(leaf)
                if not goes_on:
                    board.end(run)
                    break

    threads = []
    for number in range(6):
        source_id = f"fake:{number % 3}"
        board.add_source(source_id, None, number * 7)
        threads.append(threading.Thread(target=lane, args=(source_id,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    snapshot = board.snapshot(["fake:0", "fake:1", "fake:2"])
    assert set(arrived) == set(range(manifest.leaves))
    assert snapshot.leaves_left == 0
    assert snapshot.done_bytes == manifest.size_bytes
    assert sum(state.received_bytes for state in snapshot.sources) == manifest.size_bytes
    assert sorted(board.take_finished()) == [0, 1, 2]


def test_board_when_leaves_are_there_already_then_counted_and_finished() -> None:
    manifest = folder_of(FILES).manifest
    done = bytearray(manifest.leaves)
    done[:5] = b"\x01" * 5  # the empty leaf, the three of "a", and one of "b"
    board = Board(manifest, done)
    assert board.snapshot(()).done_bytes == 4 * LEAF
    assert [board.take_finished(), board.take_finished()] == [[0, 1], []]
    assert board.is_file_complete(1)
    assert not board.is_file_complete(2)
    assert board.have_runs(1) == [(0, 3 * LEAF)]
    assert board.have_runs(2) == [(0, LEAF)]
    assert board.have_runs(0) == []


def test_board_tells_which_runs_of_a_file_are_there() -> None:
    manifest = model_of(10 * LEAF + 7).manifest
    board = Board(manifest, bytearray([1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1]))
    assert board.have_runs(0) == [(0, 2000), (3000, 4000), (10000, 10007)]


def test_board_when_closed_then_lanes_end() -> None:
    manifest = model_of().manifest
    board = Board(manifest, bytearray(manifest.leaves))
    board.add_source("fake:a", None, 0)
    run = board.take("fake:a", 1)
    assert run is not None
    board.close()
    assert not board.arrived(run)
    assert board.take("fake:a", 2) is None


def test_board_claims_only_files_that_changed_and_are_not_finished() -> None:
    manifest = folder_of(FILES).manifest
    board = Board(manifest, bytearray(manifest.leaves))
    board.add_source("fake:a", None, 0)
    assert board.take_dirty() == {}
    while (run := board.take("fake:a", 1)) is not None:
        is_more = True
        while is_more:
            index, number = manifest.locate(run.pos)
            is_more = board.arrived(run)
            dirty = board.take_dirty()
            if board.is_file_complete(index):
                assert index not in dirty
            else:
                assert dirty[index][number] == 1
            assert board.take_dirty() == {}
        board.end(run)


def test_board_when_source_is_banned_then_its_lanes_end() -> None:
    manifest = model_of().manifest
    board = Board(manifest, bytearray(manifest.leaves))
    board.add_source("fake:a", None, 0)
    board.ban("fake:a", "sent wrong bytes")
    assert board.take("fake:a", 1) is None
    assert board.state("fake:a") == "banned"
    assert board.snapshot(["fake:a"]).sources[0].reason == "sent wrong bytes"

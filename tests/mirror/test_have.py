"""Have-maps of unfinished peers: which leaves, what to ask about next, and when."""

from __future__ import annotations

import pytest

from mirrornode.mirror.have import (
    LOOK_FIRST_S,
    LOOK_MAX_S,
    HaveMap,
    WantedFiles,
    files_by_root,
    next_look_s,
)
from mirrornode.transfer.manifest import Manifest
from mirrornode.wire.ranges import Run
from mirrornode.wire.ticket import Holding
from support.models import LEAF, folder_of, model_of
from support.shared_files import content

ONE = model_of(10 * LEAF + 7).manifest
FOLDER = folder_of({"a": content(300), "b": content(2 * LEAF), "c": content(5 * LEAF)}).manifest


def holding_of(manifest: Manifest, index: int, runs: tuple[Run, ...] | None = None) -> Holding:
    root = manifest.files[index].root
    return Holding(root, root, manifest.files[index].map.size_bytes, runs)


def leaves(have: HaveMap) -> list[int]:
    found = have.available
    assert found is not None
    return [index for index, bit in enumerate(found) if bit]


def test_have_when_runs_cut_leaves_then_only_whole_ones_count() -> None:
    have = HaveMap(ONE)
    runs = ((1, 2 * LEAF + 1), (3 * LEAF, 5 * LEAF), (6 * LEAF, 7 * LEAF - 1), (9500, 10_007))
    assert have.is_empty
    assert have.take([ONE.target], [holding_of(ONE, 0, runs)], files_by_root(ONE))
    assert leaves(have) == [1, 3, 4, 10]
    assert not have.take([ONE.target], [holding_of(ONE, 0, runs)], files_by_root(ONE))
    assert not have.is_empty


def test_have_when_the_peer_is_done_then_whole() -> None:
    have = HaveMap(ONE)
    assert have.take([ONE.target], [holding_of(ONE, 0)], files_by_root(ONE))
    assert have.is_whole
    assert have.available is None


def test_have_when_a_file_is_incomplete_or_gone_then_nothing_of_it() -> None:
    root, files = ONE.target, files_by_root(ONE)
    have = HaveMap(ONE)
    assert not have.take([root], [Holding(root, root, 0, None, is_complete=False)], files)
    assert have.take([root], [holding_of(ONE, 0, ((0, LEAF),))], files)
    assert have.take([root], [], files)
    assert leaves(have) == []


def test_have_when_only_one_file_was_asked_about_then_the_others_stay() -> None:
    files, (a, b, c) = files_by_root(FOLDER), FOLDER.files
    have = HaveMap(FOLDER)
    asked = [a.root, b.root, c.root]
    have.take(asked, [holding_of(FOLDER, 0), holding_of(FOLDER, 2, ((0, LEAF),))], files)
    assert leaves(have) == [a.first_leaf, c.first_leaf]
    have.take([b.root], [holding_of(FOLDER, 1)], files)
    assert leaves(have) == [a.first_leaf, b.first_leaf, b.first_leaf + 1, c.first_leaf]


def test_wanted_when_files_are_complete_or_covered_then_not_asked_about() -> None:
    files, complete = files_by_root(FOLDER), {2}
    wanted = WantedFiles(FOLDER, complete.__contains__)
    have = HaveMap(FOLDER)
    a, b, _ = (file.root for file in FOLDER.files)
    assert wanted.roots(have) == [FOLDER.target, b, a]
    assert wanted.roots(have, limit=2) == [FOLDER.target, b]
    have.take([b], [holding_of(FOLDER, 1)], files)
    assert wanted.roots(have) == [FOLDER.target, a]
    complete.add(0)
    assert wanted.roots(have) == [FOLDER.target]


def test_wanted_when_one_file_then_nothing_else_is_asked() -> None:
    complete: set[int] = set()
    wanted = WantedFiles(ONE, complete.__contains__)
    assert wanted.roots(HaveMap(ONE)) == [ONE.target]
    complete.add(0)
    assert wanted.roots(HaveMap(ONE)) == []


@pytest.mark.parametrize(
    ("last_s", "grew", "has_more", "runs", "peers", "next_s"),
    [
        (2.0, True, False, 10, 3, LOOK_FIRST_S),
        (0.0, False, False, 0, 3, LOOK_FIRST_S * 1.5),
        (1.9, False, False, 0, 3, LOOK_MAX_S),
        (0.25, True, True, 0, 32, 0.5),
        (0.25, True, False, 0, 320, 5.0),
        (0.25, True, False, 4096, 1, 0.5),
    ],
)
def test_next_look_is_quick_while_it_brings_something_and_bounded_in_all(
    last_s: float, grew: bool, has_more: bool, runs: int, peers: int, next_s: float
) -> None:
    wait_s = next_look_s(last_s, grew=grew, has_more=has_more, runs=runs, peers=peers)
    assert wait_s == pytest.approx(next_s)

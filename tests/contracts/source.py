"""What every `Source` must do, the fake of the tests included."""

from __future__ import annotations

import threading

import pytest

from mirrornode.errors import SourceError
from mirrornode.sources.ports import Lane, Source
from mirrornode.transfer.manifest import ManifestFile
from support.models import Model, model_of

UNKNOWN = model_of(3333)


def fetch(lane: Lane, file: ManifestFile, first: int, stop: int) -> bytes:
    """Bring leaves `[first, stop)` through one lane."""
    lane.begin(file, first, stop)
    got = b""
    for leaf in range(first, stop):
        view = memoryview(bytearray(file.map.lengths[leaf]))
        lane.read_leaf(view)
        got += bytes(view)
    lane.end()
    return got


def check_source(source: Source, model: Model) -> None:
    """Run all checks; blocking, for a thread."""
    _runs_are_the_files_bytes(source, model)
    _a_run_may_begin_inside_a_leaf(source, model)
    _lane_survives_being_left_and_aborted(source, model)
    _lanes_work_side_by_side(source, model)
    _unknown_file_is_a_source_error(source)
    assert source.max_lanes >= 1
    kind, _, name = source.source_id.partition(":")
    assert kind
    assert name


def _runs_are_the_files_bytes(source: Source, model: Model) -> None:
    lane = source.open_lane()
    file = model.file
    leaves = file.map.leaves
    data = model.bytes_of(file)
    for first, stop in ((0, leaves), (0, 1), (leaves - 1, leaves), (1, leaves - 1)):
        start = file.map.starts[first]
        end = file.map.starts[stop - 1] + file.map.lengths[stop - 1]
        assert fetch(lane, file, first, stop) == data[start:end]
    lane.abort()


def _a_run_may_begin_inside_a_leaf(source: Source, model: Model) -> None:
    lane = source.open_lane()
    file = model.file
    for skip_bytes in (1, file.map.lengths[1] - 1):
        lane.begin(file, 1, 3, skip_bytes)
        views = [
            memoryview(bytearray(file.map.lengths[1] - skip_bytes)),
            memoryview(bytearray(file.map.lengths[2])),
        ]
        for view in views:
            lane.read_leaf(view)
        start = file.map.starts[1] + skip_bytes
        assert b"".join(views) == model.bytes_of(file)[start : file.map.starts[3]]
        lane.end()
    lane.abort()


def _lane_survives_being_left_and_aborted(source: Source, model: Model) -> None:
    lane = source.open_lane()
    file = model.file
    data = model.bytes_of(file)
    lane.abort()
    for leave in (lane.end, lane.abort):
        lane.begin(file, 0, file.map.leaves)
        lane.read_leaf(memoryview(bytearray(file.map.lengths[0])))
        leave()
        assert fetch(lane, file, 0, 2) == data[: file.map.starts[2]]
    lane.abort()
    lane.abort()


def _lanes_work_side_by_side(source: Source, model: Model) -> None:
    file = model.file
    got: dict[int, bytes] = {}

    def work(first: int) -> None:
        lane = source.open_lane()
        got[first] = fetch(lane, file, first, first + 2)
        lane.abort()

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 2, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    joined = got[0] + got[2] + got[4]
    assert joined == model.bytes_of(file)[: len(joined)]


def _unknown_file_is_a_source_error(source: Source) -> None:
    lane = source.open_lane()
    file = ManifestFile("other", UNKNOWN.root, UNKNOWN.file.map, 0)
    with pytest.raises(SourceError):
        fetch(lane, file, 0, 1)
    lane.abort()

"""Byte ranges and have-maps: round trips, and a named error for everything malformed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.errors import RemoteProtocolError
from mirrornode.wire.ranges import (
    MAX_HAVE_RUNS,
    RangeNotSatisfiable,
    contains,
    content_range,
    merge_runs,
    parse_content_range,
    parse_have,
    parse_range,
    range_header,
)

sizes = st.integers(min_value=1, max_value=10**15)
runs = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 300)).map(lambda r: (min(r), max(r))), max_size=30
)


@st.composite
def run_and_size(draw: st.DrawFn) -> tuple[int, int, int]:
    size = draw(sizes)
    start = draw(st.integers(0, size - 1))
    return start, draw(st.integers(start + 1, size)), size


@given(run_and_size())
def test_range_header_round_trip(case: tuple[int, int, int]) -> None:
    start, stop, size = case
    assert parse_range(range_header(start, stop), size) == (start, stop)
    assert parse_content_range(content_range(start, stop, size)) == (start, stop, size)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        # SOURCE: RFC 9110, 14.1.2, for a representation of 10000 bytes.
        ("bytes=0-499", (0, 500)),
        ("bytes=500-999", (500, 1000)),
        ("bytes=-500", (9500, 10000)),
        ("bytes=9500-", (9500, 10000)),
        ("bytes=0-0", (0, 1)),
        ("bytes=-99999", (0, 10000)),
        ("bytes=9999-99999", (9999, 10000)),
        (" bytes=0-0 ", (0, 1)),
        # Ignored: the whole is sent.
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-0,-1", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=\u0660-\u0661", None),
        ("bytes=0-99999999999999999999", None),
    ],
)
def test_parse_range_known_answers(header: str | None, expected: tuple[int, int] | None) -> None:
    assert parse_range(header, 10000) == expected


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)],
)
def test_parse_range_when_outside_then_not_satisfiable(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header, size)


@given(st.text(max_size=60), st.integers(0, 1000))
def test_parse_range_when_garbage_then_ignored_or_in_bounds(text: str, size: int) -> None:
    for header in (text, f"bytes={text}"):
        try:
            run = parse_range(header, size)
        except RangeNotSatisfiable:
            continue
        assert run is None or 0 <= run[0] < run[1] <= size


@given(st.text(max_size=60))
def test_parse_content_range_when_garbage_then_named_error_or_sane(text: str) -> None:
    for header in (text, f"bytes {text}"):
        try:
            start, stop, size = parse_content_range(header)
        except RemoteProtocolError:
            continue
        assert 0 <= start < stop
        assert size is None or stop <= size


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes */5", "bytes 5-4/9", "bytes 0-9/5", "bytes 0-4/5 x", "bits 0-1/2"],
)
def test_parse_content_range_when_malformed_then_remote_protocol_error(header: str | None) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_content_range(header)


def test_parse_content_range_when_size_unknown_then_none() -> None:
    assert parse_content_range("bytes 2-3/*") == (2, 4, None)


@given(runs)
def test_merge_runs_covers_the_same_bytes(given_runs: list[tuple[int, int]]) -> None:
    merged = merge_runs(given_runs)
    assert {b for lo, hi in merged for b in range(lo, hi)} == {
        b for lo, hi in given_runs for b in range(lo, hi)
    }
    assert all(left[1] < right[0] for left, right in pairwise(merged))


@given(runs, st.integers(0, 300), st.integers(1, 40))
def test_contains_is_what_the_bytes_say(
    given_runs: list[tuple[int, int]], start: int, length: int
) -> None:
    merged = merge_runs(given_runs)
    covered = {b for lo, hi in merged for b in range(lo, hi)}
    assert contains(merged, start, start + length) == set(range(start, start + length)).issubset(
        covered
    )


@given(runs)
def test_have_map_round_trip(given_runs: list[tuple[int, int]]) -> None:
    merged = merge_runs(given_runs)
    assert parse_have([list(run) for run in merged], 300) == merged


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@given(json_values, st.integers(0, 100))
def test_parse_have_when_garbage_then_named_error_or_in_bounds(value: object, size: int) -> None:
    try:
        parsed = parse_have(value, size)
    except RemoteProtocolError:
        return
    assert all(0 <= lo < hi <= size for lo, hi in parsed)


@pytest.mark.parametrize(
    "value",
    [None, {}, [[0]], [[0, 1, 2]], [[1, 1]], [[2, 1]], [[-1, 1]], [[0, 11]], [[0, True]],
     [[0, 1.0]], [(0, 1)], [[0, 1]] * (MAX_HAVE_RUNS + 1)],
)  # fmt: skip
def test_parse_have_when_malformed_then_remote_protocol_error(value: object) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_have(value, 10)

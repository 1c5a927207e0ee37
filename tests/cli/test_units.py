"""Sizes, rates, durations and source names as people read them."""

from __future__ import annotations

import pytest

from mirrornode_cli.units import (
    count_text,
    duration_text,
    percent_text,
    printable,
    rate_text,
    seconds_text,
    size_text,
    source_text,
)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (12_340_000, "12.3 MB"),
        (2_147_483_648, "2.15 GB"),
        (9_996_000, "10.0 MB"),
        (10**18, "1000 PB"),
    ],
)
def test_size_text_when_given_bytes_then_three_digits_and_a_unit(
    size_bytes: int, text: str
) -> None:
    assert size_text(size_bytes) == text


def test_rate_text_when_unknown_then_dash() -> None:
    assert (rate_text(None), rate_text(812e6)) == ("-", "812 MB/s")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0, "0:00"), (65, "1:05"), (3600, "1:00:00"), (-1, "-"), (1e9, "-")],
)
def test_duration_text_when_given_seconds_then_clock_or_dash(
    seconds: float | None, text: str
) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.42 s"), (12.34, "12.3 s"), (245, "4:05 min")]
)
def test_seconds_text_when_given_a_duration_then_precise_enough(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("done", "total", "text"),
    [(0, 0, "-"), (0, 10, "0.0%"), (999_999, 1_000_000, "99.9%"), (10, 10, "100%")],
)
def test_percent_text_when_not_done_then_never_100(done: int, total: int, text: str) -> None:
    assert percent_text(done, total) == text


@pytest.mark.parametrize(
    ("source_id", "text"),
    [
        ("peer:12D3KooWabcdefghijkl", "peer …efghijkl"),
        ("http:https://mirror.example.com/models/x", "http mirror.example.com"),
        ("gateway:http://127.0.0.1:8090", "gateway 127.0.0.1:8090"),
        ("local", "local"),
    ],
)
def test_source_text_when_given_an_id_then_the_telling_part(source_id: str, text: str) -> None:
    assert source_text(source_id) == text


def test_count_text_when_one_then_singular() -> None:
    assert (count_text(1, "file"), count_text(1200, "file")) == ("1 file", "1,200 files")


def test_printable_when_a_name_holds_control_characters_then_they_are_replaced() -> None:
    assert printable("a\x1b[2Jb\nc") == "a�[2Jb�c"

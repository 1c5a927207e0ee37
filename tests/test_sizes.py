"""Sizes as people type them."""

from __future__ import annotations

import pytest

from mirrornode.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0), ("17", 17), ("800KB", 800_000), ("800kB", 800_000), ("50MB", 50_000_000),
        ("50 MB", 50_000_000), ("50MB/s", 50_000_000), ("50mb", 50_000_000), ("50M", 50_000_000),
        ("6MiB", 6 * 2**20), ("6mib", 6 * 2**20), ("1.5GB", 1_500_000_000), ("2GiB", 2**31),
        ("1TB", 10**12), (" 3KiB ", 3072), ("100B", 100),
    ],
)  # fmt: skip
def test_size_when_well_written_then_bytes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    ["", "MB", "-1", "50 Mbit", "50mbps", "5e6", "1,5MB", "nan", "inf", "1..5MB", "5iB", "9" * 20],
)
def test_size_when_not_one_then_says_how_to_write_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"800KB, 50MB, 1\.5GB, 6MiB"):
        parse_size(text)


def test_size_when_it_may_mean_bits_then_refused() -> None:
    with pytest.raises(ValueError, match="may mean bits"):
        parse_size("50Mb")

"""HTTP byte ranges and have-maps as pure values.

Ranges are half-open `[start, stop)` in bytes everywhere in this code base; only the header texts
here are inclusive. Spec: RFC 9110, section 14. Multiple ranges in one request are not supported
by design: every caller of ours asks for one run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mirrornode.errors import RemoteProtocolError

MAX_HAVE_RUNS = 4096  # a have-map is advice; a fragmented one is cut, never grown without bound

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII)

Run = tuple[int, int]
"""A half-open byte range `[start, stop)`."""


class RangeNotSatisfiable(Exception):
    """The range lies outside the representation: answer 416."""


def parse_range(header: str | None, size_bytes: int) -> Run | None:
    """Return the run a `Range` header asks for, or None when the whole is to be sent.

    A header that is not a single bytes range is ignored, as RFC 9110 14.2 allows.

    Raises:
        RangeNotSatisfiable: A valid range that starts at or after the end.
    """
    if header is None:
        return None
    match = _RANGE.fullmatch(header.strip())
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        suffix = int(last)
        if suffix == 0 or size_bytes == 0:
            raise RangeNotSatisfiable
        return max(0, size_bytes - suffix), size_bytes
    start = int(first)
    stop = size_bytes if not last else min(int(last) + 1, size_bytes)
    if last and int(last) < start:
        return None
    if start >= size_bytes:
        raise RangeNotSatisfiable
    return start, stop


def range_header(start: int, stop: int) -> str:
    """Return the `Range` value that asks for `[start, stop)`."""
    return f"bytes={start}-{stop - 1}"


def content_range(start: int, stop: int, size_bytes: int) -> str:
    """Return the `Content-Range` value of an answer that carries `[start, stop)`."""
    return f"bytes {start}-{stop - 1}/{size_bytes}"


def parse_content_range(header: str | None) -> tuple[int, int, int | None]:
    """Return (start, stop, size) of a `Content-Range`; size is None when the server says `*`.

    Raises:
        RemoteProtocolError: Missing or malformed.
    """
    match = _CONTENT_RANGE.fullmatch((header or "").strip())
    if match is None:
        raise RemoteProtocolError(f"206 without a usable Content-Range: {(header or '')[:80]!r}")
    start, last, size = match.groups()
    if int(last) < int(start):
        raise RemoteProtocolError("Content-Range ends before it starts")
    if size != "*" and int(size) <= int(last):
        raise RemoteProtocolError("Content-Range ends after the end")
    return int(start), int(last) + 1, None if size == "*" else int(size)


def merge_runs(runs: Iterable[Run]) -> list[Run]:
    """Return the runs sorted, with touching and overlapping ones joined and empty ones dropped."""
    merged: list[Run] = []
    for start, stop in sorted(run for run in runs if run[0] < run[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged


def parse_have(runs: object, size_bytes: int) -> list[Run]:
    """Return a have-map that came from a peer, checked against the file's size.

    Raises:
        RemoteProtocolError: Not a list of `[start, stop]` pairs inside the file, or too long.
    """
    if not isinstance(runs, list) or len(runs) > MAX_HAVE_RUNS:
        raise RemoteProtocolError("have-map is not a list, or too long")
    parsed: list[Run] = []
    for pair in runs:
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not all(type(edge) is int for edge in pair)
            or not 0 <= pair[0] < pair[1] <= size_bytes
        ):
            raise RemoteProtocolError(f"have-map holds a bad run {str(pair)[:60]}")
        parsed.append((pair[0], pair[1]))
    return merge_runs(parsed)


def contains(runs: Sequence[Run], start: int, stop: int) -> bool:
    """Tell whether one of the merged runs holds all of `[start, stop)`."""
    return any(a <= start and stop <= b for a, b in runs)

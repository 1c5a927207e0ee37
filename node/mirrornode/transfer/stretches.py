"""Stretches of leaves: those that are missing, and what is left of them. Pure."""

from __future__ import annotations


def missing_in(done: bytearray, start: int, stop: int) -> list[tuple[int, int]]:
    """Return the stretches of zero bytes in `done[start:stop]`."""
    gaps = []
    lo = done.find(0, start, stop)
    while lo >= 0:
        hi = done.find(1, lo, stop)
        hi = stop if hi < 0 else hi
        gaps.append((lo, hi))
        lo = done.find(0, hi, stop)
    return gaps


def cut_out(runs: list[tuple[int, int]], start: int, stop: int) -> list[tuple[int, int]]:
    """Return the stretches with `[start, stop)` cut out."""
    kept = []
    for lo, hi in runs:
        if hi <= start or lo >= stop:
            kept.append((lo, hi))
            continue
        if lo < start:
            kept.append((lo, start))
        if hi > stop:
            kept.append((stop, hi))
    return kept

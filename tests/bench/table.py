"""The result as a table for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
import os
import platform
from typing import TYPE_CHECKING, Any

from mirrornode import __version__

if TYPE_CHECKING:
    from bench.tasks import Task

HEAD = f"{'':<26} {'MB/s':>6} {'[min-max]':>13} {'ratio':>6} {'CPU s':>12} {'RSS MiB':>10}"


def table_lines(task: Task) -> list[str]:
    """Return one task: rates, and how many times faster the first contender is than each."""
    lines = [task.title, HEAD]
    first: float | None = None
    for contender in task.contenders:
        series = contender.series
        if not series.samples:
            continue
        rates = series.rates()
        seconds = series.median("seconds")
        first = first or seconds
        spread = f"[{min(rates):.0f}-{max(rates):.0f}]"
        cpu = f"{series.median('client_cpu_s'):.2f}+{series.median('server_cpu_s'):.2f}"
        rss = f"{series.median('client_rss_mib'):.0f}+{series.median('server_rss_mib'):.0f}"
        lines.append(
            f"{series.name:<26} {series.size_bytes / 1e6 / seconds:>6.0f} {spread:>13} "
            f"{seconds / first:>5.2f}x {cpu:>12} {rss:>10}  {series.note}"
        )
    return lines


def legend(rounds: int) -> str:
    """Return what the columns mean."""
    return (
        f"Median of {rounds} interleaved rounds; whole commands, start-up included; "
        "MB = 10^6 bytes.\n"
        "ratio: its time over the first row's, more than 1 is slower than the first row.\n"
        "CPU and RSS: client + server; the daemon that fetches counts as client."
    )


def record(tasks: list[Task], size_bytes: int, rounds: int, missing: list[str]) -> dict[str, Any]:
    """Return everything measured, with what is needed to judge it."""
    return {
        "mirrornode": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "size_bytes": size_bytes,
        "rounds": rounds,
        "not_installed": missing,
        "tasks": [
            {
                "title": task.title,
                "contenders": [
                    {
                        **dataclasses.asdict(contender.series),
                        "median_mb_per_s": contender.series.size_bytes
                        / 1e6
                        / contender.series.median("seconds"),
                    }
                    for contender in task.contenders
                    if contender.series.samples
                ],
            }
            for task in tasks
        ],
    }

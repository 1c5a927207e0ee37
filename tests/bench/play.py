"""Play scenarios: set up, interleave the rounds, name whoever is absent or fails, clean up."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from bench.measure import CommandFailed
from bench.programs import Unavailable
from bench.results import MB, Result, Series
from bench.scene import Contender, Run, Scenario, Scene, Settings
from bench.servers import ServerFailed

# What a contender may do wrong without ending the bench; anything else is a bug of ours.
FAILURES = (CommandFailed, ServerFailed, OSError, subprocess.SubprocessError, psutil.Error)
REASON_LENGTH = 300
T = TypeVar("T")


@dataclass(slots=True)
class _Part:
    contender: Contender
    series: Series
    run: Run | None = None


def play(
    scenario: Scenario,
    scratch: Path,
    settings: Settings,
    rounds: int,
    say: Callable[[str], None],
) -> Result:
    """Play one scenario and return what was measured.

    Args:
        scenario: What to play.
        scratch: An empty folder on the file system to work on.
        settings: What the user chose.
        rounds: How often each contender runs; they take turns.
        say: Told what happens now.
    """
    with ExitStack() as stack:
        scene = Scene(scratch, settings, stack)
        say(f"{scenario.name}: making the content")
        try:
            cast = scenario.cast(scene)
        except Unavailable as exc:
            reason = f"Left out: {str(exc).rstrip('.')}."
            return Result(scenario.name, f"Scenario {scenario.name}", reason, "MB/s", 0.0)
        content = cast.content
        parts = [
            _Part(
                one,
                Series(one.name, "", one.note, content.size_bytes, one.takers, one.compared_with),
            )
            for one in cast.contenders
        ]
        for part in parts:
            say(f"{scenario.name}: {part.series.name}: starting")
            part.run = _guarded(part.series, part.contender.open)
            if part.run:
                part.series.version = part.contender.version()
        for number in range(rounds):
            for part in parts:
                if part.run is None:
                    continue
                say(f"{scenario.name}: round {number + 1} of {rounds}: {part.series.name}")
                sample = _guarded(part.series, part.run)
                if sample is None:
                    part.run = None
                    part.series.samples.clear()
                else:
                    part.series.samples.append(sample)
        units, unit = (
            (float(len(content.names)), "files/s")
            if content.names
            else (content.size_bytes / MB, "MB/s")
        )
        rows = [part.series for part in parts]
        return Result(scenario.name, cast.title, cast.remark, unit, units, rows)


def _guarded(series: Series, work: Callable[[], T]) -> T | None:
    """Do it; a failure is written into the series."""
    try:
        return work()
    except Unavailable as exc:
        series.left_out = f"skipped: {exc}"
    except FAILURES as exc:
        said = exc.stderr if isinstance(exc, subprocess.CalledProcessError) else None
        detail = said.decode(errors="replace") if isinstance(said, bytes) else said or ""
        series.left_out = f"failed: {' '.join(f'{exc} {detail}'.split())[:REASON_LENGTH]}"
    return None

"""One download, killed again and again at moments drawn by chance, then left to finish."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.forked import Process
from support.nodes import Finished, run, start
from support.paced_server import PacedServer

START_S = 1.5  # a kill by the clock falls before, during or after the start of a command
WAIT_S = 120.0
TARGET_PART = 0.9  # of the bytes have come when the last kill was done, more or less


@dataclass
class Fate:
    """What became of a download.

    Attributes:
        kills: Processes that were killed while they worked.
        sent_bytes: What the source sent in all.
        resumed_bytes: What the last run found done.
    """

    kills: int
    sent_bytes: int
    resumed_bytes: int
    last: Finished

    def twice(self, size_bytes: int) -> float:
        """Return which part of the file was fetched twice."""
        return (self.sent_bytes - size_bytes) / size_bytes


def kill_over_and_over(
    home: Path,
    arguments: Sequence[str | Path],
    server: PacedServer,
    *,
    size_bytes: int,
    kills: int,
    seed: int,
    before_each: Callable[[], Callable[[], None]] | None = None,
) -> Fate:
    """Run a `get`, kill it `kills` times with SIGKILL, and let the last run finish.

    Args:
        before_each: Called before each run; returns what is called at the moment of the kill, to
            kill more than the command.
    """
    chance = random.Random(seed)
    step = 2 * TARGET_PART * size_bytes / kills
    done = 0
    while done < kills:
        kill_more = before_each() if before_each is not None else None
        process = start(home, *arguments, is_fresh=True)
        if chance.random() < 0.2:
            _wait(process, chance.uniform(0, START_S))
        else:
            server.wait_sent(server.sent_bytes + round(chance.uniform(0, step)), WAIT_S)
        if kill_more is not None:
            kill_more()
            # The command goes on by itself now: that has to be killed as well.
            server.wait_sent(server.sent_bytes + round(chance.uniform(0, step)), START_S)
        is_killed = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if not is_killed:
            break  # it was through already
        done += 1
    last = run(home, *arguments, timeout_s=600)
    resumed = int(last.record.get("resumed_bytes", 0)) if last.code == 0 else 0
    return Fate(done, server.sent_bytes, resumed, last)


def _wait(process: Process, timeout_s: float) -> None:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return

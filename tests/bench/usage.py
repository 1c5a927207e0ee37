"""CPU seconds and peak memory of processes, from /proc."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil


class Usage:
    """CPU and peak memory of running programs from now on, their children included."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._roots = [psutil.Process(pid) for pid in pids]
        for process in self._tree():
            forget_peak(process.pid)
        self._before_s = self._total_s()

    def cpu_s(self) -> float:
        """Return the CPU seconds used since the beginning."""
        return self._total_s() - self._before_s

    def peak_mib(self) -> float:
        """Return the sum of the peaks of resident memory."""
        return sum(peak_mib(process.pid) for process in self._tree())

    def _tree(self) -> list[psutil.Process]:
        return [
            process for root in self._roots for process in (root, *root.children(recursive=True))
        ]

    def _total_s(self) -> float:
        # Children that have ended are in their parent's sums, the others count for themselves.
        return sum(
            times.user + times.system + times.children_user + times.children_system
            for times in (process.cpu_times() for process in self._tree())
        )


class PeakWatch:
    """The peak memory of one command, looked at while it runs.

    `getrusage` would do, if it did not count what the parent held when it started the command.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._pids = {pid}
        self._peaks: dict[int, float] = {}

    def look(self, *, for_children: bool) -> None:
        """Note the peaks so far; `for_children` also looks for new children, which costs more."""
        if for_children:
            try:
                self._pids |= {child.pid for child in self._root.children(recursive=True)}
            except psutil.NoSuchProcess:
                return
        for pid in self._pids:
            self._peaks[pid] = max(self._peaks.get(pid, 0.0), peak_mib(pid))

    def peak_mib(self) -> float:
        """Return the sum of the peaks seen."""
        return sum(self._peaks.values())


def forget_peak(pid: int) -> None:
    """Let the peak of a process begin at what it holds now."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # not ours to clear: the peak since the process started stands


def peak_mib(pid: int) -> float:
    """Return the peak of resident memory; 0 for a process that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0

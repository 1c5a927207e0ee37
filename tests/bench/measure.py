"""Timing one command: wall clock, CPU of the command and of the servers behind it, memory.

What is timed is the whole command as a user types it, interpreter start included.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MIB = 1 << 20


@dataclass(slots=True)
class Sample:
    """One run of one contender."""

    seconds: float
    client_cpu_s: float
    server_cpu_s: float
    client_rss_mib: float
    server_rss_mib: float


@dataclass(slots=True)
class Series:
    """All runs of one contender in one task; `note` says what the time includes."""

    name: str
    size_bytes: int
    note: str
    samples: list[Sample] = field(default_factory=list)

    def median(self, what: str) -> float:
        """Return the median of one field of the samples."""
        return float(statistics.median(getattr(sample, what) for sample in self.samples))

    def rates(self) -> list[float]:
        """Return megabytes (10^6) a second of each run."""
        return [self.size_bytes / 1e6 / sample.seconds for sample in self.samples]


class CommandFailed(Exception):
    """A contender ended with an error: its runs are worth nothing."""


class Usage:
    """CPU and peak memory of running servers between two moments, children included."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._processes = [
            process
            for pid in pids
            for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))
        ]
        for process in self._processes:
            _forget_peak(process.pid)
        self._before_s = self._cpu_s()

    def cpu_s(self) -> float:
        """Return the CPU seconds used since the beginning."""
        return self._cpu_s() - self._before_s

    def peak_mib(self) -> float:
        """Return the sum of the peaks of resident memory."""
        return sum(_peak_mib(process.pid) for process in self._processes)

    def _cpu_s(self) -> float:
        return sum(
            times.user + times.system
            for times in (process.cpu_times() for process in self._processes)
        )


def timed(
    commands: Sequence[Sequence[str | Path]],
    *,
    client_pids: Iterable[int] = (),
    server_pids: Iterable[int] = (),
    cwd: Path | None = None,
) -> Sample:
    """Run commands one after the other and return what they took together.

    Args:
        commands: Each as its words; output is discarded.
        client_pids: Daemons that work for the commands; counted on their side.
        server_pids: Whom the commands fetch from.
        cwd: Folder to run in.

    Raises:
        CommandFailed: One of them ended with another code than 0.
    """
    client, server = Usage(client_pids), Usage(server_pids)
    cpu_s = 0.0
    peak_kib = 0
    started_s = time.monotonic()
    for command in commands:
        with subprocess.Popen(
            command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            assert process.stderr is not None
            complaint = process.stderr.read()
            _, status, spent = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise CommandFailed(f"{command[0]}: {complaint.decode(errors='replace')[-500:]}")
        cpu_s += spent.ru_utime + spent.ru_stime
        peak_kib = max(peak_kib, spent.ru_maxrss)
    return Sample(
        seconds=time.monotonic() - started_s,
        client_cpu_s=cpu_s + client.cpu_s(),
        server_cpu_s=server.cpu_s(),
        client_rss_mib=peak_kib / 1024 + client.peak_mib(),
        server_rss_mib=server.peak_mib(),
    )


def warm_pages(folder: Path, size_bytes: int) -> None:
    """Touch and free `size_bytes` of memory in the file system of `folder`.

    A virtual machine may give free pages back to its host, and the first touch of a page costs ten
    times as much afterwards. Each contender is timed right after this, so that all find their
    pages as the machine's own.
    """
    ballast = folder / "ballast"
    piece = bytes(MIB)
    with ballast.open("wb", buffering=0) as stream:
        for _ in range(-(-size_bytes // MIB)):
            stream.write(piece)
    ballast.unlink()


def _forget_peak(pid: int) -> None:
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # not Linux, or not allowed: the peak since the process started stands


def _peak_mib(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return float(psutil.Process(pid).memory_info().rss) / MIB

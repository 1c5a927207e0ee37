"""Timing commands: wall clock, CPU of the commands and of the servers behind them, memory.

What is timed is the whole command as a user types it, interpreter start included.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.network import wire_bytes
from bench.results import Sample
from bench.usage import PeakWatch, Usage

MIB = 1 << 20
FIRST_LOOK_S = 0.005  # short commands too are seen before they end
LOOK_EVERY_S = 0.1
FIND_CHILDREN_EVERY_S = 1.0  # goes through all of /proc
COMPLAINT_BYTES = 500


class CommandFailed(Exception):
    """A contender ended with an error, late, or with wrong bytes: its runs are worth nothing."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is run; its output is discarded, its complaints are kept for the report."""

    words: Sequence[str | Path]
    cwd: Path | None = None
    env: Mapping[str, str] | None = None


def timed(
    *stages: Sequence[Command],
    timeout_s: float,
    client_pids: Iterable[int] = (),
    server_pids: Iterable[int] = (),
) -> Sample:
    """Run stages one after the other and return what they took together.

    Args:
        stages: The commands of one stage start at once; it ends with the last of them.
        timeout_s: What all may take together.
        client_pids: Daemons that work for the commands; counted on their side.
        server_pids: Whom the commands fetch from.

    Raises:
        CommandFailed: One of them ended with another code than 0, or not in time.
    """
    client, server = Usage(client_pids), Usage(server_pids)
    wire_before = wire_bytes()
    started_s = time.monotonic()
    deadline_s = started_s + timeout_s
    spent = [_run_together(stage, deadline_s) for stage in stages]
    seconds = time.monotonic() - started_s
    wire_after = wire_bytes()
    return Sample(
        seconds=seconds,
        client_cpu_s=sum(one.cpu_s for one in spent) + client.cpu_s(),
        server_cpu_s=server.cpu_s(),
        client_rss_mib=max((one.peak_mib for one in spent), default=0.0) + client.peak_mib(),
        server_rss_mib=server.peak_mib(),
        wire_bytes=None if wire_before is None else (wire_after or 0) - wire_before,
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


@dataclass(slots=True)
class _Spent:
    cpu_s: float = 0.0
    peak_mib: float = 0.0


class _Running:
    """One command under way; its process group is its own, so that all of it can be ended."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `end`
        try:
            self.process = subprocess.Popen(
                command.words,
                cwd=command.cwd,
                env=command.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._complaints,
                start_new_session=True,
            )
            self.watch = PeakWatch(self.process.pid)
            self.descriptor = os.pidfd_open(self.process.pid)
        except BaseException:
            self._complaints.close()
            raise

    def reap(self) -> float:
        """Take the end of the process and return its CPU seconds.

        Raises:
            CommandFailed: It ended with another code than 0.
        """
        _, status, spent = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.returncode:
            raise CommandFailed(
                f"{Path(self.command.words[0]).name} ended with {self.process.returncode}: "
                f"{self.complaint()}"
            )
        return spent.ru_utime + spent.ru_stime

    def complaint(self) -> str:
        """Return the end of what it wrote to stderr."""
        self._complaints.seek(0)
        said = self._complaints.read().decode(errors="replace").strip()
        return said[-COMPLAINT_BYTES:] or "it says nothing"

    def end(self) -> None:
        """Free what it holds; end it when it still runs."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.descriptor)
        self._complaints.close()


def _run_together(stage: Sequence[Command], deadline_s: float) -> _Spent:
    spent = _Spent()
    running: dict[int, _Running] = {}
    watches: list[PeakWatch] = []
    poll = select.poll()
    try:
        for command in stage:
            one = _Running(command)
            running[one.descriptor] = one
            watches.append(one.watch)
            poll.register(one.descriptor, select.POLLIN)
        children_due_s = time.monotonic() + FIND_CHILDREN_EVERY_S
        wait_s = FIRST_LOOK_S
        while running:
            for descriptor, _ in poll.poll(wait_s * 1000):
                poll.unregister(descriptor)
                one = running[descriptor]
                try:
                    spent.cpu_s += one.reap()
                finally:
                    running.pop(descriptor).end()
            wait_s = min(2 * wait_s, LOOK_EVERY_S)
            now_s = time.monotonic()
            if running and now_s > deadline_s:
                name = Path(next(iter(running.values())).command.words[0]).name
                raise CommandFailed(f"{name} was not done in time")
            for one in running.values():
                one.watch.look(for_children=now_s >= children_due_s)
            if now_s >= children_due_s:
                children_due_s = now_s + FIND_CHILDREN_EVERY_S
    finally:
        for one in running.values():
            one.end()
    spent.peak_mib = sum(watch.peak_mib() for watch in watches)
    return spent

"""A network of the bench's own: its bytes can be counted, its lines made narrow, nobody overhears.

`enter` runs the bench again inside a new network namespace whose only interface is loopback. A
`Room` is a further namespace behind a line (a veth pair) of its own, for a server that shall be
slow or whose traffic is counted. All of it ends with the processes that hold it; nothing of the
machine's own network is touched. Needs Linux, and root or user namespaces.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from bench.programs import Unavailable, need_program, system_program

INSIDE = "MIRRORNODE_BENCH_INSIDE"
LOOPBACK = "127.0.0.1"
ROOM_MTU_BYTES = 65535  # as loopback: headers and packet rates play no part
BURST_BYTES = 1 << 20
QUEUE_S = 0.1
_numbers = itertools.count(1)


def enter() -> None:
    """Start this program again in a namespace; return when that is not possible, or done.

    Without a namespace the bench works too, but counts no bytes and has no rooms.
    """
    if INSIDE in os.environ:
        run("ip", "link", "set", "lo", "up")
        return
    unshare = system_program("unshare")
    if unshare is None or system_program("ip") is None:
        return
    flags = ["--net"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net"]
    if subprocess.run([unshare, *flags, "true"], capture_output=True, check=False).returncode:
        return
    words = [unshare, *flags, sys.executable, "-m", "bench", *sys.argv[1:]]
    os.execve(unshare, words, {**os.environ, INSIDE: "1"})


def is_private() -> bool:
    """Tell whether this process runs in a namespace of the bench."""
    return INSIDE in os.environ


def wire_bytes() -> int | None:
    """Return what has crossed loopback and the lines to the rooms; None in a shared namespace."""
    if not is_private():
        return None
    return sum(
        received if name == "lo" else received + sent
        for name, (received, sent) in _counters("self").items()
    )


class Room:
    """A namespace with one line to the bench's; a context manager."""

    def __init__(self, *, mtu_bytes: int = ROOM_MTU_BYTES) -> None:
        """Open it.

        Raises:
            Unavailable: There are no namespaces here.
        """
        if not is_private():
            raise Unavailable("needs network namespaces (root, or user namespaces)")
        number = next(_numbers)
        self.host = f"10.77.{number}.2"
        """Address of who is in the room."""
        self.our_host = f"10.77.{number}.1"
        """Address of the bench on this line."""
        self.ours, self.theirs = f"bench{number}", f"room{number}"
        self._holder = subprocess.Popen(
            [need_program("unshare"), "--net", "sh", "-c", "echo; exec sleep infinity"],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()  # it is in its namespace now
        try:
            self._join(mtu_bytes)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.send_signal(signal.SIGKILL)
        self._holder.wait()
        if self._holder.stdout is not None:
            self._holder.stdout.close()

    def inside(self, words: Sequence[str | Path]) -> list[str | Path]:
        """Return the command that runs `words` in the room, under the same process id."""
        return [need_program("nsenter"), f"--net=/proc/{self._holder.pid}/ns/net", "--", *words]

    def sent_bytes(self) -> int:
        """Return what has left the room so far."""
        return _counters(str(self._holder.pid))[self.theirs][1]

    def narrow(self, rate_bytes_per_s: int) -> None:
        """Let no more than this leave the room, whatever program sends it."""
        self.run_inside(
            *("tc", "qdisc", "add", "dev", self.theirs, "root", "tbf"),
            *("rate", f"{rate_bytes_per_s * 8}bit", "burst", f"{BURST_BYTES}"),
            *("latency", f"{QUEUE_S * 1000:.0f}ms"),
        )

    def run_inside(self, *words: str) -> None:
        """Run a short command in the room."""
        run(*map(str, self.inside(words)))

    def lay_line(self, pid: str) -> None:
        """Make the two ends of the line, `theirs` in the namespace of process `pid`."""
        run(
            "ip",
            "link",
            "add",
            self.ours,
            "type",
            "veth",
            "peer",
            "name",
            self.theirs,
            "netns",
            pid,
        )

    def _join(self, mtu_bytes: int) -> None:
        self.lay_line(str(self._holder.pid))
        mtu = str(mtu_bytes)
        run("ip", "addr", "add", f"{self.our_host}/30", "dev", self.ours)
        run("ip", "link", "set", self.ours, "mtu", mtu, "up")
        self.run_inside("ip", "link", "set", "lo", "up")
        self.run_inside("ip", "addr", "add", f"{self.host}/30", "dev", self.theirs)
        self.run_inside("ip", "link", "set", self.theirs, "mtu", mtu, "up")


def _counters(pid: str) -> dict[str, tuple[int, int]]:
    """Return bytes received and sent of each interface in the namespace of a process."""
    lines = Path(f"/proc/{pid}/net/dev").read_text(encoding="ascii").splitlines()[2:]
    counted = {}
    for line in lines:
        name, _, numbers = line.partition(":")
        fields = numbers.split()
        counted[name.strip()] = int(fields[0]), int(fields[8])
    return counted


def run(program: str, *words: str) -> None:
    """Run a short command of the system.

    Raises:
        Unavailable: The program is not installed, or may not do that here.
    """
    done = subprocess.run(
        [need_program(program), *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Unavailable(f"{' '.join((program, *words))}: {done.stderr.strip()}")

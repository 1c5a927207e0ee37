"""A room at the end of a long line: by netem where the kernel has it, else by a program of ours."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from bench.contenders.residents import TESTS
from bench.network import Room, run
from bench.programs import Unavailable, rival_environment
from bench.servers import Server

MTU_BYTES = 1500
CONGESTION = "/proc/sys/net/ipv4/tcp_congestion_control"  # of a namespace
NETEM_QUEUE_PACKETS = "100000"
TUN_QUEUE_PACKETS = "10000"
BY_NETEM = "tc netem"
BY_PROGRAM = "a program of the bench, which takes CPU time of its own (this kernel has no netem)"


@dataclass(frozen=True, slots=True)
class Line:
    """What the line does to packets; loss on the way from the room only."""

    rate_bytes_per_s: int
    rtt_s: float
    loss: float


class LongRoom(Room):
    """A namespace behind a slow, long, lossy line; `made_by` says how it was done."""

    def __init__(self, line: Line, scratch: Path, congestion: str = "") -> None:
        """Open it; `scratch` holds a log.

        Args:
            congestion: Name of the TCP algorithm of whoever sends from the room; "" for that of
                the machine.

        Raises:
            Unavailable: There are no namespaces here, or neither netem nor TUN devices.
        """
        self.made_by = BY_NETEM
        self._line = line
        self._scratch = scratch
        self._program: Server | None = None
        super().__init__(mtu_bytes=MTU_BYTES)
        if congestion:
            self.run_inside("sh", "-c", f"echo {congestion} > {CONGESTION}")

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if self._program is not None:
            self._program.stop()

    def lay_line(self, pid: str) -> None:
        """See `Room.lay_line`."""
        super().lay_line(pid)
        netem = [
            *("root", "netem", "delay", f"{self._line.rtt_s * 500:g}ms"),
            *("rate", f"{self._line.rate_bytes_per_s * 8}bit", "limit", NETEM_QUEUE_PACKETS),
        ]
        loss = ["loss", f"{self._line.loss * 100:g}%"]
        try:
            run("tc", "qdisc", "add", "dev", self.ours, *netem)
            self.run_inside("tc", "qdisc", "add", "dev", self.theirs, *netem, *loss)
        except Unavailable:
            run("ip", "link", "del", self.ours)
            self._lay_by_program(pid)

    def _lay_by_program(self, pid: str) -> None:
        if not Path("/dev/net/tun").exists():
            raise Unavailable("neither netem nor TUN devices in this kernel")
        self.made_by = BY_PROGRAM
        line = self._line
        figures = (line.rate_bytes_per_s, line.rtt_s / 2, line.loss)
        self._program = Server(
            [sys.executable, "-m", "bench.rival_programs.long_line", self.ours, self.theirs]
            + [str(figure) for figure in figures],
            self._scratch / "long-line.log",
            env=rival_environment(self._scratch) | {"PYTHONPATH": str(TESTS)},
        )
        for device in (self.ours, self.theirs):
            run("ip", "link", "set", device, "txqueuelen", TUN_QUEUE_PACKETS)
        run("ip", "link", "set", self.theirs, "netns", pid)

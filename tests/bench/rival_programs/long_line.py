"""A long line in user space, for kernels without netem: rate, delay and loss between TUNs.

    long_line NEAR FAR RATE_BYTES_PER_S DELAY_S LOSS

Makes the devices NEAR and FAR and carries what enters one to the other: RATE each way, DELAY_S
each way, and from FAR to NEAR a share LOSS of the packets is dropped, always the same ones. What
queues for longer than QUEUE_S is dropped too. Takes most of a core at 1 Gbit/s.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import struct
import sys
import time
from collections import deque

from bench.rival_programs.resident import say_ready

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MAX_PACKET_BYTES = 65536
READ_AT_ONCE = 64
QUEUE_S = 0.05


def open_device(name: str) -> int:
    """Make a TUN device and return its descriptor; it goes when that is closed."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


class Way:
    """One direction of the line. Driven by: `carry`, with the time."""

    def __init__(
        self, entry: int, leave: int, rate_bytes_per_s: float, delay_s: float, loss: float
    ) -> None:
        self.entry, self.leave = entry, leave
        self._rate, self._delay_s, self._loss = rate_bytes_per_s, delay_s, loss
        self._dice = random.Random(1)
        self._free_s = 0.0
        self._under_way: deque[tuple[float, bytes]] = deque()

    def take(self, now_s: float) -> None:
        """Take what waits at the entry, a bounded number of packets."""
        for _ in range(READ_AT_ONCE):
            try:
                packet = os.read(self.entry, MAX_PACKET_BYTES)
            except BlockingIOError:
                return
            start_s = max(now_s, self._free_s)
            if start_s - now_s > QUEUE_S:
                continue
            self._free_s = start_s + len(packet) / self._rate
            if self._loss == 0 or self._dice.random() >= self._loss:
                self._under_way.append((self._free_s + self._delay_s, packet))

    def give(self, now_s: float) -> float:
        """Let go what has arrived; return when the next will, infinity if there is none."""
        under_way = self._under_way
        while under_way and under_way[0][0] <= now_s:
            try:
                os.write(self.leave, under_way.popleft()[1])
            except BlockingIOError:
                continue  # the device's queue is full: the packet is lost
        return under_way[0][0] if under_way else float("inf")


def carry(ways: list[Way]) -> None:
    """Carry packets until the process is ended."""
    poll = select.epoll()
    for way in ways:
        poll.register(way.entry, select.EPOLLIN)
    entries = {way.entry: way for way in ways}
    wait_s = -1.0
    while True:
        ready = poll.poll(wait_s)
        now_s = time.monotonic()
        for descriptor, _ in ready:
            entries[descriptor].take(now_s)
        due_s = min(way.give(now_s) for way in ways)
        wait_s = -1.0 if due_s == float("inf") else max(0.0, due_s - now_s)


def main() -> None:
    """Do what the command line says."""
    near, far = open_device(sys.argv[1]), open_device(sys.argv[2])
    rate, delay_s, loss = map(float, sys.argv[3:])
    say_ready()
    carry([Way(near, far, rate, delay_s, 0.0), Way(far, near, rate, delay_s, loss)])


if __name__ == "__main__":
    main()

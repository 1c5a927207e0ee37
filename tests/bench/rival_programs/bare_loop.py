"""The least that a verified fetch can be: receive, SHA-256, write; what it reaches is the ceiling.

    bare_loop.py HOST:PORT URL_PATH OUT SUMS CONNECTIONS

SUMS holds the SHA-256 of each block of 1 MiB, one after the other. No peers to find, no tree to
walk, no second source, no resuming, no TLS.
"""

import hashlib
import os
import socket
import sys
import threading

BLOCK_BYTES = 1 << 20
RUN_BLOCKS = 16
DIGEST_BYTES = 32


class Lane(threading.Thread):
    """One connection; takes every n-th run of blocks."""

    def __init__(self, address: tuple[str, int], path: str, descriptor: int, sums: bytes) -> None:
        super().__init__()
        self.address, self.path, self.descriptor, self.sums = address, path, descriptor, sums
        self.runs: list[tuple[int, int]] = []
        self.is_complete = False

    def run(self) -> None:
        """Fetch all runs."""
        buffer = memoryview(bytearray(BLOCK_BYTES))
        with socket.create_connection(self.address) as stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start, stop in self.runs:
                stream.sendall(
                    f"GET {self.path} HTTP/1.1\r\nHost: bench\r\n"
                    f"Range: bytes={start}-{stop - 1}\r\n\r\n".encode()
                )
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += stream.recv(1)
                for position in range(start, stop, BLOCK_BYTES):
                    block = buffer[: min(BLOCK_BYTES, stop - position)]
                    if stream.recv_into(block, len(block), socket.MSG_WAITALL) != len(block):
                        return
                    at = position // BLOCK_BYTES * DIGEST_BYTES
                    if hashlib.sha256(block).digest() != self.sums[at : at + DIGEST_BYTES]:
                        return
                    os.pwrite(self.descriptor, block, position)
        self.is_complete = True


def main() -> None:
    """Fetch; end with 1 when a lane did not get all of its blocks."""
    where, path, out, sums_path, connections = sys.argv[1:]
    host, _, port = where.partition(":")
    with open(sums_path, "rb") as stream:
        sums = stream.read()
    with socket.create_connection((host, int(port))) as probe:
        probe.sendall(f"HEAD {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
        head = probe.makefile("rb").read().decode().lower()
    size = int(head.split("content-length:")[1].split("\r\n")[0])
    descriptor = os.open(out, os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(descriptor, 0, size)
    lanes = [Lane((host, int(port)), path, descriptor, sums) for _ in range(int(connections))]
    step = RUN_BLOCKS * BLOCK_BYTES
    for number, start in enumerate(range(0, size, step)):
        lanes[number % len(lanes)].runs.append((start, min(start + step, size)))
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    os.close(descriptor)
    sys.exit(0 if all(lane.is_complete for lane in lanes) else "a lane failed")


if __name__ == "__main__":
    main()

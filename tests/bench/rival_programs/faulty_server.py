"""An HTTP server with ranges that goes wrong as told: it stalls, trickles, or lies.

    faulty_server HOST:PORT PATH stall|trickle|lie

stall    each answer stops after 99 % of its bytes; the connection stays open.
trickle  one kilobyte a second.
lie      the right length, every byte zero.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.rival_programs.resident import say_ready

PIECE_BYTES = 256 * 1024
STALL_AFTER = 0.99
TRICKLE_BYTES = 100
TRICKLE_EVERY_S = 0.1


class FaultyServer(ThreadingHTTPServer):
    """Serves one file, badly."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], path: Path, fault: str) -> None:
        super().__init__(address, FaultyRequest)
        self.descriptor = os.open(path, os.O_RDONLY)
        self.size_bytes = os.fstat(self.descriptor).st_size
        self.fault = fault

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that lose patience hang up."""


class FaultyRequest(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def do_HEAD(self) -> None:
        """Answer with the truth about the size."""
        self._head(0, self.server.size_bytes, ranged=False)

    def do_GET(self) -> None:
        """Answer with the head of a healthy server and the body of this one."""
        size = self.server.size_bytes
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, stop = 0, size
        if asked:
            start = min(int(asked[1]), size)
            stop = min(int(asked[2]) + 1, size) if asked[2] else size
        self._head(start, stop, ranged=asked is not None)
        if self.server.fault == "stall":
            self._send(start, start + int((stop - start) * STALL_AFTER))
            threading.Event().wait()
        elif self.server.fault == "trickle":
            for position in range(start, stop, TRICKLE_BYTES):
                self._send(position, min(position + TRICKLE_BYTES, stop))
                time.sleep(TRICKLE_EVERY_S)
        else:
            self._send(start, stop, lie=True)

    def log_message(self, format: str, *args: object) -> None:
        """Write no log."""

    def _head(self, start: int, stop: int, *, ranged: bool) -> None:
        self.send_response(206 if ranged else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{self.server.size_bytes}")
        self.end_headers()

    def _send(self, start: int, stop: int, *, lie: bool = False) -> None:
        for position in range(start, stop, PIECE_BYTES):
            data = os.pread(self.server.descriptor, min(PIECE_BYTES, stop - position), position)
            self.wfile.write(bytes(len(data)) if lie else data)


def main() -> None:
    """Do what the command line says, until SIGTERM."""
    host, _, port = sys.argv[1].partition(":")
    server = FaultyServer((host, int(port)), Path(sys.argv[2]), sys.argv[3])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    say_ready()
    signal.sigwait([signal.SIGTERM])
    os._exit(0)  # stalled answers never end


if __name__ == "__main__":
    main()

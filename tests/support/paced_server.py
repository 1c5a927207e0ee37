"""An HTTP server of one file, or of a folder's, at a set rate that counts what it sends."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

PIECE_BYTES = 16 * 1024
SEND_BUFFER_BYTES = 64 * 1024  # what is sent is counted: it must not wait in here


@dataclass
class PacedServer:
    """The running server; wait for `sent_bytes` with `wait_sent`.

    Its rate may be changed while it runs; while `refuses` is set it answers 503 to everything.
    """

    url: str
    rate_bytes_per_s: float
    refuses: bool = False
    sent_bytes: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)
    _free_at: float = 0.0

    def pace(self, count: int) -> float:
        """Count bytes and return how long to wait after them; all connections share the rate."""
        with self.changed:
            self.sent_bytes += count
            self.changed.notify_all()
            now = time.monotonic()
            self._free_at = max(self._free_at, now - 0.05) + count / self.rate_bytes_per_s
            return self._free_at - now

    def wait_sent(self, sent_bytes: int, timeout_s: float) -> bool:
        """Wait until so many bytes were sent in all; False when they were not in time."""
        with self.changed:
            return self.changed.wait_for(lambda: self.sent_bytes >= sent_bytes, timeout_s)


@contextlib.contextmanager
def paced_server(path: Path, rate_bytes_per_s: float) -> Iterator[PacedServer]:
    """Serve on loopback for the length of the block: a file under any URL, a folder's by name."""
    state = PacedServer("", rate_bytes_per_s)
    is_folder = path.is_dir()
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version: ClassVar[str] = "HTTP/1.1"  # type: ignore[misc]  # the base sets it on the class too
        disable_nagle_algorithm = True

        def setup(self) -> None:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            super().setup()

        def do_GET(self) -> None:
            place = path / Path(self.path).name if is_folder else path
            if state.refuses or not place.is_file():
                self.send_response(503 if state.refuses else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            descriptor = os.open(place, os.O_RDONLY)
            try:
                self._send_file(descriptor, os.fstat(descriptor).st_size)
            finally:
                os.close(descriptor)

        def _send_file(self, descriptor: int, size: int) -> None:
            wanted = self.headers.get("Range", "")
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, stop = (int(first), int(last) + 1 if last else size) if wanted else (0, size)
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            self.send_header("Content-Length", str(stop - start))
            self.end_headers()
            try:
                while start < stop and not stopped.is_set():
                    piece = os.pread(descriptor, min(PIECE_BYTES, stop - start), start)
                    self.request.sendall(piece)
                    start += len(piece)
                    if (wait_s := state.pace(len(piece))) > 0:
                        stopped.wait(wait_s)
            except OSError:
                self.close_connection = True  # the client was killed

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Stay silent: clients are killed."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/{'' if is_folder else path.name}"
    try:
        yield state
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()

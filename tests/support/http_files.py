"""A small HTTP file server with scripted behaviour, for tests of mirrors.

Behaviour is a set of words: `no-range` ignores Range, `gzip` claims a compressed body, `wrong`
flips a byte, `redirect` answers with a redirect first, `etag-changes` shows another ETag each
time, `cut` ends each body early, `error` answers 503, `stall` accepts and stays silent.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote, urlsplit

CUT_BYTES = 3_000_000


@dataclass
class FileServer:
    """The running server; `requests` is its log of (method, path, Range)."""

    url: str
    files: dict[str, bytes]
    behaviour: set[str]
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    sent_bytes: int = 0
    stalled: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def file_server(files: dict[str, bytes], *behaviour: str) -> Iterator[FileServer]:
    """Serve `files` (paths without the leading slash) on loopback for the length of the block."""
    state = FileServer("", files, set(behaviour))

    class Handler(BaseHTTPRequestHandler):
        protocol_version: ClassVar[str] = "HTTP/1.1"  # type: ignore[misc]  # the base sets it on the class too

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path.lstrip("/"))
            wanted = self.headers.get("Range", "")
            state.requests.append((self.command, path, wanted))
            if "stall" in state.behaviour:
                state.stalled.wait(30)
                self.close_connection = True
                return
            if "error" in state.behaviour:
                self._answer(503, {}, b"down")
                return
            if "redirect" in state.behaviour and not path.startswith("moved/"):
                self._answer(302, {"Location": f"/moved/{path}?sig=1"}, b"")
                return
            body = state.files.get(path.removeprefix("moved/"))
            if body is None:
                self._answer(404, {}, b"nothing here")
                return
            self._send_file(body, wanted)

        def _send_file(self, body: bytes, wanted: str) -> None:
            if "wrong" in state.behaviour:
                body = bytes(byte ^ 1 for byte in body[:1]) + body[1:]
            headers = {"ETag": '"one"'}
            if "etag-changes" in state.behaviour:
                headers["ETag"] = f'"{len(state.requests)}"'
            if "gzip" in state.behaviour:
                headers["Content-Encoding"] = "gzip"
            if not wanted or "no-range" in state.behaviour:
                self._answer(200, headers, body)
                return
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, stop = int(first), int(last) + 1 if last else len(body)
            if start >= len(body):
                self._answer(416, {"Content-Range": f"bytes */{len(body)}"}, b"")
                return
            stop = min(stop, len(body))
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
            self._answer(206, headers, body[start:stop])

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if "cut" in state.behaviour and len(body) > CUT_BYTES:
                body = body[:CUT_BYTES]
                self.close_connection = True
            with contextlib.suppress(OSError):
                self.wfile.write(body)
                state.sent_bytes += len(body)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        state.stalled.set()
        server.shutdown()
        server.server_close()
        thread.join()

"""A room behind a webhook: takes POSTs, answers as scripted, remembers what it was told."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar


@dataclass
class WebhookServer:
    """The running server.

    Attributes:
        script: What the next posts are answered, status and body; then 200 and "ok".
        posts: Path with query, and the JSON, of each post.
        holds: While it is cleared, answers wait.
    """

    url: str
    script: list[tuple[int, str]] = field(default_factory=list)
    posts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    holds: threading.Event = field(default_factory=threading.Event)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, body in list(self.posts)]


@contextlib.contextmanager
def webhook_server(*script: tuple[int, str]) -> Iterator[WebhookServer]:
    """Serve on loopback for the length of the block; `url` ends in a secret path."""
    state = WebhookServer("", list(script))
    state.holds.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version: ClassVar[str] = "HTTP/1.1"  # type: ignore[misc]  # the base sets it on the class too

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.posts.append((self.path, json.loads(body)))
            status, answer = state.script.pop(0) if state.script else (200, "ok")
            state.holds.wait(30)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer.encode())))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(answer.encode())

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/services/T0SECRET/verysecret"
    try:
        yield state
    finally:
        state.holds.set()
        server.shutdown()
        server.server_close()
        thread.join()

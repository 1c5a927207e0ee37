"""A TCP server of canned answers: for HTTP that no honest server would speak."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Behaviour = Callable[["Visit"], None]


@dataclass
class RawServer:
    """The running server; `requests` holds the head of each request in the order they came."""

    port: int
    requests: list[str] = field(default_factory=list)
    connections: int = 0
    asked: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass
class Visit:
    """One connection, as the behaviour sees it."""

    server: RawServer
    sock: socket.socket
    number: int
    _kept: bytes = b""

    def head(self) -> str:
        """Return the next request head, "" when the client has left."""
        while b"\r\n\r\n" not in self._kept:
            try:
                more = self.sock.recv(65536)
            except OSError:
                return ""
            if not more:
                return ""
            self._kept += more
        head, _, self._kept = self._kept.partition(b"\r\n\r\n")
        self.server.requests.append(head.decode("latin-1"))
        self.server.asked.set()
        return self.server.requests[-1]

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def answer(
        self, body: bytes = b"", *, status: str = "200 OK", headers: str = "", length: int = -1
    ) -> None:
        """Send an answer; `headers` are whole lines, each with its line end."""
        size = len(body) if length < 0 else length
        self.send(f"HTTP/1.1 {status}\r\n{headers}Content-Length: {size}\r\n\r\n".encode() + body)

    def hang(self) -> None:
        """Say nothing more until the test is over or the client leaves."""
        self.sock.settimeout(0.02)
        while not self.server.stopped.is_set():
            try:
                if not self.sock.recv(1):
                    return
            except TimeoutError:
                continue
            except OSError:
                return


@contextlib.contextmanager
def raw_server(
    behaviour: Behaviour, *, context: ssl.SSLContext | None = None
) -> Iterator[RawServer]:
    """Run `behaviour` for each connection, in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = RawServer(listener.getsockname()[1])
    threads: list[threading.Thread] = []

    def visit(sock: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(sock.close)
            if context is not None:
                sock = stack.enter_context(context.wrap_socket(sock, server_side=True))
            behaviour(Visit(server, sock, number))

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            server.connections += 1
            threads.append(
                threading.Thread(target=visit, args=(sock, server.connections), daemon=True)
            )
            threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield server
    finally:
        server.stopped.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        for thread in threads:
            thread.join(5)

"""A company's HTTP proxy: tunnels for https, whole URLs for http, with or without a login.

Whatever host is asked for, the connection goes to one port of this machine.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from support.raw_server import Visit, raw_server


@dataclass
class StandInProxy:
    """The running proxy; `places` are the hosts or URLs it was asked for."""

    address: str
    places: list[str] = field(default_factory=list)


@contextlib.contextmanager
def stand_in_proxy(to_port: int, *, login: str = "", refusal: str = "") -> Iterator[StandInProxy]:
    """Run a proxy on loopback.

    Args:
        login: `user:password` that it insists on; "" for none.
        refusal: A status line that it answers everything with.
    """
    proxy = StandInProxy("")
    wanted = "Basic " + base64.b64encode(login.encode()).decode()

    def behaviour(visit: Visit) -> None:
        while head := visit.head():
            method, place, _ = head.split("\r\n")[0].split(" ")
            proxy.places.append(place)
            if login and f"Proxy-Authorization: {wanted}" not in head:
                visit.answer(status="407 Proxy Authentication Required")
            elif refusal:
                visit.answer(status=refusal)
            elif method == "CONNECT":
                visit.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _tunnel(visit.sock, to_port)
                return
            else:
                _forward(visit, head.replace(place, "/" + place.split("/", 3)[3], 1), to_port)

    with raw_server(behaviour) as server:
        proxy.address = f"127.0.0.1:{server.port}"
        yield proxy


def _forward(visit: Visit, head: str, to_port: int) -> None:
    lines = [line for line in head.split("\r\n") if not line.startswith("Proxy-")]
    request = "\r\n".join([*lines, "Connection: close", "", ""])
    with socket.create_connection(("127.0.0.1", to_port)) as there:
        there.sendall(request.encode("latin-1"))
        while piece := there.recv(65536):
            visit.send(piece)
            if b"\r\n\r\n" in piece and len(piece) < 65536:
                return  # small answers only: head and body in one piece


def _tunnel(here: socket.socket, to_port: int) -> None:
    with socket.create_connection(("127.0.0.1", to_port)) as there:

        def pump(source: socket.socket, sink: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while piece := source.recv(65536):
                    sink.sendall(piece)
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

        back = threading.Thread(target=pump, args=(there, here), daemon=True)
        back.start()
        pump(here, there)
        back.join()

"""A rival as a daemon: it says that it is ready, then does what `ask.py` asks, one at a time."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from pathlib import Path


def say_ready(**facts: str) -> None:
    """Tell the bench, on stdout, that we can be used."""
    print(json.dumps(facts), flush=True)


def answer(path: Path, work: Callable[[Sequence[str]], None]) -> None:
    """Do `work` for each request, until the process is ended."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        say_ready()
        while True:
            stream, _ = listener.accept()
            with stream:
                words = stream.makefile().readline().rstrip("\n").split("\x1f")
                try:
                    work(words)
                except Exception as exc:  # the boundary of one request: the asker is told
                    stream.sendall(f"{type(exc).__name__}: {exc}\n".encode())
                else:
                    stream.sendall(b"ok\n")

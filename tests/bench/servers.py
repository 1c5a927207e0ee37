"""Servers as processes: each says on stdout, in one line of JSON, that it can be used."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from bench.network import Room

READY_TIMEOUT_S = 120.0  # some hash or copy the content first
STOP_TIMEOUT_S = 15.0
LOG_TAIL = 800


class ServerFailed(Exception):
    """A server did not start or did not do as told."""


class Server:
    """A process that serves until it is stopped; a context manager."""

    def __init__(
        self,
        words: Sequence[str | Path],
        log: Path,
        *,
        room: Room | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready_timeout_s: float = READY_TIMEOUT_S,
    ) -> None:
        """Start it and wait until it is ready.

        Raises:
            ServerFailed: It is not, in time.
        """
        self._log = log
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                room.inside(words) if room else words,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stream,
            )
        try:
            self.ready = self._wait_ready(ready_timeout_s)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def stop(self) -> None:
        """End the process in order; kill it when it does not."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def log_tail(self) -> str:
        """Return the end of what it wrote to stderr."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:].strip()

    def _wait_ready(self, timeout_s: float) -> dict[str, Any]:
        """Return the first line that is a JSON object; libraries may print others before it."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline_s = time.monotonic() + timeout_s
        pending = b""
        while (left_s := deadline_s - time.monotonic()) > 0:
            if not select.select([descriptor], [], [], left_s)[0]:
                break
            data = os.read(descriptor, 65536)
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                if line.startswith(b"{"):
                    ready: dict[str, Any] = json.loads(line)
                    return ready
        raise ServerFailed(
            f"{self._log.stem} did not start: {self.log_tail() or 'it says nothing'}"
        )

"""Talking to a driver: a program that runs nodes of one implementation and does what it is asked.

Requests and answers are lines of JSON on its stdin and stdout; programs/kubo_driver.py says how.
"""

from __future__ import annotations

import json
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CALL_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0


class DriverError(Exception):
    """The program answered that it could not do something, or did not answer."""


class Driver:
    """One running program; calls are made one at a time."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        cwd: Path,
        environment: Mapping[str, str],
    ) -> None:
        """Start the program; what it says on stderr goes to `log`."""
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._unread = b""
        self._number = 0

    def call(self, verb: str, **arguments: object) -> Any:
        """Ask for something and return the result.

        Raises:
            DriverError: It failed, the program has ended, or the time is up. A late answer is
                passed over.
        """
        self._number += 1
        request = {"id": self._number, "verb": verb, **arguments}
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps(request, default=str).encode() + b"\n")
            stdin.flush()
        except OSError as exc:
            raise DriverError(f"the program has ended: {self._last_words()}") from exc
        deadline = time.monotonic() + CALL_TIMEOUT_S
        while True:
            answer = json.loads(self._read_line(verb, deadline))
            if answer["id"] != self._number:
                continue
            if "error" in answer:
                raise DriverError(f"{verb}: {answer['error']}")
            return answer["result"]

    def close(self) -> None:
        """End the program, kindly first."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read_line(self, verb: str, deadline: float) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise DriverError(f"{verb}: no answer in time")
                if not (arrived := stdout.read1()):  # type: ignore[attr-defined]  # buffered
                    raise DriverError(f"the program has ended: {self._last_words()}")
                self._unread += arrived
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]

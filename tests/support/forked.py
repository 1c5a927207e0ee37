"""Commands of mirrornode in processes that need not import it first.

Two thirds of what it costs to start a node is importing: 1900 modules, half of them libp2p's. So
one process imports them once, and is forked for every command; each has its own arguments,
environment, folder and output, and is signalled, killed and waited for like any other. That
`python -m mirrornode_cli` itself starts is for the tests that say so, see `nodes.start`.

Not for commands below another one, such as `env`, nor for anything but Linux.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

from support.netns import enter_network

PRELOADED = (
    "mirrornode_cli.main",
    "mirrornode_cli.commands.add",
    "mirrornode_cli.commands.get",
    "mirrornode_cli.commands.serve",
    "mirrornode.client",
    "mirrornode.daemon",
    "mirrornode.swarm.island",
)
MAX_MESSAGE_BYTES = 1 << 17
STARTED = "started"


class Process(Protocol):
    """What tests need of `subprocess.Popen[str]`; its methods do what those do."""

    stdout: IO[str] | None

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...
    def communicate(self, input: None = None, timeout: float | None = None) -> tuple[str, str]: ...


class Forked:
    """A command in a process of its own; a `Process`."""

    def __init__(
        self,
        server: ForkServer,
        pid: int,
        arguments: Sequence[str],
        stdout: IO[str],
        stderr: IO[str] | None,
    ) -> None:
        self._server = server
        self.pid = pid
        self.args = arguments
        self.stdout: IO[str] | None = stdout
        self.stderr = stderr

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the signal that ended it; None while it runs."""
        return self._server.code(self.pid, 0)

    def poll(self) -> int | None:
        """Return the exit code if it has ended."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended.

        Raises:
            subprocess.TimeoutExpired: It runs on.
        """
        code = self._server.code(self.pid, timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def send_signal(self, sig: int) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, input: None = None, timeout: float | None = None) -> tuple[str, str]:
        """Return all that it writes, once it has ended.

        Raises:
            subprocess.TimeoutExpired: It runs on; what it wrote so far is in the error.
        """
        said = ["", ""]

        def read(at: int, pipe: IO[str]) -> None:
            with pipe:
                for line in pipe:
                    said[at] += line

        pipes = enumerate((self.stdout, self.stderr))
        readers = [threading.Thread(target=read, args=one, daemon=True) for one in pipes if one[1]]
        for reader in readers:
            reader.start()
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired as exc:
            raise subprocess.TimeoutExpired(self.args, exc.timeout, *said) from None
        for reader in readers:
            reader.join()
        return said[0], said[1]


class ForkServer:
    """The process that has imported everything, as this process sees it."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        self._told = threading.Condition()
        self._started: list[int] = []
        self._codes: dict[int, int] = {}
        self._asking = threading.Lock()
        threading.Thread(target=self._listen, name="forked", daemon=True).start()
        atexit.register(self.close)

    def start(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        cwd: Path | None,
        stderr: IO[bytes] | None = None,
        network: str = "",
    ) -> Forked:
        """Start a command; its output is piped, but for what goes to `stderr`.

        Args:
            network: The network namespace to run in; empty for that of this process.
        """
        ours, theirs = zip(*(os.pipe() for _ in range(1 if stderr else 2)), strict=True)
        fds = [*theirs, *([stderr.fileno()] if stderr else [])]
        asked = {
            "arguments": [*arguments],
            "env": dict(env),
            "cwd": str(cwd or Path.cwd()),
            "network": network,
        }
        with self._asking:
            socket.send_fds(self._control, [json.dumps(asked).encode()], fds)
            with self._told:
                if not self._told.wait_for(lambda: self._started, 60):
                    raise AssertionError("the process that is forked does not answer")
                pid = self._started.pop()
        for fd in theirs:
            os.close(fd)
        pipes = [os.fdopen(fd, encoding="utf-8") for fd in ours]
        return Forked(self, pid, arguments, pipes[0], pipes[1] if len(pipes) == 2 else None)

    def code(self, pid: int, timeout: float | None) -> int | None:
        """Return how a process ended; None when it has not after `timeout`."""
        with self._told:
            self._told.wait_for(lambda: pid in self._codes, timeout)
            return self._codes.get(pid)

    def close(self) -> None:
        """End it; what it has started runs on."""
        self._control.shutdown(socket.SHUT_RDWR)
        self._process.wait()
        self._control.close()

    def _listen(self) -> None:
        while message := self._control.recv(MAX_MESSAGE_BYTES):
            word, pid, code = json.loads(message)
            with self._told:
                if word == STARTED:
                    self._codes.pop(pid, None)  # of one that had its number before
                    self._started.append(pid)
                else:
                    self._codes[pid] = code
                self._told.notify_all()


@functools.cache
def fork_server() -> ForkServer:
    """Return the one of this process."""
    return ForkServer()


def _main() -> int:
    """Fork for each request until nobody is there any more; in a fork, run the command."""
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # what is collected in a fork is its own: looking at the rest would copy it
    assert threading.active_count() == 1, "a fork has only one of its threads"
    from mirrornode_cli.main import main

    with socket.socket(fileno=int(sys.argv[1])) as control:
        arguments = _fork_for(control)
    return main(arguments) if arguments is not None else 0


def _fork_for(control: socket.socket) -> list[str] | None:
    """Return in each fork what it is to run, and None in the end."""
    woken, wakes = os.pipe()
    for fd in (woken, wakes):
        os.set_blocking(fd, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(wakes)
    running = 0
    while True:
        watched: list[socket.socket | int] = [control, woken]
        ready, _, _ = select.select(watched, [], [])
        if woken in ready:
            os.read(woken, 1 << 10)
            while running and (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                running -= 1
                code = os.waitstatus_to_exitcode(ended[1])
                control.send(json.dumps(["ended", ended[0], code]).encode())
        if control in ready:
            message, fds, _, _ = socket.recv_fds(control, MAX_MESSAGE_BYTES, 2)
            if not message:
                return None
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for fd in (woken, wakes):
                    os.close(fd)
                return _become(json.loads(message), fds)
            running += 1
            for fd in fds:
                os.close(fd)
            control.send(json.dumps([STARTED, pid, 0]).encode())


def _become(asked: dict[str, Any], fds: Sequence[int]) -> list[str]:
    """Take over environment, folder and output of a request, and return its arguments."""
    for number, fd in enumerate(fds, start=1):
        os.dup2(fd, number)
        os.close(fd)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # until it ends
    sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    if asked["network"]:
        enter_network(asked["network"])
    arguments: list[str] = asked["arguments"]
    sys.argv[1:] = arguments
    return arguments


if __name__ == "__main__":
    sys.exit(_main())

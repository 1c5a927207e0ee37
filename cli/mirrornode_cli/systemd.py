"""Installs, removes and looks at the unit of a node: files and `systemctl`, no text of its own.

Everything may be done again: what is as it should be stays untouched. A unit that somebody else
wrote is never replaced.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mirrornode.errors import MirrorError, PathRefused
from mirrornode_cli.systemd_unit import ENVIRONMENT_NAME, MARK, environment_text

UNIT = "mirrornode.service"
BOOTED = Path("/run/systemd/system")  # sd_booted(3)
SYSTEMCTL_TIMEOUT_S = 150.0  # `start` waits for the program, `stop` for its end

Run = Callable[[Sequence[str]], tuple[int, str]]
"""Runs `systemctl` with arguments; returns its exit code and what it wrote."""


@dataclass
class Systemd:
    """One service manager: the system's or this user's.

    Attributes:
        done: What was done so far, a line each.
    """

    folder: Path
    run: Run
    is_user: bool
    done: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.folder / UNIT

    @property
    def command(self) -> str:
        """What a user types to reach this manager."""
        return "systemctl --user" if self.is_user else "sudo systemctl"

    def install(self, text: str, *, starts: bool) -> None:
        """Write the unit, and have it started at boot or login; `starts` does so now, too.

        Raises:
            MirrorError: systemctl says no, or the unit there is somebody else's.
            PathRefused: The unit cannot be written.
        """
        before = self._ours()
        if before == text:
            self.done.append(f"{self.path} is as it should be")
        else:
            _write(self.path, text, 0o644)
            self.done.append(f"{'replaced' if before is not None else 'wrote'} {self.path}")
            self._do("daemon-reload")
        self._do("enable", UNIT)
        if starts:
            # A unit that changed only counts after a new start.
            self._do("restart" if before not in (None, text) else "start", UNIT)

    def uninstall(self) -> None:
        """Stop the node and remove its unit; nothing to do where there is none.

        Raises:
            MirrorError: systemctl says no, or the unit is somebody else's.
        """
        if self._ours() is None:
            self.done.append(f"there is no {self.path}")
            return
        self._do("disable", "--now", UNIT)
        try:
            self.path.unlink()
        except OSError as exc:
            raise PathRefused(self.path, "remove", exc.strerror or str(exc)) from exc
        self.done.append(f"removed {self.path}")
        self._do("daemon-reload")

    def state(self) -> dict[str, str]:
        """Return whether the unit is there, enabled and active, in systemctl's words."""
        installed = self.path.exists()
        words = {"unit": str(self.path), "installed": "yes" if installed else "no"}
        for question in ("is-enabled", "is-active"):
            _, answer = self.run([question, UNIT])
            words[question.removeprefix("is-")] = (answer.splitlines() or ["unknown"])[0]
        return words

    def _ours(self) -> str | None:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as exc:
            raise PathRefused(self.path, "read", str(exc)) from exc
        if not text.startswith(MARK):
            raise MirrorError(
                f"{self.path} was not written by this command; move it away, then try again"
            )
        return text

    def _do(self, *arguments: str) -> None:
        code, answer = self.run(arguments)
        if code:
            said = " ".join(answer.split()) or f"exit code {code}"
            raise MirrorError(
                f"`{self.command} {' '.join(arguments)}` failed: {said}; "
                f"done before that: {'; '.join(self.done) or 'nothing'}"
            )
        self.done.append(f"ran {self.command} {' '.join(arguments)}")


def keep_environment(home: Path, kept: Mapping[str, str]) -> str:
    """Write the environment of the service unless there is one; returns what was done, or "".

    Raises:
        PathRefused: It cannot be written.
    """
    path = home / ENVIRONMENT_NAME
    if path.exists():
        return f"left {path} as it is"
    if not kept:
        return ""
    # It may hold the password of a proxy.
    _write(path, environment_text(kept), 0o600)
    return f"kept {', '.join(kept)} of this shell in {path}"


def find_systemctl(*, is_user: bool, booted: Path = BOOTED) -> Run:
    """Return what runs this machine's `systemctl`.

    Raises:
        MirrorError: systemd does not run here; the message says what to do instead.
    """
    program = shutil.which("systemctl")
    if program is None or not booted.is_dir():
        raise MirrorError(
            "systemd does not run on this machine. Run a container with docs/deploy/Containerfile, "
            "or start the node at boot with a line for `crontab -e`: "
            "@reboot mirrornode serve >>$HOME/mirrornode.log 2>&1 "
            "(with the full path of mirrornode)"
        )
    scope = ["--user"] if is_user else []

    def run(arguments: Sequence[str]) -> tuple[int, str]:
        try:
            done = subprocess.run(
                [program, *scope, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=SYSTEMCTL_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 1, f"no answer within {SYSTEMCTL_TIMEOUT_S:.0f} s"
        except OSError as exc:
            return 1, str(exc)
        return done.returncode, done.stdout

    return run


def unit_folder(*, is_user: bool, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where units are put by hand."""
    if not is_user:
        return Path("/etc/systemd/system")
    named = environ.get("XDG_CONFIG_HOME")
    return (Path(named) if named else Path.home() / ".config") / "systemd" / "user"


def _write(path: Path, text: str, mode: int) -> None:
    """Replace a file in one step, never readable by more than `mode` says."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with open(descriptor, "w", encoding="utf-8") as stream:
                os.fchmod(descriptor, mode)
                stream.write(text)
                stream.flush()
                os.fsync(descriptor)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as exc:
        raise PathRefused(path, "write", exc.strerror or str(exc)) from exc

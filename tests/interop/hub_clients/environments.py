"""Virtual environments with the real Hub clients, one version each, made once and kept.

They lie in the user's cache, because each takes some ten seconds to make. As a program it makes
all of them, for continuous integration: `python -m interop.hub_clients.environments`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import platformdirs

# The last of each line that is in use: httpx2, httpx and requests underneath; and one that training
# tools pin, from before `hf` and `auth_check`.
VERSIONS = ("2.4.0", "1.33.0", "0.36.2", "0.24.5")
MAKE_TIMEOUT_S = 100.0
FOLDER_VARIABLE = "MIRRORNODE_TEST_ENVIRONMENTS"


class NotInstalled(Exception):
    """The client cannot be had here; says why."""


@dataclass(frozen=True)
class Client:
    """One installed version of huggingface_hub."""

    version: str
    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def downloader(self) -> Path:
        """The command that it brings, under its newest name."""
        commands = (self.folder / "bin" / name for name in ("hf", "huggingface-cli"))
        return next(command for command in commands if command.exists())


def installed(version: str) -> Client:
    """Return the client of a version, made if it is not there yet.

    Raises:
        NotInstalled: pip failed or took too long.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    base = Path(given) if given else platformdirs.user_cache_path("mirrornode-tests")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = base / f"huggingface_hub-{version}-python-{python}"
    base.mkdir(parents=True, exist_ok=True)
    with (base / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, version)
            (folder / "complete").touch()
    return Client(version, folder)


def _make(folder: Path, version: str) -> None:
    deadline = time.monotonic() + MAKE_TIMEOUT_S
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-input"]
    _run([sys.executable, "-m", "venv", folder], deadline)
    _run([*pip, "--disable-pip-version-check", f"huggingface_hub=={version}"], deadline)


def _run(command: Sequence[object], deadline: float) -> None:
    try:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=max(1.0, deadline - time.monotonic()),
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise NotInstalled(f"{command[-1]} was not installed in {MAKE_TIMEOUT_S:g} s") from exc
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise NotInstalled(f"{command[-1]}: {lines[-1] if lines else 'failed'}")


def main() -> int:
    """Make all, at the same time."""
    failed = 0
    with ThreadPoolExecutor(len(VERSIONS)) as pool:
        for version, made in [(v, pool.submit(installed, v)) for v in VERSIONS]:
            try:
                sys.stdout.write(f"huggingface_hub {version}: {made.result().folder}\n")
            except NotInstalled as exc:
                failed += 1
                sys.stdout.write(f"huggingface_hub {version}: not installed: {exc}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

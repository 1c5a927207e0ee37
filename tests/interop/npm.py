"""Folders with npm packages of fixed versions, each made once and kept in the user's cache.

As a program it makes all of them, for continuous integration: `python -m interop.npm`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import platformdirs

IPLD_CAR = ("@ipld/car@5.4.7", "multiformats@14.0.5")
UNIXFS_IMPORTER = ("ipfs-unixfs-importer@17.1.1", "blockstore-core@7.0.1")
ALL = {"ipld-car": IPLD_CAR, "unixfs-importer": UNIXFS_IMPORTER}

MAKE_TIMEOUT_S = 90.0
FOLDER_VARIABLE = "MIRRORNODE_TEST_ENVIRONMENTS"
_FLAGS = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")


class NotInstalled(Exception):
    """The packages cannot be had here; says why."""


def installed(name: str) -> Path:
    """Return a folder whose `node_modules` holds the packages of one of `ALL`.

    Raises:
        NotInstalled: There is no Node.js, or npm failed or took too long.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise NotInstalled("Node.js and npm are not installed")
    given = os.environ.get(FOLDER_VARIABLE)
    base = Path(given) if given else platformdirs.user_cache_path("mirrornode-tests")
    packages = ALL[name]
    folder = base / f"npm-{name}-{'-'.join(package.rpartition('@')[2] for package in packages)}"
    base.mkdir(parents=True, exist_ok=True)
    with (base / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / "package.json").write_text('{"name": "mirrornode-tests", "private": true}\n')
            _install([npm, "install", *_FLAGS, *packages], folder)
            (folder / "complete").touch()
    return folder


def program(packages: Path, source: Path, folder: Path) -> list[str]:
    """Return the command that runs a program with these packages, from a copy in `folder`."""
    copy = folder / source.name
    shutil.copy(source, copy)
    modules = folder / "node_modules"
    if not modules.exists():
        modules.symlink_to(packages / "node_modules")
    return ["node", "--preserve-symlinks", str(copy)]


def _install(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=MAKE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise NotInstalled(f"npm did not end in {MAKE_TIMEOUT_S:g} s") from exc
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise NotInstalled(f"npm: {lines[-1] if lines else 'failed'}")


def main() -> int:
    """Make all."""
    failed = 0
    for name in ALL:
        try:
            sys.stdout.write(f"{name}: {installed(name)}\n")
        except NotInstalled as exc:
            failed += 1
            sys.stdout.write(f"{name}: not installed: {exc}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

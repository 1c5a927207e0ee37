"""Where the rivals are, and which version each is. Nothing here downloads: see install_rivals."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import platformdirs

CACHE = Path(platformdirs.user_cache_dir("mirrornode-bench"))
RIVAL_PROGRAMS = Path(__file__).resolve().parent / "rival_programs"
VERSION_TIMEOUT_S = 30.0
VERSION_FLAGS = {"nginx": "-v", "openssl": "version", "tc": "-V", "ip": "-V"}


class Unavailable(Exception):
    """A contender cannot take part here; the message is the reason that the report gives."""


def system_program(name: str) -> str | None:
    """Return the path of a program of the system, or None."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")


def need_program(name: str) -> str:
    """Return the path of a program of the system.

    Raises:
        Unavailable: It is not installed.
    """
    if (path := system_program(name)) is None:
        raise Unavailable(f"{name} is not installed")
    return path


def rival_python(name: str) -> Path:
    """Return the interpreter of a rival's virtual environment, there or not."""
    return CACHE / name / "bin" / "python"


def need_rival_python(name: str) -> Path:
    """Return the interpreter of a rival's virtual environment.

    Raises:
        Unavailable: `make bench-rivals` has not installed it.
    """
    python = rival_python(name)
    if not python.exists():
        raise Unavailable("not installed; `make bench-rivals` does")
    return python


@cache
def system_version(name: str) -> str:
    """Return the version a program says it has, "?" when it does not say."""
    try:
        said = subprocess.run(
            [need_program(name), VERSION_FLAGS.get(name, "--version")],
            capture_output=True,
            text=True,
            check=False,
            timeout=VERSION_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return "?"
    found = re.search(r"\d+(?:\.\d+)+", said.stdout + said.stderr)
    return found[0] if found else "?"


@cache
def package_version(python: Path, package: str) -> str:
    """Return the version of a package in a virtual environment, "?" when it has none."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    said = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=False, timeout=VERSION_TIMEOUT_S
    )
    return said.stdout.strip() or "?"


def rival_environment(home: Path) -> dict[str, str]:
    """Return an environment in which a rival finds no settings of the user and writes none."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL") if key in os.environ}
    return kept | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}

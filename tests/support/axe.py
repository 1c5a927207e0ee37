"""axe-core, which finds faults of accessibility: fetched once with npm and kept.

It lies in the user's cache. As a program it is fetched, for continuous integration:
`python -m support.axe`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import platformdirs

VERSION = "4.14.1"
FETCH_TIMEOUT_S = 60.0
FOLDER_VARIABLE = "MIRRORNODE_TEST_ENVIRONMENTS"  # as of the clients of the Hub
MEMBER = "package/axe.min.js"


class NotInstalled(Exception):
    """It cannot be had here; says why."""


def axe_script() -> str:
    """Return the source of axe-core, fetched if it is not there yet.

    Raises:
        NotInstalled: There is no npm, or it could not fetch it.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    base = Path(given) if given else platformdirs.user_cache_path("mirrornode-tests")
    kept = base / f"axe-core-{VERSION}.min.js"
    base.mkdir(parents=True, exist_ok=True)
    with (base / f"{kept.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            _fetch(kept)
    return kept.read_text(encoding="utf-8")


def _fetch(kept: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstalled("there is no npm here to fetch axe-core with")
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [npm, "pack", "--silent", f"axe-core@{VERSION}"],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=FETCH_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise NotInstalled(f"npm did not fetch axe-core in {FETCH_TIMEOUT_S:g} s") from exc
        if done.returncode:
            raise NotInstalled(f"npm: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        with tarfile.open(Path(folder) / done.stdout.strip().splitlines()[-1]) as package:
            member = package.extractfile(MEMBER)
            assert member is not None, "the package has no script"
            part = kept.with_suffix(".part")
            part.write_bytes(member.read())
        part.replace(kept)


def main() -> int:
    """Fetch it."""
    try:
        axe_script()
    except NotInstalled as exc:
        sys.stdout.write(f"axe-core {VERSION}: not installed: {exc}\n")
        return 1
    sys.stdout.write(f"axe-core {VERSION} is here\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

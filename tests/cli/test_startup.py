"""Help loads none of the heavy parts: seen in the imported modules, not by a clock."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mirrornode_cli.main import GROUPS, VERBS

PROBE = """
import sys
from mirrornode_cli.main import main
code = main(sys.argv[1:])
heavy = {"libp2p", "trio", "multiaddr", "aiohttp", "asyncio", "sqlite3", "rich", "cryptography"}
verbs = {name for name in sys.modules if name.startswith("mirrornode_cli.commands.")}
sys.stderr.write("loaded:" + ",".join(sorted(heavy & set(sys.modules))))
sys.stderr.write(f" verbs:{len(verbs)}")
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("argv", "verbs"),
    [
        (["get", "--help"], 1),
        (["serve", "--help"], 1),
        (["--help"], len(VERBS) + len(GROUPS)),
        (["--version"], len(VERBS) + len(GROUPS)),
    ],
)
def test_help_when_shown_then_only_what_it_needs_was_imported(argv: list[str], verbs: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *argv],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
    assert "mirrornode" in done.stdout
    assert done.stderr == f"loaded: verbs:{verbs}"


def test_module_when_run_then_it_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mirrornode_cli", "--version"],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout.split()[0]) == (0, "mirrornode")

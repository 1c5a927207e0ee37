"""`make bench`: play all scenarios in interleaved rounds and print one table each.

    make bench-rivals                                 # once: downloads the rivals
    make bench ARGS="--size 64MiB --rounds 1"         # does everything work here?
    make bench ARGS="--only single --only folder"
    make bench ARGS="--json result.json --write"      # into docs/benchmarks.md and .svg
    make bench ARGS="--from result.json --write"      # the same from an earlier run

Everything runs in a network namespace of its own where there is one to be had, on loopback and in
memory (/dev/shm), so disks and cables play no part: the figures compare programs, they do not
predict a network. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import document, machine, network
from bench.play import play
from bench.results import Report
from bench.scenarios import crowd, endpoint, folder, link, share, single, sources
from bench.scene import Settings
from bench.table import report_lines, table_lines

SCENARIOS = {
    one.name: one
    for one in (
        *(module.SCENARIO for module in (share, single, endpoint, sources, crowd, folder)),
        *(link.LINK, link.LOSSY, link.FAR_HUB),
    )
}
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
# The content, the copies in the stores of Kubo and Helia, what one run leaves, and some room.
MEMORY_FACTOR = 6
CROWD_FACTOR = crowd.TAKERS + 2
SHARED_MEMORY = Path("/dev/shm")


def parse_size(text: str) -> int:
    """Return the bytes of "512MiB" or "2G"."""
    found = re.fullmatch(r"(\d+)\s*([kmg]?)(?:i?b)?", text.strip().lower())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write it as 512MiB")
    return int(found[1]) * UNITS[found[2]]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="bench", description="Compare whole commands.")
    parser.add_argument("--size", type=parse_size, default=parse_size("2GiB"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", action="append", choices=list(SCENARIOS), help="repeatable; default all"
    )
    parser.add_argument(
        "--timeout", type=float, default=300.0, metavar="S", help="for one run (default 300)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples here")
    parser.add_argument(
        "--from", type=Path, metavar="FILE", dest="source", help="measure nothing, read this"
    )
    parser.add_argument(
        "--write", action="store_true", help="write docs/benchmarks.md and docs/benchmarks.svg"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None,
        help="where to work (default /dev/shm)",
    )
    return parser


def room_bytes(size_bytes: int) -> int:
    """Return how much room the scenarios need."""
    return max(MEMORY_FACTOR * size_bytes, CROWD_FACTOR * min(size_bytes, crowd.SIZE_BYTES))


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, print."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1 or arguments.size < 1:
        parser.error("--rounds and --size begin at 1")
    if arguments.source:
        report = Report.from_json(json.loads(arguments.source.read_text(encoding="utf-8")))
        print("\n".join(report_lines(report)))
    else:
        if not sys.platform.startswith("linux"):
            parser.error("needs Linux: it reads /proc")
        network.enter()
        # `finally` and context managers are what ends the servers.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        with tempfile.TemporaryDirectory(prefix="mirrornode-bench-", dir=arguments.folder) as name:
            scratch = Path(name)
            if shutil.disk_usage(scratch).free < room_bytes(arguments.size):
                parser.error(f"{scratch.parent} has not {room_bytes(arguments.size)} bytes free")
            report = _measure(arguments, scratch)
    if arguments.json:
        arguments.json.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    if arguments.write:
        document.write(report)
    return 0


def _measure(arguments: argparse.Namespace, scratch: Path) -> Report:
    report = Report(machine.describe(scratch.parent), arguments.rounds)
    settings = Settings(arguments.size, arguments.timeout)
    for name in arguments.only or SCENARIOS:
        place = scratch / name
        place.mkdir()
        result = play(SCENARIOS[name], place, settings, arguments.rounds, _say)
        shutil.rmtree(place)
        report.results.append(result)
        _say("")
        print("\n".join(table_lines(result)), end="\n\n", flush=True)
    print("\n".join(report_lines(Report({}, arguments.rounds))))
    return report


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<100}\r", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

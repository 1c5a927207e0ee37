"""`make bench`: run all tasks in interleaved rounds and print one table each.

    make bench ARGS="--size 512MiB --rounds 5 --json result.json"
    make bench ARGS="--only folder"

Everything is on loopback and in memory (/dev/shm), so disks and cables play no part: the figures
compare programs, they do not predict a network. Needs about four times --size of free memory.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.measure import CommandFailed
from bench.nodes import NodeFailed
from bench.table import legend, record, table_lines
from bench.tasks import Arena

UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
MEMORY_FACTOR = 4  # the content, one copy of it, the warm-up, and room for the programs


def parse_size(text: str) -> int:
    """Return the bytes of "512MiB" or "2G"."""
    found = re.fullmatch(r"(\d+)\s*([kmg]?)(?:i?b)?", text.strip().lower())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write it as 512MiB")
    return int(found[1]) * UNITS[found[2]]


def main() -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="bench", description="Compare whole commands.")
    parser.add_argument("--size", type=parse_size, default=parse_size("2GiB"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", metavar="WORD", help="tasks whose title has this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples here")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("/dev/shm") if Path("/dev/shm").is_dir() else None,
        help="where to work (default /dev/shm)",
    )
    arguments = parser.parse_args()
    with ExitStack() as stack:
        scratch = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="mirrornode-bench-", dir=arguments.folder)
            )
        )
        if shutil.disk_usage(scratch).free < MEMORY_FACTOR * arguments.size:
            parser.error(f"{scratch.parent} has no room for {MEMORY_FACTOR} times --size")
        try:
            arena = Arena(scratch, arguments.size, stack)
            tasks = [task for task in arena.tasks() if arguments.only in task.title]
            for number in range(arguments.rounds):
                for task in tasks:
                    for contender in task.contenders:
                        print(
                            f"\rround {number + 1}: {contender.series.name:<40}",
                            end="",
                            file=sys.stderr,
                            flush=True,
                        )
                        contender.series.samples.append(contender.run())
        except (CommandFailed, NodeFailed) as exc:
            print(f"\nbench failed: {exc}", file=sys.stderr)
            return 1
    print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
    for task in tasks:
        print("\n".join(table_lines(task)), end="\n\n")
    print(legend(arguments.rounds))
    if missing := arena.missing():
        print(f"Not installed, left out: {', '.join(missing)}")
    if arguments.json:
        result = record(tasks, arguments.size, arguments.rounds, missing)
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

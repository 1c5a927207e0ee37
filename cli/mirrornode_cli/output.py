"""Writing results: JSON and text on stdout, the one error line on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from mirrornode_cli.units import printable


def write_json(record: Mapping[str, Any]) -> None:
    """Write one JSON object as one line on stdout, at once."""
    sys.stdout.write(json.dumps(record, default=str) + "\n")
    sys.stdout.flush()


def write_line(text: str) -> None:
    """Write one line of a result on stdout, at once."""
    sys.stdout.write(printable(text) + "\n")
    sys.stdout.flush()


def write_note(text: str) -> None:
    """Write one line beside the result on stderr."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def write_error(kind: str, message: str, *, as_json: bool, **fields: Any) -> None:
    """Write the one line that says what went wrong and what to do; JSON on stdout beside it."""
    line = " ".join(message.split())
    write_note(f"error: {line}")
    if as_json:
        write_json({"error": {"kind": kind, "message": line, **fields}})


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return aligned columns, nothing cut off; the last column is not padded."""
    cells = [list(head), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        "  ".join(
            cell if column == len(head) - 1 else cell.ljust(widths[column])
            for column, cell in enumerate(row)
        ).rstrip()
        for row in cells
    ]

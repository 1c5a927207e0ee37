"""`mirrornode verify`: read the shared files again and compare them with their CIDs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mirrornode_cli import exit_codes, options
from mirrornode_cli.context import Interrupted, factory_of
from mirrornode_cli.output import write_error, write_json, write_line
from mirrornode_cli.progress import show_progress
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.units import count_text, size_text
from mirrornode_cli.view import AddView

EPILOG = """\b
Examples:
  mirrornode verify                # everything this node shares
  mirrornode verify bafybei...     # one root

Exit code 12 when a file is not what it was when it was added."""


def verify(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(metavar="[TARGET]", help="CID of a root; default: all.", show_default=False),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Check shared files against their CIDs."""
    client = factory_of(context).client(config_from_flags(home))
    try:
        with show_progress(AddView("verify"), quiet=as_json) as progress:
            report = client.verify(target, progress=progress)
    except KeyboardInterrupt:
        raise Interrupted("stopped; nothing was changed") from None
    if as_json:
        write_json(report)
    else:
        for line in report_lines(report):
            write_line(line)
    if not report["ok"]:
        count = count_text(_bad_files(report), "file")
        write_error(
            "CidMismatch",
            f"{count} not as added; restore from a copy, or share the new content with "
            "`mirrornode add PATH`",
            as_json=False,
        )
        raise typer.Exit(exit_codes.INTEGRITY)


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the problems, one a line, and the sum."""
    lines = []
    for problem in report["problems"]:
        count = len(problem["bad_leaves"])
        blocks = f" ({count_text(count, 'bad block')})" if count else ""
        lines.append(f"bad  {problem['path']}: {problem['reason']}{blocks}")
    if more := report["more_problems"]:
        lines.append(f"bad  and {count_text(more, 'more file')}")
    if restored := report["restored_files"]:
        lines.append(f"good again: {count_text(restored, 'file')}")
    lines.append(
        f"verified {count_text(report['checked_files'], 'file')}, "
        f"{size_text(report['checked_bytes'])}: "
        + ("all good" if report["ok"] else f"{_bad_files(report)} bad")
    )
    return lines


def _bad_files(report: Mapping[str, Any]) -> int:
    return len(report["problems"]) + int(report["more_problems"])

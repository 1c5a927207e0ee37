"""`mirrornode verify`: read files again and compare them with their CIDs, or with the Hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mirrornode.wire.hub import is_hub_target
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
  mirrornode verify hf:org/name    # all copies here, the cache of the Hub's clients included

\b
A damaged file of hf: is replaced, from peers or the Hub.
Exit code 12 when a file is damaged, or with hf: could not be replaced."""


def verify(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[TARGET]",
            help="CID of a root, or hf:ORG/NAME[@REV][/PATH]; default: all that is shared.",
            show_default=False,
        ),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Check files against their CIDs, or against the Hub."""
    client = factory_of(context).client(config_from_flags(home))
    try:
        with show_progress(AddView("verify"), quiet=as_json) as progress:
            report = client.verify(target, progress=progress)
    except KeyboardInterrupt:
        raise Interrupted("stopped; nothing was changed") from None
    if is_hub_target(target):
        _tell_of_hub(report, as_json=as_json)
        return
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


def _tell_of_hub(report: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        write_json(report)
    else:
        for line in hub_lines(report):
            write_line(line)
    if not report["ok"]:
        count = len(report["problems"]) - report["mended_files"]
        write_error(
            "CidMismatch",
            f"{count_text(count, 'damaged file')} not replaced; try again when a peer or the Hub "
            "can be reached",
            as_json=False,
        )
        raise typer.Exit(exit_codes.INTEGRITY)


def hub_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the damaged files of a repo, one a line, and the sum."""
    lines = [
        f"mended {problem['path']}"
        if problem["is_mended"]
        else f"bad  {problem['path']}: {problem['reason']}; {problem['why_not']}"
        for problem in report["problems"]
    ]
    bad = len(report["problems"])
    absent = report["absent_files"]
    lines.append(
        f"verified {count_text(report['checked_files'], 'file')}, "
        f"{size_text(report['checked_bytes'])}: "
        + (f"{bad} bad, {report['mended_files']} mended" if bad else "all good")
        + (f"; {count_text(absent, 'file')} not here" if absent else "")
    )
    return lines


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

"""`mirrornode export`: write a target into one CAR file, for a site without a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mirrornode.errors import TargetError
from mirrornode_cli import exit_codes, options
from mirrornode_cli.context import Interrupted, factory_of
from mirrornode_cli.output import write_error, write_json, write_line, write_note
from mirrornode_cli.progress import show_progress
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.units import count_text, seconds_text, size_text
from mirrornode_cli.view import AddView

STANDARD_OUTPUT = "-"
MISSING_SHOWN = 20
EPILOG = """\b
Examples:
  mirrornode export bafybei... model.car
  mirrornode export /ipfs/bafybei.../weights weights.car
  mirrornode export hf:org/name model.car           # what is here of a repo of the Hub
  mirrornode export bafybei... - | ssh host mirrornode import -
On the other side: `mirrornode import model.car`. Any IPFS program can read the file.

\b
Exit codes: 0 done, 3 written without what is missing (--partial), 10 not all of it is here,
12 a file is not what was added, 130 stopped."""


def export(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="CID, /ipfs/CID[/PATH], ipfs://CID[/PATH] or hf:[datasets/]ORG/NAME[@REV][/PATH].",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Argument(
            metavar="FILE.car", help="The file to write; - for stdout.", show_default=False
        ),
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file if it is there already.")
    ] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Write what is here, and say what is missing.")
    ] = False,
    no_names: Annotated[
        bool,
        typer.Option("--no-names", help="Do not tell in the file what its root is called."),
    ] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Write a target that is here into a CAR file."""
    if as_json and output == STANDARD_OUTPUT:
        raise TargetError("--json and - both want stdout; write to a file")
    client = factory_of(context).client(config_from_flags(home))
    try:
        with show_progress(AddView("export"), quiet=as_json) as progress:
            record = client.export(
                target, output, force=force, partial=partial, names=not no_names, progress=progress
            )
    except KeyboardInterrupt:
        raise Interrupted("stopped; nothing was written") from None
    if as_json:
        write_json(record)
    elif output == STANDARD_OUTPUT:
        write_note(summary_lines(record)[0])
    else:
        for line in summary_lines(record):
            write_line(line)
    if record["missing_count"]:
        for path in () if as_json else record["missing"][:MISSING_SHOWN]:
            write_note(f"missing: {path}")
        write_error(
            "Incomplete",
            f"{count_text(record['missing_count'], 'path')} of {target} not here, and so not in "
            "the file",
            as_json=False,
        )
        raise typer.Exit(exit_codes.PARTIAL)


def summary_lines(record: Mapping[str, Any]) -> list[str]:
    """Return what is said at the end."""
    return [
        f"exported {record['name']} to {record['path']}",
        f"  root    {record['cid']}",
        f"  size    {size_text(record['size_bytes'])}, {count_text(record['blocks'], 'block')}",
        f"  time    {seconds_text(record['seconds'])}",
    ]

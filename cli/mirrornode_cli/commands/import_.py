"""`mirrornode import`: bring what CAR files hold into files, and share it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mirrornode_cli import exit_codes, options
from mirrornode_cli.context import Interrupted, factory_of
from mirrornode_cli.output import write_error, write_json, write_line, write_note
from mirrornode_cli.progress import show_progress
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.units import count_text, size_text
from mirrornode_cli.view import AddView

MISSING_SHOWN = 20
EPILOG = """\b
Examples:
  mirrornode import model.car                # into the models folder of the home
  mirrornode import model.car -o ./model
  mirrornode import part1.car part2.car      # one model in several files
  curl -s https://example.org/x.car | mirrornode import -

\b
Every block is verified; CARs of version 1 and 2, made by any program. What is imported is shared
and announced as after `get`. Stopped or cut off? The same command goes on where it was.
Exit codes: 0 done, 3 some blocks are not in the files, 12 a file is damaged, 130 stopped."""


def import_(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE.car...", help="CAR files; - for stdin.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            help="Where to write it. Default: the models folder of the home.",
            show_default=False,
        ),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Bring what CAR files hold into files, and share it."""
    client = factory_of(context).client(config_from_flags(home))
    try:
        with show_progress(AddView("import"), quiet=as_json) as progress:
            record = client.import_cars(files, output, progress=progress)
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped; verified bytes are kept, the same command goes on from there"
        ) from None
    if as_json:
        write_json(record)
    for root in () if as_json else record["roots"]:
        for line in root_lines(root):
            write_line(line)
    if not record["roots"]:
        write_note("the files name no root, so nothing was imported")
    incomplete = [root for root in record["roots"] if not root["complete"]]
    if incomplete:
        for root in () if as_json else incomplete:
            for path in root["missing"][:MISSING_SHOWN]:
                write_note(f"missing: {root['name']}: {path}")
        write_error("Incomplete", _incomplete_text(incomplete), as_json=False)
        raise typer.Exit(exit_codes.PARTIAL)


def root_lines(root: Mapping[str, Any]) -> list[str]:
    """Return what is said of one root."""
    state = "imported" if root["complete"] else "incomplete"
    files = f", {count_text(root['files'], 'file')}" if root["files"] > 1 else ""
    place = [f"  path    {root['path']}"] if root["path"] else []
    return [
        f"{state} {root['name']}",
        *place,
        f"  root    {root['cid']}",
        f"  size    {size_text(root['size_bytes'])}{files}",
    ]


def _incomplete_text(incomplete: list[dict[str, Any]]) -> str:
    first = incomplete[0]
    where = f" -o {first['path']}" if first["path"] else ""
    return (
        f"{count_text(len(incomplete), 'root')} not complete in these files; what is there is kept:"
        f" import the rest, or fetch it with `mirrornode get {first['cid']}{where}`"
    )

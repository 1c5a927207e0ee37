"""`mirrornode ls`: what this home shares."""

from __future__ import annotations

import typer

from mirrornode_cli import options
from mirrornode_cli.context import factory_of
from mirrornode_cli.output import table_lines, write_json, write_line, write_note
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.units import size_text

EPILOG = """\b
Examples:
  mirrornode ls
  mirrornode ls --json | jq -r .cid"""


def ls(context: typer.Context, home: options.Home = None, as_json: options.Json = False) -> None:
    """List what this node shares.

    With --json: one object a line.
    """
    roots = factory_of(context).client(config_from_flags(home)).ls()
    if as_json:
        for root in roots:
            write_json(root)
        return
    if not roots:
        write_note("nothing is shared yet; share a file or folder with `mirrornode add PATH`")
        return
    rows = [
        (
            str(root["cid"]),
            size_text(root["size_bytes"]),
            f"{root['files']:,}",
            str(root["state"]),
            str(root["name"]),
        )
        for root in roots
    ]
    for line in table_lines(("CID", "SIZE", "FILES", "STATE", "NAME"), rows):
        write_line(line)

"""`mirrornode unshare`: stop sharing files, which stay where they are."""

from __future__ import annotations

from typing import Annotated

import typer

from mirrornode_cli import options
from mirrornode_cli.context import factory_of
from mirrornode_cli.output import write_json, write_line
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.units import count_text, size_text

EPILOG = """\b
Examples:
  mirrornode unshare ./model         # a file or folder, and all below it
  mirrornode unshare bafybei...      # wherever it was shared from

\b
Nothing on disk changes. Other nodes may ask for it for two days, and are told that it is not here.
`mirrornode add` shares it again."""


def unshare(
    context: typer.Context,
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH|CID...", help="What `mirrornode ls` shows.", show_default=False
        ),
    ],
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Stop sharing files or folders, which stay where they are.

    With --json: one object a target.
    """
    client = factory_of(context).client(config_from_flags(home))
    for target in targets:
        record = client.unshare(target)
        if as_json:
            write_json(record)
            continue
        what = f"{count_text(record['files'], 'file')}, {size_text(record['size_bytes'])}"
        for path in record["paths"]:
            write_line(f"no longer shared: {path}")
        write_line(f"({what}; nothing on disk has changed)")

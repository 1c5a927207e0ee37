"""`mirrornode unpin`: take a pin back."""

from __future__ import annotations

from typing import Annotated

import typer

from mirrornode_cli import options
from mirrornode_cli.context import factory_of
from mirrornode_cli.output import write_json, write_line
from mirrornode_cli.settings import config_from_flags

EPILOG = """\b
Examples:
  mirrornode unpin bafybei...
  mirrornode unpin hf:org/name              # all its pinned commits
  mirrornode unpin bafybei... --name tests  # other names keep it

\b
Nothing is deleted at once: see `mirrornode gc`."""


def unpin(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="A CID, or hf:ORG/NAME[@REV][/PATH].", show_default=False
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="Only the pin of that name.", show_default=False
        ),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Take back the pins of a target; nodes that hold copies for it may let them go."""
    record = factory_of(context).client(config_from_flags(home)).unpin(target, name=name)
    if as_json:
        write_json(record)
        return
    for text, called in record["unpinned"]:
        write_line(f"unpinned {text}" + (f" ({called})" if called else ""))

"""`mirrornode mirrors`: measure HTTP mirrors and show which are worth it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from mirrornode.events import Event, Note
from mirrornode_cli import exit_codes, options
from mirrornode_cli.context import Interrupted, factory_of
from mirrornode_cli.output import write_error, write_json, write_note
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.units import moment_text, printable, rate_text

STANDINGS = {"aside": "put aside", "trial": "on trial"}  # of the alerts, in words
WIDE = 200  # columns where there is no terminal to fit into

EPILOG = """\b
Examples:
  mirrornode mirrors                                   # those in config.toml
  mirrornode mirrors https://one.example/ https://two.example/
  mirrornode mirrors --sample bafybei...               # MB/s of gateways, on a file they have
  mirrornode mirrors --sample gpt2/model.safetensors   # MB/s of plain file servers

\b
In config.toml:
  [[mirror]]
  url = "https://mirror.example.com/"
  region = "eu-west"    # a label for this table
  weight = 2            # preferred; 0 = only when nothing else delivers

\b
SCORE is what `get` goes by: MB/s over all uses so far, less for failures and slow answers,
times the weight. It begins with the best and one that is new, and takes more when they fail.
One that the alerts put aside is asked only when nobody else delivers, until it is back.
A sample is at most 8 MiB and 5 s a mirror.
Exit code 10 when no mirror can be used."""


def mirrors(
    context: typer.Context,
    urls: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="URL",
            help="Gateways, folders (ending in /) or files; default: the configured mirrors.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option(
            "--sample",
            metavar="CID|PATH",
            help="What to fetch a piece of: a CID from gateways, a path from folders. "
            "A URL of a file is its own sample.",
            show_default=False,
        ),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Measure mirrors: time to connect, to the first byte, MB/s, and how often they failed.

    With --json: one object a line, the best mirror first.
    """
    client = factory_of(context).client(config_from_flags(home))

    def progress(event: Event) -> None:
        if isinstance(event, Note) and not as_json:
            write_note(event.text)

    try:
        found = client.mirrors(urls or (), sample=sample, progress=progress)
    except KeyboardInterrupt:
        raise Interrupted("stopped; nothing was remembered") from None
    if as_json:
        for record in found:
            write_json(record)
    else:
        show_table(found)
    if not any(record["state"] == "ok" for record in found):
        write_error("NoProviders", "none of these mirrors can be used now", as_json=False)
        raise typer.Exit(exit_codes.NOT_FOUND)


def show_table(found: Sequence[Mapping[str, Any]]) -> None:
    """Write the table on stdout, in the width there is."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("SCORE", "NOW", "CONNECT", "FIRST BYTE", "GOOD"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("STATE", no_wrap=True)
    table.add_column("REGION", no_wrap=True)
    table.add_column("MIRROR", overflow="fold")
    for record in found:
        *numbers, state, region, url = row_of(record)
        style = "green" if state == "ok" else "yellow" if record["state"] == "ok" else "red"
        cells = [Text(number) for number in numbers]
        table.add_row(*cells, Text(state, style=style), Text(region), Text(url))
    is_terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, width=None if is_terminal else WIDE, highlight=False)
    console.print(table)
    for record in found:
        if record["detail"]:
            write_note(f"{record['url']}: {record['detail']}")
        if standing := record["standing"]:
            words = f"{STANDINGS[standing['state']]} since {moment_text(standing['since'])}"
            write_note(printable(f"{record['url']}: {words}: {standing['why']}"))


def row_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cells of one mirror."""
    weight = record["weight"]
    marks = f" (weight {weight:g})" if weight != 1 else ""
    success, standing = record["success"], record["standing"]
    state = str(record["state"])
    if standing:
        state += f", {STANDINGS[standing['state']]}"
    good = "-" if success is None else f"{100 * success:.0f}% of {record['uses']}"
    return (
        "new" if record["score"] is None else rate_text(record["score"]),
        rate_text(record["rate_bytes_per_s"]),
        milliseconds_text(record["connect_s"]),
        milliseconds_text(record["first_byte_s"]),
        good,
        printable(state),
        printable(str(record["region"])),
        printable(str(record["url"])) + marks,
    )


def milliseconds_text(seconds: float | None) -> str:
    """Return e.g. "20 ms"; "-" when it was not measured."""
    return "-" if seconds is None else f"{1000 * seconds:.0f} ms"

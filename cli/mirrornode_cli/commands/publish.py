"""`mirrornode publish`: a name that moves, for content that does not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mirrornode.errors import TargetError
from mirrornode.events import Event, Note
from mirrornode_cli import options
from mirrornode_cli.context import factory_of
from mirrornode_cli.output import table_lines, write_json, write_line, write_note
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.units import count_text

EPILOG = """\b
Examples:
  mirrornode publish bafybei... --name llama-main   # makes the key at its first use, prints k51...
  mirrornode publish bafybei... --name llama-main   # later: the same name means the newer content
  mirrornode get ipns://k51... -o ./model           # anywhere: what it means now
  mirrornode publish --list
  mirrornode publish --remove llama-main

\b
Only who has the key can change what the name means; keep a copy of it. While a node runs on this
home, the name is published again every four hours; without one it runs out after its lifetime."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhd])", re.ASCII)


def publish(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            help="What the name is to mean: CID, /ipfs/CID[/PATH] or ipfs://CID[/PATH].",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str,
        typer.Option("--name", metavar="KEY", help="The key that signs; `self` is the node's own."),
    ] = "self",
    lifetime: Annotated[
        str,
        typer.Option(
            "--lifetime", metavar="TIME", help="How long peers may believe it, e.g. 48h or 7d."
        ),
    ] = "48h",
    ttl: Annotated[
        str,
        typer.Option(
            "--ttl", metavar="TIME", help="How long they may go without looking for a newer one."
        ),
    ] = "5m",
    show: Annotated[
        bool, typer.Option("--list", help="Show the names that this home publishes.")
    ] = False,
    remove: Annotated[
        str | None,
        typer.Option(
            "--remove",
            metavar="KEY",
            help="Publish the name of KEY no more; the key is kept.",
            show_default=False,
        ),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Let a name mean a target from now on; publish again to move it."""
    if (target is not None) + show + (remove is not None) != 1:
        raise typer.BadParameter("give one of TARGET, --list and --remove KEY")
    client = factory_of(context).client(config_from_flags(home))

    def progress(event: Event) -> None:
        if isinstance(event, Note):
            write_note(event.text)

    if remove is not None:
        stopped = client.unpublish(remove)
        if as_json:
            write_json(stopped)
        else:
            write_line(f"stopped {stopped['name']}")
            write_note("  peers forget it when its last record runs out; the key is kept")
        return
    if target is None:
        names = client.publications()
        if as_json:
            for record in names:
                write_json(record)
        else:
            show_names(names)
        return
    published = client.publish(
        target,
        key=name,
        lifetime_s=duration_of(lifetime, "--lifetime"),
        ttl_s=duration_of(ttl, "--ttl"),
        progress=None if as_json else progress,
    )
    if as_json:
        write_json(published)
        return
    write_line(f"published {published['name']}")
    write_note(f"  means   {published['path']}")
    write_note(f"  change  {published['sequence']}, {_kept_text(published)}")
    write_note(f"  get it  mirrornode get ipns://{published['name']}")


def show_names(names: list[dict[str, Any]]) -> None:
    """Write the names as a table."""
    if not names:
        write_note("no names; publish one with `mirrornode publish CID --name KEY`")
        return
    rows = [
        (str(each["key"]), each["name"], str(each["sequence"]), _kept_text(each), each["path"])
        for each in names
    ]
    for line in table_lines(("KEY", "NAME", "CHANGE", "PEERS", "MEANS"), rows):
        write_line(line)


def duration_of(text: str, flag: str) -> float:
    """Return the seconds of "90s", "5m", "48h" or "7d".

    Raises:
        TargetError: It is none of these.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise TargetError(f"{flag} {text[:40]!r}: write it as 90s, 5m, 48h or 7d")
    return float(match[1]) * _UNITS[match[2]]


def _kept_text(record: Mapping[str, Any]) -> str:
    if record["published_at"] is None:
        return "no peer told yet"
    return f"kept by {count_text(record['kept_by'], 'peer')}"

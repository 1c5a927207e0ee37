"""`mirrornode pin`: keep something whatever the quota says, here and at other nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from mirrornode.errors import TargetError
from mirrornode_cli import options
from mirrornode_cli.context import Interrupted, factory_of
from mirrornode_cli.output import table_lines, write_json, write_line, write_note
from mirrornode_cli.progress import show_progress
from mirrornode_cli.settings import config_from_flags, peer_multiaddr
from mirrornode_cli.units import size_text, source_text
from mirrornode_cli.view import GetView

EPILOG = """\b
Examples:
  mirrornode pin bafybei...                        # fetched first, unless it is here
  mirrornode pin hf:org/name --name production
  mirrornode pin bafybei... --replicas 2           # two other nodes are to hold it, too
  mirrornode pin --list

\b
Pinned content is never deleted by this node. `unpin` takes a pin back."""


def pin(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET", help="A CID, or hf:ORG/NAME[@REV][/PATH].", show_default=False
        ),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Why it is kept; several may be.")
    ] = "",
    replicas: Annotated[
        int,
        typer.Option(
            "--replicas",
            metavar="N",
            min=0,
            max=32,
            help="Ask N other nodes to hold a copy, and others when one is away too long. "
            "They need `accept_pins = true` in [storage].",
        ),
    ] = 0,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            "--peer",
            metavar="MULTIADDR",
            help="A node to fetch from besides those that are found. Repeatable.",
            show_default=False,
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List all pins instead.")] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Keep a target, and all below it.

    With --json: one object; with --list one a line.
    """
    if (target is None) != list_:
        raise TargetError("give a target to pin, or --list")
    client = factory_of(context).client(config_from_flags(home))
    if target is None:
        _show_pins(client.pins(), as_json=as_json)
        return
    peers = [peer_multiaddr(text, "--peer") for text in peer or ()]
    try:
        with show_progress(GetView(target), quiet=as_json) as progress:
            record = client.pin(
                target, name=name, replicas=replicas, peers=peers, progress=progress
            )
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped; nothing was pinned, what has arrived is used when you run it again"
        ) from None
    if as_json:
        write_json(record)
        return
    came = "it was here" if record["was_here"] else f"fetched {size_text(record['fetched_bytes'])}"
    write_line(f"pinned {record['target']} ({size_text(record['size_bytes'])}, {came})")
    if record["replicas"]:
        kept, coming = _count(record, "kept"), _count(record, "coming")
        write_line(f"copies: {kept} of {record['replicas']} kept, {coming} on the way")
        if kept + coming < record["replicas"]:
            write_note(
                "more are asked for while `mirrornode serve` runs; other nodes hold copies when "
                "they have accept_pins = true in [storage]"
            )


def _show_pins(pins: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for record in pins:
            write_json(record)
    elif pins:
        for line in pin_lines(pins):
            write_line(line)
    else:
        write_note("nothing is pinned; pin something with `mirrornode pin TARGET`")


def pin_lines(pins: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of pins."""
    rows = [
        (
            str(record["target"]),
            size_text(record["size_bytes"]),
            _copies(record),
            source_text(f"peer:{record['owner']}") if record["owner"] else "you",
            str(record["name"]) or "-",
        )
        for record in pins
    ]
    return table_lines(("TARGET", "SIZE", "COPIES", "FOR", "NAME"), rows)


def _copies(record: Mapping[str, Any]) -> str:
    if not record["replicas"]:
        return "-"
    coming = _count(record, "coming")
    more = f", {coming} coming" if coming else ""
    return f"{_count(record, 'kept')} of {record['replicas']}{more}"


def _count(record: Mapping[str, Any], state: str) -> int:
    return sum(one["state"] == state for one in record["holders"])

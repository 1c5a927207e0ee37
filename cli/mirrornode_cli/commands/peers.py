"""`mirrornode peers`: whom the running node is connected to."""

from __future__ import annotations

import typer

from mirrornode_cli import options
from mirrornode_cli.context import factory_of
from mirrornode_cli.output import table_lines, write_json, write_line, write_note
from mirrornode_cli.settings import config_from_flags

EPILOG = """\b
Examples:
  mirrornode peers
  mirrornode peers --json"""


def peers(context: typer.Context, home: options.Home = None, as_json: options.Json = False) -> None:
    """List the peers the running node is connected to.

    With --json: one object a line.
    """
    found = factory_of(context).client(config_from_flags(home)).peers()
    if as_json:
        for peer in found:
            write_json(peer)
        return
    if not found:
        write_note("no peers yet; name one with `mirrornode serve --bootstrap MULTIADDR`")
        return
    rows = [
        (
            str(peer["peer_id"]),
            "out" if peer["outbound"] else "in",
            str(peer["address"]),
            str(peer["agent"]),
        )
        for peer in found
    ]
    for line in table_lines(("PEER", "DIR", "ADDRESS", "AGENT"), rows):
        write_line(line)

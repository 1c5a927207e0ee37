"""`mirrornode history`: what was downloaded, from whom, how fast, and how it ended."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from mirrornode_cli import options
from mirrornode_cli.context import factory_of
from mirrornode_cli.output import write_json, write_note
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.units import printable, rate_text, seconds_text, size_text

WIDE = 200  # columns where there is no terminal to fit into
MAX_SINCE_S = 10 * 365 * 86_400.0
STYLES = {"ok": "green", "running": "cyan", "cancelled": "yellow", "partial": "yellow"}
NOTHING = "no downloads in the history"

_SINCE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.ASCII)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}

EPILOG = """\b
Examples:
  mirrornode history                      # the last 100 downloads, the newest first
  mirrornode history --since 1d --failed
  mirrornode history --json --limit 1000

\b
KIND is get (a CID), hub (get hf:), gateway (asked for over HTTP) or sync. MB/S is over the whole
download, SOURCES what came from whom. With --json each download has its sources, with bytes, time
to the first byte, round trip, and what went wrong.
How long it is kept: [history] keep_days in config.toml; without names: [log] requests = false."""


def history(
    context: typer.Context,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Only what runs or ended in the last 90m, 12h, 7d, 2w.",
            show_default=False,
        ),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only what failed, wholly or in part.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="At most so many.")
    ] = 100,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """List downloads: what, from whom, how fast, and how they ended.

    With --json: one object a line, the newest first.
    """
    since_s = None if since is None else seconds_of(since)
    client = factory_of(context).client(config_from_flags(home))
    found = client.history(since_s=since_s, failed=failed, limit=limit)
    if as_json:
        for record in found:
            write_json(record)
    elif found:
        show_table(found)
    else:
        write_note(NOTHING)


def seconds_of(text: str) -> float:
    """Return the seconds of "90m", "12h", "7d"; refuses anything else."""
    match = _SINCE.fullmatch(text.strip().lower())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds <= MAX_SINCE_S:
        raise typer.BadParameter(
            f"{text!r}: give a number and a unit, such as 90m, 12h, 7d or 2w", param_hint="--since"
        )
    return seconds


def show_table(found: Sequence[Mapping[str, Any]]) -> None:
    """Write the table on stdout, in the width there is."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("WHEN", "KIND", "OUTCOME"):
        table.add_column(head, no_wrap=True)
    for head in ("SIZE", "TIME", "MB/S"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("SOURCES", overflow="fold")
    table.add_column("TARGET", overflow="fold")
    for record in found:
        when, kind, outcome, *rest = row_of(record)
        style = STYLES.get(outcome, "red")
        table.add_row(Text(when), Text(kind), Text(outcome, style=style), *map(Text, rest))
    is_terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, width=None if is_terminal else WIDE, highlight=False)
    console.print(table)


def row_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cells of one download."""
    started = datetime.fromtimestamp(record["started_at"])
    is_running = record["outcome"] == "running"
    target = printable(str(record["target"])) or "-"
    if record["error"]:
        reason = printable(str(record["reason"]))
        target += f"\n{printable(str(record['error']))}" + (f": {reason}" if reason else "")
    return (
        started.strftime("%Y-%m-%d %H:%M"),
        printable(str(record["kind"])),
        printable(str(record["outcome"])),
        size_text(record["size_bytes"]) if record["size_bytes"] else "-",
        "-" if is_running else seconds_text(record["seconds"]),
        rate_text(record["rate_bytes_per_s"]),
        sources_text(record["sources"]) or ("disk" if record["resumed_bytes"] else "-"),
        target,
    )


def sources_text(sources: Sequence[Mapping[str, Any]]) -> str:
    """Return what came from which kind of source, the largest share first: "2 peer 1.50 GB"."""
    size: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for source in sources:
        if source["received_bytes"]:
            size[printable(str(source["kind"]))] += source["received_bytes"]
            count[printable(str(source["kind"]))] += 1
    return ", ".join(f"{count[kind]} {kind} {size_text(held)}" for kind, held in size.most_common())

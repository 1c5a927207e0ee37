"""`mirrornode gc`: free room by deleting what was used longest ago and is not pinned."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mirrornode.config import parse_bytes
from mirrornode_cli import options
from mirrornode_cli.context import factory_of
from mirrornode_cli.output import table_lines, write_json, write_line, write_note
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.units import count_text, size_text

EPILOG = """\b
Examples:
  mirrornode gc --dry-run            # what would go
  mirrornode gc                      # down to the low-water mark of [storage] quota
  mirrornode gc --keep-free 50GB     # until so much of the disk is free

\b
Only files that this node made in its home are deleted: never what is pinned or in use, and never
a file of yours that is shared in place or that `get -o` wrote."""


def gc(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would go; delete nothing.")
    ] = False,
    keep_free: Annotated[
        str | None,
        typer.Option(
            "--keep-free",
            metavar="SIZE",
            help="Free until SIZE of the disk is free, e.g. 50GB, besides the quota.",
            show_default=False,
        ),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Free room: models that were used longest ago go first."""
    config = config_from_flags(home)
    wanted = None if keep_free is None else parse_bytes(keep_free, "--keep-free", "the flag")
    record = factory_of(context).client(config).gc(dry_run=dry_run, keep_free_bytes=wanted)
    if as_json:
        write_json(record)
        return
    for line in gc_lines(record, time.time()):
        write_line(line)
    if not record["quota_bytes"] and not record["keep_free_bytes"]:
        write_note("no limit is set: give --keep-free SIZE, or quota in [storage]")
    if record["short_bytes"]:
        write_note(
            f"{size_text(record['short_bytes'])} more should go, but all that is left is held; "
            "see `mirrornode pin --list`"
        )


def gc_lines(record: Mapping[str, Any], now: float) -> list[str]:
    """Return what went, one model a line, and the sums."""
    rows = [
        (str(one["name"]), size_text(one["size_bytes"]), _age(now - one["used_at"]))
        for one in record["freed"]
    ]
    lines = table_lines(("MODEL", "SIZE", "USED"), rows) if rows else []
    verb = "would free" if record["dry_run"] else "freed"
    lines.append(
        f"{verb} {size_text(record['freed_bytes'])}: {count_text(len(rows), 'model')}, "
        f"{count_text(record['freed_files'], 'file')}, "
        f"{size_text(record['leftover_bytes'])} of them leftovers"
    )
    held = ", ".join(f"{size_text(size)} {why}" for why, size in record["held_bytes"].items())
    limit = f" of {size_text(record['quota_bytes'])}" if record["quota_bytes"] else ""
    lines.append(
        f"kept {size_text(record['used_after_bytes'])}{limit}" + (f"; {held}" if held else "")
    )
    return lines


def _age(seconds: float) -> str:
    """Return roughly how long ago something was."""
    if seconds >= 2 * 86_400:
        return f"{int(seconds // 86_400)} days ago"
    if seconds >= 2 * 3600:
        return f"{int(seconds // 3600)} hours ago"
    return f"{max(0, int(seconds // 60))} minutes ago"

"""`mirrornode sync`: keep targets complete, pinned, and in step with where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from mirrornode import errors
from mirrornode.errors import TargetError
from mirrornode_cli import exit_codes, options
from mirrornode_cli.context import Interrupted, factory_of
from mirrornode_cli.output import table_lines, write_json, write_line, write_note
from mirrornode_cli.progress import show_progress
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.units import count_text, moment_text, printable, seconds_text, size_text
from mirrornode_cli.view import GetView

SHOWN_NAMES = 20
SIGNS = (("added", "+"), ("changed", "~"), ("removed", "-"), ("deleted", "deleted"))

EPILOG = """\b
Examples:
  mirrornode sync hf:org/name@main                       # now, from the Hub
  mirrornode sync 'hf:org/name@main/*.safetensors' --dry-run
  mirrornode sync --from-node http://10.0.0.5:8090       # all that node has pinned
  mirrornode sync hf:org/name --from-node /ip4/10.0.0.5/tcp/4101/p2p/12D3KooW...
  mirrornode sync                                        # all [[sync]] tables of config.toml, now
  mirrornode sync --list

\b
TARGET: hf:ORG/NAME[@REV][/PATH or pattern], a CID, pins:NODE, or the absolute path of a folder.
What is synced is pinned as sync:TARGET. Old versions stay pinned, and files that a target no longer
has stay in its folder, unless --delete is given. `mirrornode serve` runs by itself what config.toml
says:
  [[sync]]
  target = "hf:org/name@main"
  every = "6h"
  window = "22:00-06:00\""""


def sync(
    context: typer.Context,
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET]...",
            help="What to keep in step; none: what config.toml says.",
            show_default=False,
        ),
    ] = None,
    from_node: Annotated[
        str,
        typer.Option(
            "--from-node",
            metavar="URL|MULTIADDR",
            help="Follow this node instead of the Hub; without TARGET all that it has pinned. Its "
            "word for names is believed.",
            show_default=False,
        ),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would change.")
    ] = False,
    delete: Annotated[
        bool,
        typer.Option(
            "--delete", help="Let go of what a target no longer has: its pins, files in its folder."
        ),
    ] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Show how the last runs went, and when the next are due.")
    ] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> int:
    """Bring targets up to date, fetching only what changed, and keep them pinned.

    With --json: one object a line for each target.
    """
    client = factory_of(context).client(config_from_flags(home))
    named = list(targets or ())
    if list_:
        if named or from_node or dry_run or delete:
            raise TargetError("--list goes with nothing else")
        _show_list(client.syncs(), as_json=as_json)
        return exit_codes.DONE
    try:
        with show_progress(GetView(named[0] if len(named) == 1 else "sync"), quiet=as_json) as tell:
            reports = client.sync(
                named, from_node=from_node, dry_run=dry_run, delete=delete, progress=tell
            )
    except KeyboardInterrupt:
        raise Interrupted("stopped; what has arrived is used by the next run") from None
    for report in reports:
        if as_json:
            write_json(report)
        else:
            for line in report_lines(report):
                write_line(line)
    return exit_code(reports)


def exit_code(reports: Sequence[Mapping[str, Any]]) -> int:
    """Return 0 when all went well, 3 when some did, else what the first failure means."""
    bad = [report for report in reports if report["outcome"] != "ok"]
    if not bad:
        return exit_codes.DONE
    if len(bad) < len(reports):
        return exit_codes.PARTIAL
    cls = getattr(errors, str(bad[0]["error"]), None)
    return exit_codes.EXIT_CODES.get(cls, exit_codes.LOCAL) if cls else exit_codes.LOCAL


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """Return what one run changed, for people."""
    target = printable(str(report["target"]))
    if report["outcome"] != "ok":
        return [f"{target}: {report['outcome']}: {printable(str(report['reason']))}"]
    counts = ", ".join(
        f"{report[f'{name}_count']:,} {name}"
        for name in ("added", "changed", "removed", "deleted", "unpinned")
        if report[f"{name}_count"]
    )
    size = size_text(report["size_bytes"])
    if report["dry_run"]:
        missing = report["missing_bytes"]
        taken = "size not known" if missing is None else f"{size_text(missing)} to fetch"
    else:
        taken = f"fetched {size_text(report['fetched_bytes'])} in {seconds_text(report['seconds'])}"
    lines = [f"{target}: {counts or 'no changes'} ({size}, {taken})"]
    for name, sign in SIGNS:
        names = report[name]
        lines += [f"  {sign} {printable(str(path))}" for path in names[:SHOWN_NAMES]]
        if (more := report[f"{name}_count"] - min(len(names), SHOWN_NAMES)) > 0:
            lines.append(f"  {sign} {count_text(more, 'more name')}")
    return lines


def _show_list(records: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for record in records:
            write_json(record)
    elif records:
        for line in table_lines(
            ("TARGET", "STATE", "LAST RUN", "NEXT RUN", "SIZE"), [_row(one) for one in records]
        ):
            write_line(line)
    else:
        write_note("nothing is synced; `mirrornode sync --help` shows how")


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    target = printable(str(record["target"]))
    if record["from_node"]:
        target += f" from {printable(str(record['from_node']))}"
    state = str(record["outcome"]) or "never ran"
    if record["reason"]:
        state += f" ({printable(str(record['reason']))[:60]})"
    due = "by hand" if not record["every_s"] else "-"
    if record["next_at"] is not None:
        due = moment_text(record["next_at"])
    return target, state, moment_text(record["started_at"]), due, size_text(record["size_bytes"])

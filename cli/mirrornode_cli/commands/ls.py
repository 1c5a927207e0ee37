"""`mirrornode ls`: what this home shares, and what it knows of the Hub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from mirrornode.errors import TargetError
from mirrornode.wire.hub import SCHEME, is_hub_target
from mirrornode_cli import options
from mirrornode_cli.context import ClientPort, factory_of
from mirrornode_cli.output import table_lines, write_json, write_line, write_note
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.units import count_text, size_text

COMMIT_SHOWN = 12
EPILOG = """\b
Examples:
  mirrornode ls
  mirrornode ls --json | jq -r .cid
  mirrornode ls hf:                # repos of the Hugging Face Hub: revisions, how much is here
  mirrornode ls hf:org/name"""


def ls(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[hf:[REPO[@REV]]]",
            help="Show repos of the Hugging Face Hub instead: all, one, or one revision.",
            show_default=False,
        ),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """List what this node shares.

    With --json: one object a line.
    """
    if target is not None and not is_hub_target(target):
        raise TargetError(f"ls takes hf: or hf:ORG/NAME, not {target}")
    client = factory_of(context).client(config_from_flags(home))
    records = client.ls() if target is None else client.ls_hub(target)
    if as_json:
        for record in records:
            write_json(record)
    elif target is None:
        _show_roots(client, records)
    elif records:
        for line in hub_lines(records):
            write_line(line)
    else:
        write_note(
            "nothing is known of it yet; fetch it with `mirrornode get hf:ORG/NAME`, or share what "
            "is in the Hub's cache with `mirrornode add --hf-cache`"
        )


def _show_roots(client: ClientPort, roots: Sequence[Mapping[str, Any]]) -> None:
    repos = {record["repo"] for record in client.ls_hub(SCHEME) if record["bytes_here"]}
    if not roots and not repos:
        write_note("nothing is shared yet; share a file or folder with `mirrornode add PATH`")
        return
    names = Counter(root["name"] for root in roots)
    rows = [
        (
            str(root["cid"]),
            size_text(root["size_bytes"]),
            f"{root['files']:,}",
            str(root["state"]),
            # Folders of models are called alike everywhere: "models", "loras".
            str(root["name"] if names[root["name"]] == 1 else root["path"]),
        )
        for root in roots
    ]
    if rows:
        for line in table_lines(("CID", "SIZE", "FILES", "STATE", "NAME"), rows):
            write_line(line)
    if repos:
        write_note(f"and {count_text(len(repos), 'repo')} of the Hub; see `mirrornode ls hf:`")


def hub_lines(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of revisions."""
    rows = [
        (
            str(record["repo"]),
            str(record["commit"])[:COMMIT_SHOWN],
            ",".join(record["refs"]) or "-",
            _share(record),
            record["licence"] or "-",
            _access(record),
            str(record["vouched_by"]).removeprefix("hub:"),
        )
        for record in records
    ]
    return table_lines(("REPO", "COMMIT", "REFS", "HERE", "LICENCE", "ACCESS", "SAYS"), rows)


def _share(record: Mapping[str, Any]) -> str:
    """Return how much of a revision is here."""
    if record["files"] is None:
        return "files not known"
    here, total = record["files_here"], record["files"]
    if here == total:
        return f"all {count_text(total, 'file')}, {size_text(record['size_bytes'])}"
    sizes = f"{size_text(record['bytes_here'])} of {size_text(record['size_bytes'])}"
    return f"{here:,} of {count_text(total, 'file')}, {sizes}"


def _access(record: Mapping[str, Any]) -> str:
    if record["private"]:
        return "private"
    return "gated" if record["gated"] else "open"

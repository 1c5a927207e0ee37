"""`mirrornode add`: hash files where they lie and make them fetchable by content."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mirrornode_cli import options
from mirrornode_cli.context import ClientPort, Interrupted, factory_of
from mirrornode_cli.output import write_json, write_line, write_note
from mirrornode_cli.progress import show_progress
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.units import count_text, rate_text, seconds_text, size_text
from mirrornode_cli.view import AddView

if TYPE_CHECKING:
    from mirrornode.events import Added

MAX_SKIPPED_SHOWN = 3
MAX_PROBLEMS_SHOWN = 10
EPILOG = """\b
Examples:
  mirrornode add ./Llama-3-8B                      # a folder: prints `added CID NAME`
  mirrornode add model.safetensors --name my-model
  mirrornode add FILE --profile unixfs-v0-2015     # the CID that `ipfs add` gives by default
  mirrornode add FILE --only-hash                  # print the CID, keep nothing
  mirrornode add --hf-cache                        # what `hf download` has fetched, by repo

\b
Files are shared in place: nothing is copied, and nothing may change them.
`mirrornode verify` says whether they are still what they were."""


def add(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Files or folders to share.", show_default=False),
    ] = None,
    hf_cache: Annotated[
        bool,
        typer.Option(
            "--hf-cache",
            help="Share the cache of the Hugging Face Hub's clients; PATH, if given, is where it "
            "lies. Gated and private repos stay on this machine.",
        ),
    ] = False,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Name to show for it.", show_default=False),
    ] = None,
    profile: Annotated[
        str,
        typer.Option(
            "--profile",
            metavar="PROFILE",
            help="How the CID is made: unixfs-v1-2025 or unixfs-v0-2015.",
        ),
    ] = "unixfs-v1-2025",
    chunker: Annotated[
        str | None,
        typer.Option(
            "--chunker",
            metavar="size-N",
            help="Cut files into blocks of N bytes instead.",
            show_default=False,
        ),
    ] = None,
    raw_leaves: Annotated[
        bool | None,
        typer.Option(
            "--raw-leaves/--no-raw-leaves",
            help="File bytes as raw blocks, or wrapped.",
            show_default=False,
        ),
    ] = None,
    cid_version: Annotated[
        int | None,
        typer.Option("--cid-version", metavar="0|1", help="Form of the CID.", show_default=False),
    ] = None,
    max_links: Annotated[
        int | None,
        typer.Option(
            "--max-links", metavar="N", help="Links in one inner block.", show_default=False
        ),
    ] = None,
    wrap: Annotated[bool, typer.Option("--wrap", help="Put the paths into one folder.")] = False,
    only_hash: Annotated[
        bool, typer.Option("--only-hash", help="Compute the CID; share nothing.")
    ] = False,
    copy: Annotated[
        bool, typer.Option("--copy", help="Keep a copy of our own instead of sharing in place.")
    ] = False,
    hidden: Annotated[
        bool, typer.Option("--hidden", help="Include names that begin with a dot.")
    ] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Share files or folders, and print CIDs."""
    client = factory_of(context).client(config_from_flags(home))
    if hf_cache:
        _add_caches(client, paths or [None], as_json=as_json)
        return
    if not paths:
        raise typer.BadParameter("name at least one file or folder to share", context)
    try:
        with show_progress(AddView("add"), quiet=as_json) as progress:
            results = client.add(
                paths,
                name=name,
                profile=profile,
                chunker=chunker,
                raw_leaves=raw_leaves,
                cid_version=cid_version,
                max_links=max_links,
                wrap=wrap,
                only_hash=only_hash,
                copy=copy,
                hidden=hidden,
                progress=progress,
            )
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped; files already hashed are kept, the same command goes on from there"
        ) from None
    for added in results:
        if as_json:
            write_json(dataclasses.asdict(added))
        else:
            write_line(f"added {added.cid} {added.name}")
            for line in summary_lines(added):
                write_note(line)


def _add_caches(client: ClientPort, caches: Sequence[Path | None], *, as_json: bool) -> None:
    for cache in caches:
        try:
            with show_progress(AddView("add"), quiet=as_json) as progress:
                shared = client.share_hub_cache(cache, progress=progress)
        except KeyboardInterrupt:
            raise Interrupted(
                "stopped; files already hashed are kept, the same command goes on from there"
            ) from None
        if as_json:
            write_json(shared)
            continue
        for repo in shared["repos"]:
            write_line(f"shared {repo['repo']}")
            write_note(f"  {count_text(repo['files'], 'file')}, {size_text(repo['size_bytes'])}")
        for line in cache_lines(shared):
            write_note(line)


def cache_lines(shared: Mapping[str, Any]) -> list[str]:
    """Return what is said of a cache beside the repos that are shared."""
    lines = [f"not shared {name}: {reason}" for name, reason in sorted(shared["kept"].items())]
    problems = shared["problems"]
    lines += [f"unused {item['path']} {item['reason']}" for item in problems[:MAX_PROBLEMS_SHOWN]]
    more = len(problems) - MAX_PROBLEMS_SHOWN + shared["more_problems"]
    if more > 0:
        lines.append(f"unused and {more:,} more")
    lines.append(
        f"{shared['cache']}: {count_text(shared['files'], 'file')} of "
        f"{count_text(len(shared['repos']), 'repo')} shared, {size_text(shared['size_bytes'])}; "
        f"{count_text(shared['files_read'], 'file')} read"
    )
    return lines


def summary_lines(added: Added) -> list[str]:
    """Return what is said beside the CID of one path."""
    parts = [size_text(added.size_bytes), count_text(added.files, "file")]
    if added.files_read < added.files:
        parts.append(f"{added.files - added.files_read:,} unchanged")
    parts.append(seconds_text(added.seconds))
    if added.seconds > 0 and added.files_read == added.files:
        parts.append(rate_text(added.size_bytes / added.seconds))
    lines = [f"  {', '.join(parts)}"]
    if added.skipped:
        shown = ", ".join(added.skipped[:MAX_SKIPPED_SHOWN])
        more = len(added.skipped) - MAX_SKIPPED_SHOWN
        lines.append(f"  skipped {shown}" + (f" and {more} more" if more > 0 else ""))
    return lines

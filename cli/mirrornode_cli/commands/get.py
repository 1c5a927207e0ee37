"""`mirrornode get`: fetch a target from whoever has it, every byte verified."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mirrornode_cli import options
from mirrornode_cli.context import Interrupted, factory_of
from mirrornode_cli.output import write_json, write_line
from mirrornode_cli.progress import show_progress
from mirrornode_cli.settings import config_from_flags, peer_multiaddr, rate_of
from mirrornode_cli.units import (
    count_text,
    percent_text,
    rate_text,
    seconds_text,
    size_text,
    source_text,
)
from mirrornode_cli.view import GetView

if TYPE_CHECKING:
    from mirrornode.events import Got

EPILOG = """\b
Examples:
  mirrornode get bafybei...                        # into ./bafybei... or the folder's name
  mirrornode get bafybei... -o ./model
  mirrornode get ipfs://bafybei.../config.json -o config.json
  mirrornode get bafybei... --mirror https://mirror.example.com/models/x.safetensors
  mirrornode get ipns://k51.../config.json         # what a name means now; also a domain
  mirrornode get bafybei... --download-limit 20MB      # leave the line to others as well

\b
From the Hugging Face Hub, through peers first:
  mirrornode get hf:org/name              # into the cache that from_pretrained reads
  mirrornode get hf:org/name@v1.0 -o ./model --include '*.safetensors' --include '*.json'
  mirrornode get hf:datasets/org/name/train.parquet -o train.parquet
The token for gated and private repos is that of HF_TOKEN or `hf auth login`.

\b
Stopped or cut off? The same command goes on where it was.
Exit codes: 0 done, 3 some files missing, 10 nobody has it, 12 wrong bytes, 13 refused,
130 stopped."""


def get(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="CID, /ipfs/CID[/PATH], ipfs://CID[/PATH], ipns://NAME[/PATH] or "
            "hf:[datasets/]ORG/NAME[@REV][/PATH].",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            help="Where to write it. Default: the current folder; with hf: the Hub's cache.",
            show_default=False,
        ),
    ] = None,
    mirror: Annotated[
        list[str] | None,
        typer.Option(
            "--mirror",
            metavar="URL",
            help="An HTTP source to use as well: a gateway, or where the file lies. Repeatable.",
            show_default=False,
        ),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            "--peer",
            metavar="MULTIADDR",
            help="A node to ask first, ending in /p2p/PEER_ID. Repeatable.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", metavar="S", min=0.1, help="Give up after S seconds without a source."
        ),
    ] = 30.0,
    download_limit: options.DownloadLimit = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include",
            metavar="PATTERN",
            help="With hf: only files whose path matches, such as '*.json'. Repeatable.",
            show_default=False,
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="PATTERN",
            help="With hf: no files whose path matches. Repeatable.",
            show_default=False,
        ),
    ] = None,
    bootstrap: options.Bootstrap = None,
    no_mdns: options.NoMdns = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Fetch a CID, a name or a repo of the Hugging Face Hub, and verify every byte."""
    config = config_from_flags(home, bootstrap=bootstrap or (), mdns=not no_mdns)
    limit = rate_of(download_limit or "0", "--download-limit")
    peers = [peer_multiaddr(text, "--peer") for text in peer or ()]
    client = factory_of(context).client(config)
    try:
        with show_progress(GetView(target), quiet=as_json) as progress:
            got = client.get(
                target,
                output,
                mirrors=mirror or (),
                peers=peers,
                timeout_s=timeout,
                download_limit=limit,
                include=include or (),
                exclude=exclude or (),
                progress=progress,
            )
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped; verified bytes are kept, the same command goes on from there"
        ) from None
    if as_json:
        write_json(dataclasses.asdict(got))
        return
    for line in summary_lines(got):
        write_line(line)


def summary_lines(got: Got) -> list[str]:
    """Return what is said at the end: where it is, how fast, who delivered, who failed."""
    total = sum(got.bytes_by_source.values())
    # A repo may have one content at many paths: it comes once.
    fetched = min(max(0, got.size_bytes - got.resumed_bytes), total)
    files = f", {count_text(got.files, 'file')}" if got.files != 1 else ""
    speed = f", {rate_text(fetched / got.seconds)}" if got.seconds > 0 and fetched else ""
    verified = ", verified" if got.verified else ", NOT verified"
    name = got.cid.removeprefix("hf:")
    lines = [
        f"got {got.path}",
        f"  cid     {got.cid}" if name == got.cid else f"  repo    {name}",
        f"  size    {size_text(got.size_bytes)}{files}{verified}",
        f"  time    {seconds_text(got.seconds)}{speed}",
    ]
    if got.resumed_bytes:
        lines.append(f"  resumed {size_text(got.resumed_bytes)} were already there")
    for source_id, count in sorted(got.bytes_by_source.items(), key=lambda item: -item[1]):
        lines.append(
            f"  from    {source_text(source_id)}: {size_text(count)}, {percent_text(count, total)}"
        )
    lines += [
        f"  bad     {source_text(source_id)}: {reason}"
        for source_id, reason in sorted(got.bad_sources.items())
    ]
    return lines

"""`mirrornode serve`: run the node until SIGTERM or Ctrl-C."""

from __future__ import annotations

from typing import Annotated

import typer

from mirrornode_cli import options
from mirrornode_cli.context import factory_of
from mirrornode_cli.output import write_note
from mirrornode_cli.service import ready_writer, run_until_signal
from mirrornode_cli.settings import config_from_flags

EPILOG = """\b
Examples:
  mirrornode serve
  mirrornode serve --bootstrap /ip4/192.0.2.7/tcp/4101/p2p/12D3Koo...
  mirrornode serve --peer-plane plain    # no TLS between nodes: faster on a trusted LAN
  mirrornode serve --upload-limit 50MB   # all peers together, shared fairly between them
  mirrornode serve --share hf-cache --share /data/models

\b
Tools that use huggingface_hub download through the node, and so from the team:
  export HF_ENDPOINT=http://127.0.0.1:8090

\b
Prints one READY line on stdout when it can be used.
SIGTERM ends it in order, with exit code 0: nothing new is begun, and what is under way may be
finished for 10 s ([service] drain_s in config.toml). A second signal ends it without waiting."""


def serve(
    context: typer.Context,
    listen: options.Listen = None,
    peer_plane: Annotated[
        list[str] | None,
        typer.Option(
            "--peer-plane",
            metavar="ADDR:PORT|plain",
            help="Where other nodes fetch from us (default 0.0.0.0:4102, TLS). "
            "'plain' turns encryption off: a third faster, content is still verified, "
            "but the network can see it. Repeatable.",
            show_default=False,
        ),
    ] = None,
    gateway: Annotated[
        str | None,
        typer.Option(
            "--gateway",
            metavar="ADDR:PORT",
            help="Where tools and browsers of this machine reach us (default 127.0.0.1:8090).",
            show_default=False,
        ),
    ] = None,
    upload_limit: Annotated[
        str | None,
        typer.Option(
            "--upload-limit",
            metavar="RATE",
            help="Send at most RATE bytes a second to all peers together, each the same share, "
            "e.g. 50MB or 6MiB; 0 = no limit. Programs of this machine are not limited.",
            show_default=False,
        ),
    ] = None,
    upload_limit_per_peer: Annotated[
        str | None,
        typer.Option(
            "--upload-limit-per-peer",
            metavar="RATE",
            help="Send at most RATE bytes a second to any one peer.",
            show_default=False,
        ),
    ] = None,
    download_limit: options.DownloadLimit = None,
    share: Annotated[
        list[str] | None,
        typer.Option(
            "--share",
            metavar="PATH|hf-cache",
            help="A file or folder to share in place. 'hf-cache' is the cache of the Hugging "
            "Face Hub's clients, 'hf-cache:DIR' one that lies elsewhere: what open repos have is "
            "shared, also what comes later. Repeatable.",
            show_default=False,
        ),
    ] = None,
    bootstrap: options.Bootstrap = None,
    no_mdns: options.NoMdns = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Run the node of this machine."""
    config = config_from_flags(
        home,
        listen=listen or (),
        bootstrap=bootstrap or (),
        mdns=not no_mdns,
        peer_plane=peer_plane or (),
        gateway=gateway,
        upload_limit=upload_limit,
        upload_per_peer=upload_limit_per_peer,
        download_limit=download_limit,
        share=share or (),
    )
    factory = factory_of(context)
    run_until_signal(
        lambda stop, at_once: factory.serve(
            config, ready_writer(as_json=as_json), stop, at_once=at_once, tell=write_note
        ),
        drains=True,
    )

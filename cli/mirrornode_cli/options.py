"""The options that several verbs share, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="Where this node keeps its key, catalog and settings. "
        "Default: $MIRRORNODE_HOME, or your user data directory.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON on stdout, and nothing else there.")]
Listen = Annotated[
    list[str] | None,
    typer.Option(
        "--listen",
        metavar="MULTIADDR",
        help="Swarm address to listen on, e.g. /ip4/0.0.0.0/tcp/4101. Repeatable.",
        show_default=False,
    ),
]
Bootstrap = Annotated[
    list[str] | None,
    typer.Option(
        "--bootstrap",
        metavar="MULTIADDR",
        help="A node to meet the network through, ending in /p2p/PEER_ID. Repeatable.",
        show_default=False,
    ),
]
DownloadLimit = Annotated[
    str | None,
    typer.Option(
        "--download-limit",
        metavar="RATE",
        help="Receive at most RATE bytes a second, e.g. 50MB or 6MiB; 0 = no limit.",
        show_default=False,
    ),
]
NoMdns = Annotated[
    bool, typer.Option("--no-mdns", help="Do not look for nodes on the local network by mDNS.")
]

"""`mirrornode bootstrap`: run the always-on program that nodes meet through."""

from __future__ import annotations

import typer

from mirrornode_cli import options
from mirrornode_cli.context import factory_of
from mirrornode_cli.service import ready_writer, run_until_signal
from mirrornode_cli.settings import config_from_flags

EPILOG = """\b
Examples:
  mirrornode bootstrap
  mirrornode bootstrap --listen /ip4/0.0.0.0/tcp/4001 --no-mdns

The READY line names its address; give that to `mirrornode serve --bootstrap`."""


def bootstrap(
    context: typer.Context,
    listen: options.Listen = None,
    bootstrap: options.Bootstrap = None,
    no_mdns: options.NoMdns = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Run a node that others meet through."""
    config = config_from_flags(
        home, listen=listen or (), bootstrap=bootstrap or (), mdns=not no_mdns
    )
    factory = factory_of(context)
    run_until_signal(
        lambda stop, _: factory.bootstrap(
            config, ready_writer(as_json=as_json), stop, mdns=config.swarm.mdns
        ),
    )

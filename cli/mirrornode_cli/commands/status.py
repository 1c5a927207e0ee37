"""`mirrornode status`: the state of the node in a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from mirrornode_cli import options
from mirrornode_cli.context import factory_of
from mirrornode_cli.output import write_json, write_line
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.units import count_text, duration_text, percent_text, rate_text, size_text

EPILOG = """\b
Examples:
  mirrornode status
  mirrornode status --json"""


def status(
    context: typer.Context, home: options.Home = None, as_json: options.Json = False
) -> None:
    """Show whether a node runs, and what it does."""
    state = factory_of(context).client(config_from_flags(home)).status()
    if as_json:
        write_json(state)
        return
    for line in status_lines(state):
        write_line(line)


def status_lines(state: Mapping[str, Any]) -> list[str]:
    """Return the state as aligned lines."""
    shares = (
        f"{count_text(state['roots'], 'root')}, {count_text(state['files'], 'file')}, "
        f"{size_text(state['size_bytes'])}"
    )
    if not state["running"]:
        return [
            "node       not running; start it with `mirrornode serve`",
            f"version    {state['version']}",
            f"home       {state['home']}",
            f"shares     {shares}",
        ]
    announcements = state["announcements"]
    lines = [
        f"node       {state['peer_id']}",
        f"version    {state['version']}, up {duration_text(state['uptime_s'])}",
        f"home       {state['home']}",
        *(f"listening  {address}" for address in state["listen"]),
        f"peer plane {state['peer_plane']}",
        f"gateway    {state['gateway'] or 'off'}",
        *([f"hub        HF_ENDPOINT={endpoint}"] if (endpoint := state["hub_endpoint"]) else []),
        f"peers      {state['peers']} connected, {state['dht_peers']} in the routing table",
        f"shares     {shares}",
        f"served     {size_text(state['served_bytes'])}{_limits_text(state['limits'])}",
        f"announced  {announcements['ok']} of {announcements['total']}, {announcements['due']} due",
    ]
    lines += [
        f"publishes  ipns://{name['key']} {name['path']}, change {name['sequence']}, "
        f"kept by {count_text(name['kept_by'], 'peer')}"
        for name in state.get("names", ())
    ]
    lines += [
        f"fetching   {transfer['target']} "
        f"{percent_text(transfer['done_bytes'], transfer['total_bytes'])} of "
        f"{size_text(transfer['total_bytes'])}, {rate_text(transfer['rate_bytes_per_s'])}"
        for transfer in state["transfers"]
    ]
    return lines


def _limits_text(limits: Mapping[str, int]) -> str:
    """Return the limits that are set, as the end of a line."""
    words = {"upload": "up", "upload_per_peer": "up to each peer", "download": "down"}
    parts = [f"{rate_text(limits[key])} {word}" for key, word in words.items() if limits[key]]
    return f"; limits: {', '.join(parts)}" if parts else ""

"""`mirrornode status`: the state of the node in a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from mirrornode_cli import options
from mirrornode_cli.context import factory_of
from mirrornode_cli.output import write_json, write_line
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.units import (
    count_text,
    duration_text,
    moment_text,
    percent_text,
    printable,
    rate_text,
    size_text,
    source_text,
)

SHOWN_REASON = 100  # letters
LATE_S = 600.0  # a sweep that is less behind is on time

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
        f"announced  {_announced_text(announcements)}",
    ]
    if public := state.get("public_announcements"):
        lines.append(f"in public  {_announced_text(public)}, {_sweep_text(public)}")
    lines += [
        f"publishes  ipns://{name['key']} {name['path']}, change {name['sequence']}, "
        f"kept by {count_text(name['kept_by'], 'peer')}"
        for name in state.get("names", ())
    ]
    lines += [f"sync       {_sync_text(one)}" for one in state.get("syncs", ())]
    lines += [
        f"last {window:<6}{_totals_text(state[f'last_{window}'])}" for window in ("hour", "day")
    ]
    if state["hit_ratio"] is not None:
        lines.append(f"hits       {100 * state['hit_ratio']:.0f}% of what HTTP clients asked for")
    lines += [f"ALERT      {printable(str(alert['text']))}" for alert in state.get("alerts", ())]
    for transfer in state["transfers"]:
        lines.append(
            f"fetching   {transfer['target'] or 'something'} "
            f"{percent_text(transfer['done_bytes'], transfer['total_bytes'])} of "
            f"{size_text(transfer['total_bytes'])}, {rate_text(transfer['rate_bytes_per_s'])}"
        )
        lines += [
            f"  from     {source_text(source['source_id'] or source['kind'])}: "
            f"{size_text(source['received_bytes'])}, {rate_text(source['rate_bytes_per_s'])}"
            f"{_distance_text(source)}"
            for source in transfer["sources"]
            if source["received_bytes"] or source["state"] == "active"
        ]
    return lines


def _sync_text(sync: Mapping[str, Any]) -> str:
    """Return how a target that is kept in step stands, in one line."""
    target = sync["target"]
    if sync["from_node"]:
        target += f" from {sync['from_node']}"
    parts = [sync["outcome"] or "never ran"]
    if sync["started_at"] is not None:
        parts[0] += f" {moment_text(sync['started_at'])}"
    if sync["reason"]:
        parts[0] += f" ({sync['reason'][:SHOWN_REASON]})"
    if sync["outcome"] != "ok" and sync["ok_at"] is not None:
        parts.append(f"last ok {moment_text(sync['ok_at'])}")
    if sync["next_at"] is not None:
        parts.append(f"next {moment_text(sync['next_at'])}")
    if sync["is_overdue"]:
        parts.append("OVERDUE")
    return printable(f"{target}: {', '.join(parts)}")


def _totals_text(totals: Mapping[str, Any]) -> str:
    """Return what was downloaded in some time, in one line."""
    if not totals["downloads"]:
        return "no downloads"
    parts = [count_text(totals["downloads"], "download")]
    parts += [
        f"{count} {outcome}" for outcome, count in totals["outcomes"].items() if outcome != "ok"
    ]
    came = totals["received_bytes"]
    if came:
        shares = ", ".join(
            f"{kind} {percent_text(count, came)}"
            for kind, count in sorted(totals["bytes_by_kind"].items(), key=lambda item: -item[1])
            if count
        )
        parts.append(f"{size_text(came)} ({shares}) at {rate_text(totals['rate_bytes_per_s'])}")
    return "; ".join(parts)


def _distance_text(source: Mapping[str, Any]) -> str:
    return "" if source["rtt_s"] is None else f", {1000 * source['rtt_s']:.1f} ms away"


def _announced_text(counts: Mapping[str, int]) -> str:
    return f"{counts['ok']} of {counts['total']}, {counts['due']} due"


def _sweep_text(state: Mapping[str, Any]) -> str:
    """Return where the sweep of the public DHT is, or why it stands."""
    if state["offline"]:
        return "nobody answers"
    behind = f", {duration_text(state['behind_s'])} late" if state["behind_s"] >= LATE_S else ""
    return f"region {state['region'] + 1} of {state['regions']}{behind}"


def _limits_text(limits: Mapping[str, int]) -> str:
    """Return the limits that are set, as the end of a line."""
    words = {"upload": "up", "upload_per_peer": "up to each peer", "download": "down"}
    parts = [f"{rate_text(limits[key])} {word}" for key, word in words.items() if limits[key]]
    return f"; limits: {', '.join(parts)}" if parts else ""

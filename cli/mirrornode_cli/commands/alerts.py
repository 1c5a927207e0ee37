"""`mirrornode alerts`: what is wrong with the node, and whether its webhooks can be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from mirrornode_cli import exit_codes, options
from mirrornode_cli.context import factory_of
from mirrornode_cli.output import write_json, write_line, write_note
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.units import printable, seconds_text

NOTHING = "no alerts: all is well, as far as the rules look"

EPILOG = """\b
Examples:
  mirrornode alerts                       # what is wrong now
  mirrornode alerts test                  # tell every webhook, show what each answered
  mirrornode alerts --json

\b
Rules are set in [alerts] of config.toml, webhooks as [[webhook]]. test exits with 10 when no
webhook took the message, with 3 when some did not."""


def alerts(
    context: typer.Context,
    action: Annotated[
        str | None,
        typer.Argument(
            metavar="[test]", help="test: send a message to every webhook.", show_default=False
        ),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """List what is wrong now, or test the webhooks.

    With --json: one object a line.
    """
    if action not in (None, "test"):
        raise typer.BadParameter(f"{action!r}: only test is known", param_hint="ACTION")
    client = factory_of(context).client(config_from_flags(home))
    if action is None:
        _show(client.alerts(), as_json=as_json)
        return
    told = client.test_alerts()
    for one in told:
        if as_json:
            write_json(one)
        else:
            write_line(told_line(one))
    taken = sum(one["is_taken"] for one in told)
    if taken < len(told):
        raise typer.Exit(exit_codes.PARTIAL if taken else exit_codes.NOT_FOUND)


def told_line(told: Mapping[str, Any]) -> str:
    """Return what one webhook answered to a test."""
    word = "took it" if told["is_taken"] else "failed"
    return (
        f"{word:<8} {printable(str(told['webhook']))}: {printable(str(told['answer']))} "
        f"({seconds_text(told['seconds'])})"
    )


def alert_lines(alerts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return alerts as lines for people."""
    return [
        f"{alert['severity']:<9} {datetime.fromtimestamp(alert['since']):%Y-%m-%d %H:%M}  "
        f"{printable(str(alert['text']))}"
        for alert in alerts
    ]


def _show(found: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for alert in found:
            write_json(alert)
    elif found:
        for line in alert_lines(found):
            write_line(line)
    else:
        write_note(NOTHING)

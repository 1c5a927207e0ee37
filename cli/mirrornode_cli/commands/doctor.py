"""`mirrornode doctor`: what works, what does not, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from mirrornode.config import Config, default_home
from mirrornode.errors import ConfigError
from mirrornode_cli import exit_codes, options
from mirrornode_cli.context import factory_of
from mirrornode_cli.output import write_json, write_line
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.units import count_text

EPILOG = """\b
Examples:
  mirrornode doctor
  mirrornode doctor --json

\b
Looks at the home, its node and its peers, the ports, mDNS, the clock, proxies and certificates,
origins, mirrors and HF_ENDPOINT; with and without a running node. It changes nothing.
Exit code 1 when there is a problem; warnings are no problem."""

_WIDTH = max(map(len, ("ok", "warning", "problem")))
_SETTINGS = "settings"


def doctor(
    context: typer.Context, home: options.Home = None, as_json: options.Json = False
) -> None:
    """Check this machine and its node, and say what to do.

    With --json: one object with all findings.
    """
    findings: list[dict[str, Any]] = []
    try:
        config = config_from_flags(home)
    except ConfigError as exc:
        findings.append(
            {
                "check": _SETTINGS,
                "level": "problem",
                "text": str(exc),
                "next_step": "correct that first; the checks below go by the defaults",
            }
        )
        config = Config(home=home.expanduser().absolute() if home else default_home())
    findings += factory_of(context).client(config).doctor()
    counts = Counter(str(finding["level"]) for finding in findings)
    if as_json:
        write_json(
            {
                "ok": not counts["problem"],
                "problems": counts["problem"],
                "warnings": counts["warning"],
                "findings": findings,
            }
        )
    else:
        for line in report_lines(findings):
            write_line(line)
    if counts["problem"]:
        raise typer.Exit(exit_codes.LOCAL)


def report_lines(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the report: a line for each finding, what to do below it, and the sum."""
    width = max((len(str(finding["check"])) for finding in findings), default=0)
    lines = []
    for finding in findings:
        head = f"{finding['level']:<{_WIDTH}}  {finding['check']:<{width}}  "
        lines.append(f"{head}{' '.join(str(finding['text']).split())}")
        if finding["next_step"]:
            lines.append(f"{'':<{len(head)}}-> {finding['next_step']}")
    counts = Counter(str(finding["level"]) for finding in findings)
    if not counts["problem"] and not counts["warning"]:
        return [*lines, "all is well"]
    return [
        *lines,
        f"{count_text(counts['problem'], 'problem')}, {count_text(counts['warning'], 'warning')}",
    ]

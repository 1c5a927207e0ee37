"""`mirrornode doctor`: runs checks side by side, each with its own patience; never fails itself.

A check looks at something and judges what it saw. Looking is in `doctor_machine` and
`doctor_network`; judging is pure, in `doctor_rules` and `doctor_web_rules`. Nothing is changed or
made on the machine, and no login or token is ever part of a finding.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

log = logging.getLogger(__name__)

OK, WARNING, PROBLEM = "ok", "warning", "problem"
PATIENCE_S = 8.0  # of each check; slower than this is a finding in itself


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has to say.

    Attributes:
        check: What was looked at, in a word or two.
        level: `OK`, `WARNING` (works, but worse than it could) or `PROBLEM` (does not work).
        text: One plain sentence.
        next_step: What to do; "" when there is nothing to do.
    """

    check: str
    level: str
    text: str
    next_step: str = ""

    def to_record(self) -> dict[str, Any]:
        """Return the finding as JSON has it."""
        return asdict(self)


Check = Callable[[], Sequence[Finding]]


def examine(checks: Mapping[str, Check], *, patience_s: float = PATIENCE_S) -> list[Finding]:
    """Run all checks side by side and return their findings in the order of the checks.

    Args:
        patience_s: A check that takes longer is left alone and reported as such.
    """
    found: dict[str, Sequence[Finding]] = {}

    def work(name: str, check: Check) -> None:
        try:
            found[name] = check()
        except Exception as exc:
            # A task boundary: one check that fails must not hide what the others found.
            log.debug("check failed name=%s", name, exc_info=True)
            found[name] = [
                Finding(name, WARNING, f"could not be checked: {type(exc).__name__}: {exc}")
            ]

    threads = [
        # Daemons: one that hangs in a dead mount or a resolver does not keep the command.
        threading.Thread(target=work, args=item, name=f"doctor-{item[0]}", daemon=True)
        for item in checks.items()
    ]
    deadline = time.monotonic() + patience_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = f"gave no answer within {patience_s:g} s"
    return [
        finding
        for name in checks
        for finding in found.get(name, [Finding(name, WARNING, late, "try again; see if it stays")])
    ]


def has_problem(findings: Sequence[Finding]) -> bool:
    """Tell whether something does not work."""
    return any(finding.level == PROBLEM for finding in findings)

"""What is kept of alerts: plain records, no SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WARNING: Final = "warning"
CRITICAL: Final = "critical"

ASIDE: Final = "aside"
TRIAL: Final = "trial"
BACK: Final = "back"


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that somebody should know of, as long as it lasts.

    Attributes:
        rule: One of `mirror.alerts_rules.RULES`.
        key: What it is about, such as a mirror's URL; "" for the node as a whole.
        severity: `WARNING` or `CRITICAL`.
        text: One sentence for people; no secrets, and nothing that `[log] requests` hides.
        since: Unix seconds.
    """

    rule: str
    key: str
    severity: str
    text: str
    since: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How a mirror or origin stands that was put aside, or was until a while ago.

    Attributes:
        server: A `mirror_key`, or the id of an origin.
        state: `ASIDE` (the last resort), `TRIAL` (in use, and watched), or `BACK` (in use again).
        rule: Why it was put aside.
        text: The same in words.
        changed_at: Unix seconds; what it did before does not count.
        rests: How often it was put aside or not reached in a row; its rests grow with it.
    """

    server: str
    state: str
    rule: str
    text: str
    changed_at: float
    rests: int

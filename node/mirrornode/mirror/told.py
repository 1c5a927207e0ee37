"""What each source did, in one line for people: `http:https://h/m.bin answered 404; …`.

Reasons are predicates, as `sources` and `transfer` write them; nobody parses them.
"""

from __future__ import annotations

from collections.abc import Mapping

SOURCES_SHOWN = 8


def told(reasons: Mapping[str, str]) -> str:
    """Return the reasons by source as one clause each, the first few of many."""
    shown = [f"{source_id} {reason}" for source_id, reason in reasons.items()]
    more = len(shown) - SOURCES_SHOWN
    return "; ".join(shown[:SOURCES_SHOWN]) + (f"; and {more} more" if more > 0 else "")

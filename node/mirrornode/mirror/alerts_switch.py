"""Which mirrors and origins are put aside, and how they come back. Pure.

Driven by: `mirror.alerts`, each round with what `alerts_rules.find_faults` found.

One that is at fault is put aside when another of its kind is in use that is not: it is then asked
only when nobody else delivers. After a rest it is knocked at; when it answers it is on trial: in
use again, and watched. Some good downloads in a row bring it back, one bad one gives it a longer
rest. What it did before it came back does not count against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mirrornode.mirror.alerts_rules import SLOW, recent_uses, verdicts
from mirrornode.store.alert_records import ASIDE, BACK, TRIAL, Standing
from mirrornode.store.history import DAY_S

if TYPE_CHECKING:
    from mirrornode.config_alerts import AlertsConfig
    from mirrornode.mirror.alerts_rules import Facts, Finding, Server

LONGEST_RESTS: Final = 12  # times the first rest
PATIENCE_S: Final = 3600.0  # on trial for slowness while only short downloads come by
SOON_S: Final = 30.0  # between two knocks when there is nobody else to go to


def next_standings(
    standings: Mapping[str, Standing],
    faults: Mapping[str, Finding],
    facts: Facts,
    settings: AlertsConfig,
) -> dict[str, Standing]:
    """Return who is put aside, on trial or back from now on; what is not configured is dropped."""
    found: dict[str, Standing] = {}
    for server in facts.servers:
        standing = standings.get(server.name)
        if standing is None:
            continue
        if standing.state == TRIAL:
            standing = _after_trial(standing, server, facts, settings)
        if not settings.switch and standing.state == ASIDE:
            standing = replace(standing, state=BACK, changed_at=facts.now)
        if standing.state != BACK or facts.now - standing.changed_at < DAY_S:
            found[server.name] = standing
    if settings.switch:
        for name, fault in faults.items():
            if any(one not in faults for one in _in_use(name, found, facts)):
                before = found.get(name)
                rests = before.rests + 1 if before is not None else 0
                found[name] = Standing(name, ASIDE, fault.rule, fault.text, facts.now, rests)
    return found


def due_for_trial(
    standings: Mapping[str, Standing],
    faults: Mapping[str, Finding],
    facts: Facts,
    settings: AlertsConfig,
) -> list[str]:
    """Return who has rested long enough, or is needed because all in use are at fault."""
    found = []
    for standing in standings.values():
        if standing.state != ASIDE:
            continue
        rested_s = facts.now - standing.changed_at
        rest_s = settings.rest_s * min(2**standing.rests, LONGEST_RESTS)
        if all(one in faults for one in _in_use(standing.server, standings, facts)):
            rest_s = min(rest_s, SOON_S)
        if rested_s >= rest_s or rested_s < 0:  # or the clock was set back
            found.append(standing.server)
    return found


def after_knock(standing: Standing, now: float, *, answers: bool) -> Standing:
    """Return the standing of one that was due for a trial and was knocked at."""
    if answers:
        return replace(standing, state=TRIAL, changed_at=now)
    return replace(standing, changed_at=now, rests=standing.rests + 1)


def _after_trial(
    standing: Standing, server: Server, facts: Facts, settings: AlertsConfig
) -> Standing:
    judged = verdicts(server, facts, settings, standing.changed_at)
    if not all(judged):
        rests = standing.rests + 1
        return replace(standing, state=ASIDE, changed_at=facts.now, rests=rests)
    good = len(judged)
    if standing.rule != SLOW or facts.now - standing.changed_at >= PATIENCE_S:
        # Short ones show that it works, if not how fast; so they count at once, or in the end.
        good = len(recent_uses(server, facts.now, standing.changed_at))
    if good >= settings.prove:
        return replace(standing, state=BACK, changed_at=facts.now)
    return standing


def _in_use(name: str, standings: Mapping[str, Standing], facts: Facts) -> list[str]:
    """Return the other servers of a server's kind that are in use and not on trial."""
    kinds = {server.name: server.kind for server in facts.servers}
    return [
        server.name
        for server in facts.servers
        if server.name != name
        and server.kind == kinds[name]
        and (server.name not in standings or standings[server.name].state == BACK)
    ]

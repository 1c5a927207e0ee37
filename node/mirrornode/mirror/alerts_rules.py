"""The rules of alerts. Pure: what is known of the node goes in, what is wrong with it comes out.

Two of the rules, `SLOW` and `FAILING`, look for a mirror or origin that is at fault; what becomes
of it is decided in `mirror.alerts_switch`. When one is found, the same is not said of the node as
well. A mirror is slow only in comparison: where all are, it is the line, or our own limit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mirrornode.store.alert_records import ASIDE, BACK, CRITICAL, TRIAL, WARNING
from mirrornode.store.history import DAY_S
from mirrornode.store.history_records import HistoryTotals

if TYPE_CHECKING:
    from mirrornode.config_alerts import AlertsConfig
    from mirrornode.sources.origins import OriginState
    from mirrornode.store.alert_records import Standing
    from mirrornode.store.history_records import Download
    from mirrornode.store.records import MirrorUse

SLOW: Final = "slow"
FAILING: Final = "failing"
DISK: Final = "disk"
ORIGIN: Final = "origin"
WRONG: Final = "wrong_bytes"
ANNOUNCE: Final = "announce"
RULES: Final = (SLOW, FAILING, DISK, ORIGIN, WRONG, ANNOUNCE)

SMALL_BYTES: Final = 256 * 1024  # of a download; below that it is about round trips
MUCH_FASTER: Final = 2.0
CALM_DISK: Final = 0.02  # an alert of the disk ends so far below its mark
CALM_SHARE: Final = 0.8  # and one of failures at this part of its mark
MAX_TEXT: Final = 300


@dataclass(frozen=True, slots=True)
class Server:
    """A configured mirror or origin, and how it did.

    Attributes:
        name: A `mirror_key`, or the id of an origin.
        kind: "mirror" or "origin"; only one of the same kind can stand in.
        uses: The newest first.
    """

    name: str
    kind: str
    uses: Sequence[MirrorUse] = ()


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many announcements waited at some moment, of how many."""

    at: float
    waiting: int
    total: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at; times are Unix seconds.

    Attributes:
        downloads: Those that ended since a mirror was last put aside, the newest first.
        day: Sums of the last day, or of the time since a mirror was last put aside.
        wrong: Id, kind and time of sources that sent wrong bytes within the last day.
        disk_used: Part of the home's disk; None when that is not known.
        backlog: Samples, the oldest first.
    """

    now: float
    downloads: Sequence[Download] = ()
    day: HistoryTotals = field(default_factory=HistoryTotals)
    servers: Sequence[Server] = ()
    origins: Sequence[OriginState] = ()
    wrong: Sequence[tuple[str, str, float]] = ()
    disk_used: float | None = None
    backlog: Sequence[Backlog] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong now; see `Alert` for the fields."""

    rule: str
    key: str
    severity: str
    text: str


def find_faults(
    facts: Facts, settings: AlertsConfig, standings: Mapping[str, Standing]
) -> dict[str, Finding]:
    """Return by name which of the servers in use are at fault."""
    found = {}
    for server in facts.servers:
        standing = standings.get(server.name)
        if standing is not None and standing.state != BACK:
            continue
        fault = _slow_server(server, facts, settings, standings) or _failing_server(
            server, facts, settings, standings
        )
        if fault is not None:
            found[server.name] = fault
    return found


def find_all(
    facts: Facts,
    settings: AlertsConfig,
    faults: Mapping[str, Finding],
    standings: Mapping[str, Standing],
    active: Collection[tuple[str, str]] = (),
) -> list[Finding]:
    """Return all that is wrong.

    Args:
        faults: As `find_faults` found them.
        standings: As they are after what became of those.
        active: Rule and key of the alerts that stand: those end a little later than they begin.
    """
    found = list(_of_servers(facts, faults, standings))
    rules = {finding.rule for finding in found}
    if SLOW not in rules and is_slow(facts, settings):
        found.append(
            Finding(
                SLOW,
                "",
                WARNING,
                f"the last {settings.slow_downloads} downloads were each below "
                f"{rate_words(settings.slow_rate)}",
            )
        )
    if FAILING not in rules:
        found += _failing_node(facts, settings, active)
    found += _disk(facts, settings, active)
    found += _origins(facts, settings)
    if settings.wrong_bytes:
        found += _wrong(facts)
    found += _announcements(facts, settings)
    return found


def is_slow(facts: Facts, settings: AlertsConfig) -> bool:
    """Tell whether the last downloads of the node were all slow."""
    wanted = settings.slow_downloads
    judged = [
        download.rate_bytes_per_s < settings.slow_rate
        for download in facts.downloads
        if download.rate_bytes_per_s is not None
        and download.outcome != "cancelled"
        and (
            download.rate_bytes_per_s >= settings.slow_rate
            or (
                download.seconds >= settings.slow_after_s and download.received_bytes >= SMALL_BYTES
            )
        )
    ]
    return wanted > 0 and len(judged) >= wanted and all(judged[:wanted])


def verdicts(server: Server, facts: Facts, settings: AlertsConfig, since: float) -> list[bool]:
    """Return of each use whether it was good, the newest first; short ones that show nothing are
    left out.

    Args:
        since: Unix seconds; what was before does not count.
    """
    others = [_rate(one, facts.now, settings) for one in _others(server, facts)]
    best_other = max((rate for rate in others if rate is not None), default=None)
    found = []
    for use in recent_uses(server, facts.now, since):
        if use.outcome != "ok":
            found.append(False)
            continue
        rate = use.size_bytes / use.seconds if use.seconds > 0 else 0.0
        if rate >= settings.slow_rate and use.size_bytes:
            found.append(True)
        elif use.seconds >= settings.slow_after_s:
            found.append(best_other is not None and best_other < MUCH_FASTER * rate)
    return found


def recent_uses(server: Server, now: float, since: float) -> list[MirrorUse]:
    """Return the uses of the last day after `since` (Unix seconds), the newest first."""
    return [use for use in server.uses if use.at > since and use.at > now - DAY_S]


def rate_words(rate_bytes_per_s: float) -> str:
    """Return a rate for people."""
    if rate_bytes_per_s >= 1e6:
        return f"{rate_bytes_per_s / 1e6:.3g} MB/s"
    return f"{rate_bytes_per_s / 1e3:.3g} kB/s"


def _slow_server(
    server: Server, facts: Facts, settings: AlertsConfig, standings: Mapping[str, Standing]
) -> Finding | None:
    wanted = settings.slow_downloads
    judged = verdicts(server, facts, settings, _counts_since(server, standings))
    if not wanted or len(judged) < wanted or any(judged[:wanted]):
        return None
    usable = [one for one in _others(server, facts) if not _is_aside(one, standings)]
    rates = [_rate(one, facts.now, settings) for one in usable]
    own = _rate(server, facts.now, settings) or 0.0
    is_worse = any(rate is not None and rate >= MUCH_FASTER * own for rate in rates)
    # One that nobody knows may well be better, if downloads are slow as they are.
    may_be_worse = any(rate is None for rate in rates) and is_slow(facts, settings)
    if not is_worse and not may_be_worse:
        return None
    text = (
        f"{server.kind} {server.name} failed, or brought less than "
        f"{rate_words(settings.slow_rate)}, in its last {wanted} downloads"
    )
    return Finding(SLOW, server.name, WARNING, text[:MAX_TEXT])


def _failing_server(
    server: Server, facts: Facts, settings: AlertsConfig, standings: Mapping[str, Standing]
) -> Finding | None:
    uses = recent_uses(server, facts.now, _counts_since(server, standings))
    failed = sum(use.outcome != "ok" for use in uses)
    if len(uses) < settings.failed_least or failed <= settings.failed_share * len(uses):
        return None
    text = f"{server.kind} {server.name} failed in {failed} of its last {len(uses)} downloads"
    return Finding(FAILING, server.name, WARNING, text[:MAX_TEXT])


def _of_servers(
    facts: Facts, faults: Mapping[str, Finding], standings: Mapping[str, Standing]
) -> Iterator[Finding]:
    for server in facts.servers:
        standing = standings.get(server.name)
        if standing is not None and standing.state == ASIDE:
            text = f"{standing.text}; it is put aside for the next best"
            yield Finding(standing.rule, server.name, WARNING, text)
        elif standing is not None and standing.state == TRIAL:
            text = f"{standing.text}; it is on trial"
            yield Finding(standing.rule, server.name, WARNING, text)
        elif server.name in faults:
            yield faults[server.name]


def _failing_node(
    facts: Facts, settings: AlertsConfig, active: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    outcomes = facts.day.outcomes
    failed = outcomes.get("failed", 0) + outcomes.get("partial", 0)
    judged = failed + outcomes.get("ok", 0)
    mark = settings.failed_share * (CALM_SHARE if (FAILING, "") in active else 1.0)
    if judged >= settings.failed_least and failed > mark * judged:
        text = f"{failed} of {judged} downloads failed within a day"
        yield Finding(FAILING, "", CRITICAL, text)


def _disk(
    facts: Facts, settings: AlertsConfig, active: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    mark = settings.disk_used - (CALM_DISK if (DISK, "") in active else 0.0)
    if facts.disk_used is not None and settings.disk_used < 1 and facts.disk_used > mark:
        text = f"the disk of the node's home is {100 * facts.disk_used:.0f} % full"
        yield Finding(DISK, "", CRITICAL, text)


def _origins(facts: Facts, settings: AlertsConfig) -> Iterator[Finding]:
    for origin in facts.origins:
        if 0 < settings.origin_failures <= origin.failures:
            text = f"origin {origin.origin_id} cannot be reached: {_one_line(origin.reason)}"
            yield Finding(ORIGIN, origin.origin_id, CRITICAL, text[:MAX_TEXT])


def _wrong(facts: Facts) -> Iterator[Finding]:
    names = [source_id or kind for source_id, kind, _ in facts.wrong]
    # The history has more of it, but with `[log] requests = false` no names, or nothing at all.
    names = names or [
        server.name
        for server in facts.servers
        if any(use.outcome == "wrong" for use in recent_uses(server, facts.now, 0.0))
    ]
    for name in dict.fromkeys(names):
        text = f"{_one_line(name)} sent wrong bytes; none of them were used"
        yield Finding(WRONG, name[:MAX_TEXT], CRITICAL, text[:MAX_TEXT])


def _announcements(facts: Facts, settings: AlertsConfig) -> Iterator[Finding]:
    late_s, share = settings.announce_late_s, settings.announce_share
    samples = [sample for sample in facts.backlog if sample.at >= facts.now - 1.5 * late_s]
    if not samples or share >= 1 or samples[-1].at - samples[0].at < late_s:
        return
    is_behind = all(sample.waiting > share * sample.total for sample in samples)
    if is_behind and samples[-1].waiting >= samples[0].waiting:
        last = samples[-1]
        text = (
            f"announcements fall behind: {last.waiting} of {last.total} wait, no fewer than "
            f"{(last.at - samples[0].at) / 60:.0f} minutes ago"
        )
        yield Finding(ANNOUNCE, "", WARNING, text)


def _rate(server: Server, now: float, settings: AlertsConfig) -> float | None:
    """Return what a server brought of late while it was at work; None when it was not used."""
    uses = recent_uses(server, now, 0.0)[: max(1, settings.slow_downloads)]
    seconds = sum(use.seconds for use in uses)
    return sum(use.size_bytes for use in uses) / seconds if seconds > 0 else None


def _others(server: Server, facts: Facts) -> list[Server]:
    return [one for one in facts.servers if one.kind == server.kind and one.name != server.name]


def _counts_since(server: Server, standings: Mapping[str, Standing]) -> float:
    standing = standings.get(server.name)
    return standing.changed_at if standing is not None else 0.0


def _is_aside(server: Server, standings: Mapping[str, Standing]) -> bool:
    standing = standings.get(server.name)
    return standing is not None and standing.state == ASIDE


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)

"""Builders of what the rules of alerts look at."""

from __future__ import annotations

from mirrornode.mirror.alerts_rules import Facts, Server
from mirrornode.store.alert_records import Standing
from mirrornode.store.history_records import Download
from mirrornode.store.records import MirrorUse

NOW = 1_800_000_000.0
MB = 1_000_000


def use(rate: float, age_s: float = 0.0, *, seconds: float = 5.0, outcome: str = "ok") -> MirrorUse:
    """Make a use at `rate` MB/s that ended `age_s` seconds ago."""
    return MirrorUse("", NOW - age_s, int(rate * MB * seconds), seconds, None, outcome)


def server(name: str, *rates: float | None, kind: str = "mirror") -> Server:
    """Make a server by its last rates in MB/s, the newest first; None: it failed."""
    uses = [
        use(rate or 0.0, 10.0 * index + 1, outcome="failed" if rate is None else "ok")
        for index, rate in enumerate(rates)
    ]
    return Server(name, kind, uses)


def download(
    rate: float | None, age_s: float = 1.0, *, seconds: float = 5.0, outcome: str = "ok"
) -> Download:
    """Make a download at `rate` MB/s; None: nothing came."""
    size = int((rate or 0.0) * MB * seconds)
    return Download(
        1, "get", "x", NOW - age_s - seconds, ended_at=NOW - age_s, seconds=seconds,
        size_bytes=size, received_bytes=size, outcome=outcome,
    )  # fmt: skip


def facts(*servers: Server, now: float = NOW, downloads: tuple[float, ...] = ()) -> Facts:
    """Make facts of servers, and of the rates of the last downloads."""
    return Facts(now, downloads=[download(rate) for rate in downloads], servers=servers)


def standing(name: str, state: str, age_s: float = 0.0, rests: int = 0) -> Standing:
    return Standing(name, state, "slow", f"mirror {name} is slow", NOW - age_s, rests)

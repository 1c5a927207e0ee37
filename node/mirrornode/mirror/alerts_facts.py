"""Gathers what the rules of alerts look at: history, mirrors, origins, disk, announcements.

Blocking: to be called in a thread. Nothing is judged here.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirrornode.mirror.alerts_rules import Backlog, Facts, Server
from mirrornode.mirror.mirror_score import mirror_key
from mirrornode.store.alert_records import ASIDE
from mirrornode.store.history import DAY_S

if TYPE_CHECKING:
    from mirrornode.config import Config
    from mirrornode.sources.origins import Origins
    from mirrornode.store.alert_records import Standing
    from mirrornode.store.catalog import Catalog

LOOKED_AT: Final = 50  # downloads, to find a few that can be judged
SAMPLES: Final = 30  # of the backlog, within the time after which it is late


def disk_used(path: Path) -> float | None:
    """Return the part of a disk that is used, as `df` has it; None when it cannot be told."""
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return None
    usable = usage.used + usage.free
    return usage.used / usable if usable else None


class FactFinder:
    """Looks at one node; used by one thread at a time."""

    def __init__(
        self,
        catalog: Catalog,
        config: Config,
        origins: Origins,
        *,
        has_peers: Callable[[], bool],
        look_at_disk: Callable[[Path], float | None] = disk_used,
    ) -> None:
        """Prepare.

        Args:
            has_peers: Tells whether there is anybody to announce to.
        """
        self._catalog = catalog
        self._config = config
        self._origins = origins
        self._has_peers = has_peers
        self._look_at_disk = look_at_disk
        self._backlog: deque[Backlog] = deque(maxlen=2 * SAMPLES)

    def facts(self, standings: Mapping[str, Standing], now: float) -> Facts:
        """Return how things are.

        Args:
            now: Unix seconds.

        Raises:
            StoreError: The catalog cannot be read.
        """
        # What was before a mirror was put aside says nothing of how it goes without it.
        switched_at = max(
            (one.changed_at for one in standings.values() if one.state == ASIDE), default=0.0
        )
        ended = self._catalog.downloads(since=switched_at, limit=LOOKED_AT)
        return Facts(
            now,
            downloads=[
                one for one in ended if one.ended_at is not None and one.ended_at > switched_at
            ],
            day=self._catalog.history_totals(max(now - DAY_S, switched_at)),
            servers=self._servers(),
            origins=self._origins.states(),
            wrong=self._catalog.wrong_sources(now - DAY_S),
            disk_used=self._look_at_disk(self._catalog.home),
            backlog=self._samples(now),
        )

    def _servers(self) -> list[Server]:
        mirrors = dict.fromkeys(mirror_key(mirror.url) for mirror in self._config.mirror)
        origins = dict.fromkeys(state.origin_id for state in self._origins.states())
        uses = self._catalog.mirror_uses([*mirrors, *origins])
        return [
            *(Server(name, "mirror", uses[name]) for name in mirrors),
            *(Server(name, "origin", uses[name]) for name in origins),
        ]

    def _samples(self, now: float) -> list[Backlog]:
        late_s = self._config.alerts.announce_late_s
        if not self._has_peers():
            self._backlog.clear()
        elif not self._backlog or not 0 <= now - self._backlog[-1].at < late_s / SAMPLES:
            total, due, ok = self._catalog.announce_counts(now)
            if self._config.swarm.mode == "public":
                others = self._catalog.public_announcements().announce_counts(now)
                total, due, ok = total + others[0], due + others[1], ok + others[2]
            self._backlog.append(Backlog(now, max(due, total - ok), total))
        return list(self._backlog)

"""Which alerts stand: each is told of once when it begins, and once when it has ended. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirrornode.store.alert_records import Alert

if TYPE_CHECKING:
    from mirrornode.mirror.alerts_rules import Finding

FIRED: Final = "fired"
RECOVERED: Final = "recovered"
TEST: Final = "test"


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told of an alert: `event` is `FIRED`, `RECOVERED` or `TEST`, `at` Unix seconds."""

    event: str
    alert: Alert
    at: float


class AlertBook:
    """The alerts that stand."""

    def __init__(self, alerts: Iterable[Alert] = ()) -> None:
        """Begin with what stood before a restart."""
        self._alerts = {(alert.rule, alert.key): alert for alert in alerts}
        self._calm_since: dict[tuple[str, str], float] = {}

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Those that stand, the oldest first."""
        return tuple(sorted(self._alerts.values(), key=lambda one: (one.since, one.rule, one.key)))

    @property
    def names(self) -> frozenset[tuple[str, str]]:
        """Rule and key of each."""
        return frozenset(self._alerts)

    def take(self, findings: Iterable[Finding], now: float, calm_s: float) -> list[Notice]:
        """Take over what is wrong now, and return what is to be told.

        Args:
            calm_s: An alert ends when nothing was found of it for so long.
        """
        notices = []
        found = {(finding.rule, finding.key): finding for finding in findings}
        for name, finding in found.items():
            self._calm_since.pop(name, None)
            before = self._alerts.get(name)
            since = before.since if before is not None else now
            alert = Alert(finding.rule, finding.key, finding.severity, finding.text, since)
            self._alerts[name] = alert
            if before is None:
                notices.append(Notice(FIRED, alert, now))
        for name in self._alerts.keys() - found.keys():
            calm_since = min(self._calm_since.setdefault(name, now), now)
            if now - calm_since >= calm_s:
                del self._calm_since[name]
                notices.append(Notice(RECOVERED, self._alerts.pop(name), now))
        return sorted(notices, key=lambda notice: (notice.alert.since, notice.alert.key))

"""The client's calls about alerts; a part of `Client`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirrornode.config import Config
    from mirrornode.events import Progress


class AlertCalls(ABC):
    """What stands, and who is told."""

    config: Config

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that stand, the oldest first; without a daemon those it left."""
        from mirrornode.mirror.alerts import alert_records

        def here(catalog: Any) -> list[dict[str, Any]]:
            return alert_records(catalog.alerts())

        return list(self._ask("alerts", {}, None, lambda: self._with_catalog(here)))

    def test_alerts(self) -> list[dict[str, Any]]:
        """Send a test message to every webhook; return one record each, with what it answered.

        Raises:
            TargetError: No webhook is configured.
        """
        from mirrornode.gateway.alert_verbs import told_when_stopped

        return list(self._ask("test_alerts", {}, None, lambda: told_when_stopped(self.config)))

    @abstractmethod
    def _ask(
        self,
        verb: str,
        fields: dict[str, Any],
        progress: Progress | None,
        here: Callable[[], Any],
    ) -> Any: ...

    @abstractmethod
    def _with_catalog(self, work: Callable[[Any], Any]) -> Any: ...

"""The client's calls about alerts; a part of `Client`."""

from __future__ import annotations

from typing import Any

from mirrornode.calls.caller import Caller


class AlertCalls(Caller):
    """What stands, and who is told."""

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

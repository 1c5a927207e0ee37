"""The verbs of alerts: what stands, and a test of the webhooks."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mirrornode.errors import TargetError
from mirrornode.mirror.alerts import alert_records, example_notice
from mirrornode.mirror.alerts_delivery import Deliveries
from mirrornode.mirror.alerts_message import Sender

if TYPE_CHECKING:
    from mirrornode.config import Config
    from mirrornode.gateway.control import Emit, Verb
    from mirrornode.mirror.alerts import Alerts
    from mirrornode.mirror.alerts_delivery import Told


class AlertVerbs:
    """What the control socket of a running node can do about alerts."""

    def __init__(self, alerts: Alerts, config: Config) -> None:
        self._alerts = alerts
        self._config = config

    def table(self) -> Mapping[str, Verb]:
        """Return every verb by its name."""
        return {"alerts": self.alerts, "test_alerts": self.test_alerts}

    async def alerts(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """List the alerts that stand."""
        return alert_records(self._alerts.active())

    async def test_alerts(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """Send a test message to every webhook."""
        check_webhooks(self._config)
        return told_records(await self._alerts.test())


def check_webhooks(config: Config) -> None:
    """Refuse a test when there is nobody to tell.

    Raises:
        TargetError: No webhook is configured.
    """
    if not config.webhook:
        raise TargetError("there is no webhook to test; write one as [[webhook]] in config.toml")


def told_when_stopped(config: Config) -> list[dict[str, Any]]:
    """Send a test message to every webhook where no daemon runs; blocking.

    Raises:
        TargetError: No webhook is configured.
    """
    check_webhooks(config)

    async def tell() -> list[Told]:
        deliveries = Deliveries(config.webhook, Sender(socket.gethostname(), ""))
        try:
            return await deliveries.tell_all(example_notice())
        finally:
            deliveries.close()

    return told_records(asyncio.run(tell()))


def told_records(told: Sequence[Told]) -> list[dict[str, Any]]:
    """Return what webhooks answered as JSON."""
    return [dataclasses.asdict(one) for one in told]

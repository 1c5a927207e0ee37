"""What the catalog keeps of alerts, so that a restart neither repeats nor forgets one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple
from typing import TYPE_CHECKING

from mirrornode.store.alert_records import Alert, Standing

if TYPE_CHECKING:
    from mirrornode.store.database import Database


class AlertTable:
    """The part of the catalog that remembers alerts and standings."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def alerts(self) -> list[Alert]:
        """Return the alerts that stand, the oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT rule, key, severity, text, since FROM alerts ORDER BY since, rule, key"
            ).fetchall()
        return [Alert(*row) for row in rows]

    def standings(self) -> list[Standing]:
        """Return what is known of mirrors and origins that were put aside."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT server, state, rule, text, changed_at, rests FROM standings ORDER BY server"
            ).fetchall()
        return [Standing(*row) for row in rows]

    def save_alerts(self, alerts: Iterable[Alert], standings: Iterable[Standing]) -> None:
        """Replace all alerts and standings."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM alerts")
            connection.executemany(
                "INSERT INTO alerts (rule, key, severity, text, since) VALUES (?, ?, ?, ?, ?)",
                [astuple(alert) for alert in alerts],
            )
            connection.execute("DELETE FROM standings")
            connection.executemany(
                """INSERT INTO standings (server, state, rule, text, changed_at, rests)
                   VALUES (?, ?, ?, ?, ?, ?)""",
                [astuple(standing) for standing in standings],
            )

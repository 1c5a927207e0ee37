"""The catalog's table of what is kept in step with its source: how its last run went."""

from __future__ import annotations

SYNC_TABLES: tuple[str, ...] = (
    """CREATE TABLE sync_states (
        target     TEXT    NOT NULL,
        from_node  TEXT    NOT NULL,
        outcome    TEXT    NOT NULL,
        started_at REAL    NOT NULL,
        ended_at   REAL,
        ok_at      REAL,
        failures   INTEGER NOT NULL,
        root       TEXT    NOT NULL,
        size_bytes INTEGER NOT NULL,
        fetched_bytes INTEGER NOT NULL,
        changes    INTEGER NOT NULL,
        reason     TEXT    NOT NULL,
        PRIMARY KEY (target, from_node)
    ) WITHOUT ROWID""",
)

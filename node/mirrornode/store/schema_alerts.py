"""The catalog's tables of alerts: those that stand, and which mirrors and origins are put aside."""

from __future__ import annotations

ALERT_TABLES: tuple[str, ...] = (
    """CREATE TABLE alerts (
        rule     TEXT NOT NULL,
        key      TEXT NOT NULL,
        severity TEXT NOT NULL CHECK (severity IN ('warning', 'critical')),
        text     TEXT NOT NULL,
        since    REAL NOT NULL,
        PRIMARY KEY (rule, key)
    ) WITHOUT ROWID""",
    # "back": in use again; what it did before does not count any more.
    """CREATE TABLE standings (
        server     TEXT    NOT NULL PRIMARY KEY,
        state      TEXT    NOT NULL CHECK (state IN ('aside', 'trial', 'back')),
        rule       TEXT    NOT NULL,
        text       TEXT    NOT NULL,
        changed_at REAL    NOT NULL,
        rests      INTEGER NOT NULL
    ) WITHOUT ROWID""",
)

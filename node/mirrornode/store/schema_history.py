"""The catalog's tables of downloads: one row each, and one for every source it had.

Nobody who asked is ever in them. With `[log] requests = false` the texts are empty as well; see
`store.history`.
"""

from __future__ import annotations

HISTORY_TABLES: tuple[str, ...] = (
    # A row is there from the start, so that a crash leaves a trace. Numbers are not used again:
    # whoever follows the history asks for what came after the last one he saw.
    """CREATE TABLE downloads (
        id             INTEGER PRIMARY KEY AUTOINCREMENT,
        kind           TEXT    NOT NULL,
        target         TEXT    NOT NULL,
        root           TEXT    NOT NULL,
        started_at     REAL    NOT NULL,
        ended_at       REAL,
        seconds        REAL    NOT NULL,
        size_bytes     INTEGER NOT NULL,
        received_bytes INTEGER NOT NULL,
        resumed_bytes  INTEGER NOT NULL,
        outcome        TEXT    NOT NULL
            CHECK (outcome IN ('running', 'ok', 'partial', 'failed', 'cancelled')),
        error          TEXT    NOT NULL,
        reason         TEXT    NOT NULL,
        CHECK ((outcome = 'running') = (ended_at IS NULL))
    )""",
    "CREATE INDEX downloads_by_end ON downloads (ended_at)",
    """CREATE TABLE download_sources (
        id             INTEGER PRIMARY KEY,
        download       INTEGER NOT NULL REFERENCES downloads (id) ON DELETE CASCADE,
        source_id      TEXT    NOT NULL,
        kind           TEXT    NOT NULL,
        received_bytes INTEGER NOT NULL,
        seconds        REAL    NOT NULL,
        first_byte_s   REAL,
        rtt_s          REAL,
        failures       INTEGER NOT NULL,
        outcome        TEXT    NOT NULL CHECK (outcome IN ('ok', 'lacked', 'failed', 'wrong')),
        reason         TEXT    NOT NULL
    )""",
    "CREATE INDEX download_sources_by_download ON download_sources (download)",
)

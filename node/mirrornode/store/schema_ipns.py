"""The catalog's tables of names: what this node publishes, and what it has seen others' names mean.

A record is kept as it was signed: sequence, end and lifetime of a name are read from it.
"""

from __future__ import annotations

from typing import Final

NAME_TABLES: Final = (
    # A name that is published no more stays, with its record: the next one must be newer.
    """CREATE TABLE publications (
        key_name     TEXT    PRIMARY KEY,
        name         BLOB    NOT NULL,
        target       TEXT    NOT NULL,
        record       BLOB    NOT NULL,
        lifetime_s   REAL    NOT NULL,
        is_active    INTEGER NOT NULL,
        changed_at   REAL    NOT NULL,
        published_at REAL,
        kept_by      INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE known_names (
        name    TEXT PRIMARY KEY,
        path    TEXT NOT NULL,
        ttl_s   REAL NOT NULL,
        record  BLOB,
        seen_at REAL NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX known_names_by_time ON known_names (seen_at)",
)

"""The catalog's tables of what is kept: pins, copies held by others, uses, files about to go."""

from __future__ import annotations

PIN_TABLES: tuple[str, ...] = (
    # AUTOINCREMENT: a number is never given twice, so that the highest one tells that pins were
    # made since somebody looked. `cid` and `multihash` for "recursive", the rest for "hub".
    """CREATE TABLE pins (
        id        INTEGER PRIMARY KEY AUTOINCREMENT,
        target    TEXT    NOT NULL,
        name      TEXT    NOT NULL,
        owner     TEXT    NOT NULL,
        kind      TEXT    NOT NULL CHECK (kind IN ('recursive', 'hub')),
        cid       BLOB,
        multihash BLOB,
        repo      TEXT,
        commit_id BLOB,
        prefix    TEXT    NOT NULL DEFAULT '',
        size_bytes INTEGER NOT NULL DEFAULT 0,
        replicas  INTEGER NOT NULL DEFAULT 0,
        made_at   REAL    NOT NULL,
        UNIQUE (target, name, owner)
    )""",
    "CREATE INDEX pins_by_multihash ON pins (multihash)",
    """CREATE TABLE replicas (
        pin      INTEGER NOT NULL REFERENCES pins (id) ON DELETE CASCADE,
        peer_id  TEXT    NOT NULL,
        state    TEXT    NOT NULL CHECK (state IN ('coming', 'kept', 'refused')),
        reason   TEXT    NOT NULL,
        asked_at REAL    NOT NULL,
        seen_at  REAL    NOT NULL,
        PRIMARY KEY (pin, peer_id)
    ) WITHOUT ROWID""",
    """CREATE TABLE uses (
        path    BLOB NOT NULL PRIMARY KEY,
        used_at REAL NOT NULL
    ) WITHOUT ROWID""",
    # Files that the catalog offers no more and that are still to be deleted.
    """CREATE TABLE doomed (
        path  BLOB    NOT NULL PRIMARY KEY,
        inode INTEGER NOT NULL
    ) WITHOUT ROWID""",
)

"""The catalog's tables of the public DHT's announcements, and of how far announcing has come.

What is to be announced stands in `announcements`, together with the times of the local network;
here are those of the public one, for the same multihashes. A row goes when that one goes.
"""

from __future__ import annotations

SWEEP_TABLES: tuple[str, ...] = (
    # `place` is where the multihash lies in the DHT's key space, its first 62 bits: rows that are
    # due at the same time are announced in that order, so that neighbours go together.
    """CREATE TABLE public_announcements (
        multihash  BLOB    NOT NULL PRIMARY KEY
                   REFERENCES announcements (multihash) ON DELETE CASCADE,
        place      INTEGER NOT NULL,
        priority   INTEGER NOT NULL,
        attempts   INTEGER NOT NULL,
        next_at    REAL    NOT NULL,
        last_ok_at REAL
    )""",
    """CREATE INDEX public_announcements_by_time
        ON public_announcements (priority, next_at, place)""",
    """CREATE TRIGGER public_announcements_priority AFTER UPDATE OF priority ON announcements
        BEGIN
            UPDATE public_announcements SET priority = NEW.priority
                WHERE multihash = NEW.multihash;
        END""",
    """CREATE TABLE announce_sweeps (
        network TEXT    NOT NULL PRIMARY KEY,
        servers INTEGER NOT NULL,
        place   INTEGER NOT NULL
    ) WITHOUT ROWID""",
)

"""The announce queue: what this node tells the network it has, and when it tells it again.

What the user named goes first, then large files, then the rest: which is which the catalog knows
itself. What can no longer be served whole is taken out by `withdraw`. When to retry is the
announcer's business (`routing.announce`); here are rows and times. Times are Unix seconds, so that
the queue means the same after a restart.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from mirrornode.store.records import Announcement
from mirrornode.store.statements import batches, insert_rows

if TYPE_CHECKING:
    import sqlite3

    from mirrornode.store.database import Database

REST_PRIORITY, LARGE_FILE_PRIORITY, ROOT_PRIORITY = PRIORITIES = (0, 1, 2)
LARGE_FILE_BYTES = 16 << 20  # from here on many sources are worth more than a quick first answer

_SHA256_MULTIHASH = b"\x12\x20"
_SHA1_MULTIHASH = b"\x11\x14"
_PRIORITY = f"""CASE
    WHEN EXISTS (SELECT 1 FROM roots WHERE multihash = asked.multihash)
        OR EXISTS (SELECT 1 FROM files JOIN roots ON roots.multihash = files.multihash
                   WHERE files.sha256 = asked.digest) THEN {ROOT_PRIORITY}
    WHEN EXISTS (SELECT 1 FROM files
                 WHERE multihash = asked.multihash AND size_bytes >= {LARGE_FILE_BYTES})
        OR EXISTS (SELECT 1 FROM files
                   WHERE sha256 = asked.digest AND size_bytes >= {LARGE_FILE_BYTES})
        THEN {LARGE_FILE_PRIORITY}
    ELSE {REST_PRIORITY} END"""


def sha256_multihash(digest: bytes) -> bytes:
    """Return the multihash of a whole file's SHA-256: what its raw CID is announced under."""
    return _SHA256_MULTIHASH + digest


def sha256_digest(multihash: bytes) -> bytes | None:
    """Return the digest of a SHA-256 multihash, None when it is another function's."""
    if len(multihash) == 34 and multihash.startswith(_SHA256_MULTIHASH):
        return multihash[2:]
    return None


def git_sha1_digest(multihash: bytes) -> bytes | None:
    """Return the digest of a SHA-1 multihash, None when it is another function's."""
    if len(multihash) == 22 and multihash.startswith(_SHA1_MULTIHASH):
        return multihash[2:]
    return None


def insert_announcements(connection: sqlite3.Connection, multihashes: Iterable[bytes]) -> None:
    """Queue what is not queued yet, due at once, inside the caller's transaction.

    The priority is that of what the catalog holds under the multihash by then; of what is queued
    already it can only rise.
    """
    insert_rows(
        connection,
        f"""WITH asked (multihash, digest) AS (VALUES {{rows}})
            INSERT INTO announcements (multihash, priority, attempts, next_at)
                SELECT multihash, {_PRIORITY}, 0, 0 FROM asked WHERE true
            ON CONFLICT (multihash) DO UPDATE SET priority = excluded.priority
                WHERE excluded.priority > priority""",
        ((multihash, sha256_digest(multihash)) for multihash in multihashes),
    )


def withdraw(connection: sqlite3.Connection, multihashes: Iterable[bytes]) -> None:
    """Take those multihashes out of the queue that can no longer be served whole."""
    for batch, marks in batches(dict.fromkeys(multihashes)):
        queued = connection.execute(
            f"SELECT multihash FROM announcements WHERE multihash IN ({marks})", batch
        ).fetchall()
        connection.executemany(
            "DELETE FROM announcements WHERE multihash = ?",
            [row for row in queued if not _is_served(connection, row[0])],
        )


def _is_served(connection: sqlite3.Connection, multihash: bytes) -> bool:
    row = connection.execute(
        """SELECT EXISTS (SELECT 1 FROM files WHERE multihash = :key AND state = 'ok')
               OR EXISTS (SELECT 1 FROM files WHERE sha256 = :digest AND state = 'ok')
               OR EXISTS (
                SELECT 1 FROM roots WHERE roots.multihash = :key AND NOT EXISTS (
                    SELECT 1 FROM root_files LEFT JOIN files
                        ON files.path = root_files.path
                        AND files.multihash = root_files.multihash AND files.state = 'ok'
                    WHERE root_files.root = roots.id AND files.id IS NULL))""",
        {"key": multihash, "digest": sha256_digest(multihash)},
    ).fetchone()
    return bool(row[0])


FARTHEST_S = 48 * 3600.0  # how long the network keeps a record: nothing is repeated later


class AnnouncementTable:
    """The part of the catalog that queues announcements."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enqueue_announcements(self, multihashes: Iterable[bytes]) -> None:
        """Queue multihashes, due at once; those already queued keep their times."""
        with self._database.write() as connection:
            insert_announcements(connection, multihashes)

    def drop_announcements(self, multihashes: Iterable[bytes]) -> None:
        """Take multihashes out of the queue; the network forgets them when its records expire."""
        with self._database.write() as connection:
            connection.executemany(
                "DELETE FROM announcements WHERE multihash = ?", ((m,) for m in multihashes)
            )

    def due_announcements(
        self, now: float, limit: int, min_priority: int = REST_PRIORITY
    ) -> list[Announcement]:
        """Return at most `limit` announcements whose time has come.

        The highest priority comes first, and of one priority the longest due. Last come those that
        are due absurdly late: they were queued before the clock was set back.
        """
        rows: list[tuple[bytes, int, int, float | None]] = []
        with self._database.read() as connection:
            for priority in reversed(PRIORITIES[min_priority:]):  # one run of the index each
                rows += connection.execute(
                    "SELECT multihash, priority, attempts, last_ok_at FROM announcements"
                    " WHERE priority = ? AND next_at <= ? ORDER BY next_at, id LIMIT ?",
                    (priority, now, limit - len(rows)),
                )
            for priority in reversed(PRIORITIES[min_priority:]):
                rows += connection.execute(
                    "SELECT multihash, priority, attempts, last_ok_at FROM announcements"
                    " WHERE priority = ? AND next_at > ? ORDER BY next_at, id LIMIT ?",
                    (priority, now + FARTHEST_S, limit - len(rows)),
                )
        return [Announcement(*row) for row in rows]

    def mark_announced(self, next_at: Mapping[bytes, float], ok_at: float) -> None:
        """Note that the network took announcements, and when each is to be repeated."""
        with self._database.write() as connection:
            connection.executemany(
                "UPDATE announcements SET attempts = 0, next_at = ?, last_ok_at = ?"
                " WHERE multihash = ?",
                ((at, ok_at, multihash) for multihash, at in next_at.items()),
            )

    def mark_announce_failed(self, next_at: Mapping[bytes, float]) -> None:
        """Count a failed attempt of each and note when to try again."""
        with self._database.write() as connection:
            connection.executemany(
                "UPDATE announcements SET attempts = attempts + 1, next_at = ? WHERE multihash = ?",
                ((at, multihash) for multihash, at in next_at.items()),
            )

    def announce_counts(self, now: float | None = None) -> tuple[int, int, int]:
        """Return how many are queued, how many are due, and how many the network took last time.

        Args:
            now: Unix time; the clock's when None.
        """
        with self._database.read() as connection:
            row = connection.execute(
                """SELECT count(*), coalesce(sum(next_at <= ?), 0),
                       coalesce(sum(last_ok_at IS NOT NULL AND attempts = 0), 0)
                   FROM announcements""",
                (time.time() if now is None else now,),
            ).fetchone()
        return int(row[0]), int(row[1]), int(row[2])

    def requeue_all(self, now: float) -> None:
        """Make everything due at `now`: the network around us is a new one."""
        with self._database.write() as connection:
            connection.execute("UPDATE announcements SET next_at = min(next_at, ?)", (now,))

"""When each announcement is to be made in the public DHT, and how far a sweep of it has come.

The queue of `announcements` says what is announced; this one gives the same multihashes times of
their own. It takes over what is new there whenever it is asked, so nobody has to fill it. Times
are Unix seconds.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirrornode.store.announcements import FARTHEST_S, PRIORITIES, REST_PRIORITY
from mirrornode.store.records import Announcement

if TYPE_CHECKING:
    import sqlite3

    from mirrornode.store.database import Database

PLACE_BITS = 62  # of 256; SQLite's integers have 63 and a sign


@dataclass(frozen=True, slots=True)
class SweepState:
    """What is remembered of a network's announcing.

    Attributes:
        servers: How many servers the network was taken to have; 0 when that is not known.
        place: Where the last announcement lies in the key space, its first `PLACE_BITS` bits.
    """

    servers: int = 0
    place: int = 0


def place_of(multihash: bytes) -> int:
    """Return where a multihash lies in a DHT's key space, its first `PLACE_BITS` bits."""
    digest = hashlib.sha256(multihash).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - PLACE_BITS)


class PublicAnnouncements:
    """The public DHT's announce queue; keeps the contract of the announcer.

    Args:
        database: The catalog's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def due_announcements(
        self, now: float, limit: int, min_priority: int = REST_PRIORITY
    ) -> list[Announcement]:
        """Return at most `limit` announcements whose time has come.

        The highest priority comes first, of one priority the longest due, and of one time those
        next to each other in the key space. Last come those that are due absurdly late.
        """
        self._take_over()
        rows: list[tuple[bytes, int, int, float | None]] = []
        bounds = ("next_at <= ?", now), ("next_at > ?", now + FARTHEST_S)
        with self._database.read() as connection:
            for bound, at in bounds:
                for priority in reversed(PRIORITIES[min_priority:]):
                    rows += connection.execute(
                        "SELECT multihash, priority, attempts, last_ok_at FROM public_announcements"
                        f" WHERE priority = ? AND {bound} ORDER BY next_at, place LIMIT ?",
                        (priority, at, limit - len(rows)),
                    )
        return [Announcement(*row) for row in rows]

    def mark_announced(self, next_at: Mapping[bytes, float], ok_at: float) -> None:
        """Note that the network took announcements, and when each is to be repeated."""
        self._take_over()
        with self._database.write() as connection:
            connection.executemany(
                "UPDATE public_announcements SET attempts = 0, next_at = ?, last_ok_at = ?"
                " WHERE multihash = ?",
                ((at, ok_at, multihash) for multihash, at in next_at.items()),
            )

    def mark_announce_failed(self, next_at: Mapping[bytes, float]) -> None:
        """Count a failed attempt of each and note when to try again."""
        self._take_over()
        with self._database.write() as connection:
            connection.executemany(
                "UPDATE public_announcements SET attempts = attempts + 1, next_at = ?"
                " WHERE multihash = ?",
                ((at, multihash) for multihash, at in next_at.items()),
            )

    def announce_counts(self, now: float | None = None) -> tuple[int, int, int]:
        """Return how many are queued, how many are due, and how many the network took last time."""
        self._take_over()
        with self._database.read() as connection:
            return _counts(connection, "public_announcements", now)

    def longest_due_s(self, now: float | None = None) -> float:
        """Return for how long the longest due repetition has been waiting; 0 when none is."""
        with self._database.read() as connection:
            return _longest_due_s(connection, "public_announcements", now)

    def _take_over(self) -> None:
        """Queue what is in `announcements` and not here, due at once."""
        with self._database.read() as connection:
            ours, theirs = connection.execute(
                "SELECT (SELECT count(*) FROM public_announcements),"
                " (SELECT count(*) FROM announcements)"
            ).fetchone()
        if ours == theirs:
            return  # rows go together, so none is missing
        with self._database.write() as connection:
            missing = connection.execute(
                """SELECT multihash, priority FROM announcements WHERE NOT EXISTS (
                    SELECT 1 FROM public_announcements AS public
                    WHERE public.multihash = announcements.multihash)"""
            ).fetchall()
            connection.executemany(
                "INSERT INTO public_announcements"
                " (multihash, place, priority, attempts, next_at) VALUES (?, ?, ?, 0, 0)",
                ((multihash, place_of(multihash), priority) for multihash, priority in missing),
            )


class SweepTable:
    """The part of the catalog that remembers how far announcing has come, by network."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def public_announcements(self) -> PublicAnnouncements:
        """Return the public DHT's announce queue."""
        return PublicAnnouncements(self._database)

    def longest_due_s(self, now: float | None = None) -> float:
        """As `PublicAnnouncements.longest_due_s`, in the local network."""
        with self._database.read() as connection:
            return _longest_due_s(connection, "announcements", now)

    def sweep_state(self, network: str) -> SweepState:
        """Return what was noted last."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT servers, place FROM announce_sweeps WHERE network = ?", (network,)
            ).fetchone()
        return SweepState(*row) if row is not None else SweepState()

    def note_sweep(self, network: str, state: SweepState) -> None:
        """Remember how far announcing has come."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO announce_sweeps VALUES (?, ?, ?) ON CONFLICT (network)"
                " DO UPDATE SET servers = excluded.servers, place = excluded.place",
                (network, state.servers, state.place),
            )


def _counts(connection: sqlite3.Connection, table: str, now: float | None) -> tuple[int, int, int]:
    row = connection.execute(
        f"""SELECT count(*), coalesce(sum(next_at <= ?), 0),
                coalesce(sum(last_ok_at IS NOT NULL AND attempts = 0), 0) FROM {table}""",
        (time.time() if now is None else now,),
    ).fetchone()
    return int(row[0]), int(row[1]), int(row[2])


def _longest_due_s(connection: sqlite3.Connection, table: str, now: float | None) -> float:
    at = time.time() if now is None else now
    row = connection.execute(
        f"SELECT min(next_at) FROM {table} WHERE next_at > 0 AND next_at <= ?", (at,)
    ).fetchone()
    return at - float(row[0]) if row[0] is not None else 0.0

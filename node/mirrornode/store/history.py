"""The history of downloads: one row each from its start on, bounded by age and by number.

With `[log] requests = false` what is saved has no target, no root, no words and no source ids:
sizes, seconds, outcomes and kinds of sources are left. Who asked is in no record in any case.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from mirrornode.store.history_records import Download, HistoryTotals, SourceTotals, SourceUse

if TYPE_CHECKING:
    import sqlite3

    from mirrornode.store.database import Database

KEPT_DOWNLOADS: Final = 50_000  # about 30 MB with three sources each
MAX_SOURCES: Final = 64  # of one download; those that brought most
MAX_TEXT: Final = 500  # letters of a target, an id or a reason
MAX_LISTED: Final = 10_000
NODE_KILLED: Final = "NodeKilled"  # in the place of an error: the process ended under it
DAY_S: Final = 86_400.0

_COLUMNS = (
    "id, kind, target, started_at, root, ended_at, seconds, size_bytes, received_bytes, "
    "resumed_bytes, outcome, error, reason"
)
_SOURCE_COLUMNS = (
    "source_id, kind, received_bytes, seconds, first_byte_s, rtt_s, failures, outcome, reason"
)


class HistoryTable:
    """The part of the catalog that remembers downloads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save_download(self, download: Download) -> int:
        """Add a download, or replace what is known of it; returns its number."""
        row = dataclasses.astuple(dataclasses.replace(download, sources=()))[:-1]
        values = [value[:MAX_TEXT] if isinstance(value, str) else value for value in row]
        with self._database.write() as connection:
            cursor = connection.execute(
                f"""INSERT INTO downloads ({_COLUMNS}) VALUES ({", ".join("?" * len(values))})
                    ON CONFLICT (id) DO UPDATE SET {
                    ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS.split(", ")[1:])
                } RETURNING id""",
                [values[0] or None, *values[1:]],
            )
            number = int(cursor.fetchone()[0])
            _put_sources(connection, number, download.sources)
        return number

    def drop_download(self, number: int) -> None:
        """Forget a download that was none."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM downloads WHERE id = ?", (number,))

    def prune_history(self, now: float, keep_days: float) -> None:
        """Forget what ended more than `keep_days` ago, and the oldest of too many.

        Args:
            now: Unix seconds.
        """
        with self._database.write() as connection:
            connection.execute(
                "DELETE FROM downloads WHERE ended_at <= ?", (now - keep_days * DAY_S,)
            )
            connection.execute(
                "DELETE FROM downloads WHERE id <= (SELECT max(id) FROM downloads) - ?",
                (KEPT_DOWNLOADS,),
            )

    def close_interrupted(self) -> None:
        """Call failed what a process that was killed had under way; it ended no later than now.

        Only for who has the home to himself, before he starts any download.
        """
        with self._database.write() as connection:
            connection.execute(
                """UPDATE downloads SET outcome = 'failed', error = ?, ended_at = started_at,
                       reason = 'the node was killed while it fetched' WHERE outcome = 'running'""",
                (NODE_KILLED,),
            )

    def anonymise_history(self) -> None:
        """Take out of all records what tells who was asked for what, and off the disk."""
        with self._database.write() as connection:
            before = connection.total_changes
            connection.execute(
                """UPDATE downloads SET target = '', root = '', reason = ''
                   WHERE target != '' OR root != '' OR reason != ''"""
            )
            connection.execute(
                """UPDATE download_sources SET source_id = '', reason = ''
                   WHERE source_id != '' OR reason != ''"""
            )
            is_changed = connection.total_changes > before
        if is_changed:
            self._database.overwrite_freed()

    def downloads(
        self, *, since: float = 0.0, after: int = 0, only_failed: bool = False, limit: int = 100
    ) -> list[Download]:
        """Return downloads with their sources, the newest first.

        Args:
            since: Unix seconds; those that run, or ended then or later.
            after: Only those with a greater number.
            only_failed: Those that are "failed" or "partial".
            limit: At most `MAX_LISTED`.
        """
        failed = "AND outcome IN ('failed', 'partial')" if only_failed else ""
        with self._database.read() as connection:
            rows = connection.execute(
                f"""SELECT {_COLUMNS} FROM downloads
                    WHERE (ended_at IS NULL OR ended_at >= ?) AND id > ? {failed}
                    ORDER BY id DESC LIMIT ?""",
                (since, after, min(limit, MAX_LISTED)),
            ).fetchall()
            return [
                dataclasses.replace(Download(*row), sources=_sources(connection, row[0]))
                for row in rows
            ]

    def history_totals(self, since: float) -> HistoryTotals:
        """Return sums over the downloads that ended at `since` (Unix seconds) or later."""
        with self._database.read() as connection:
            rows = connection.execute(
                """SELECT outcome, count(*), sum(size_bytes), sum(received_bytes),
                       coalesce(sum(seconds) FILTER (WHERE received_bytes > 0), 0)
                   FROM downloads WHERE ended_at >= ? GROUP BY outcome""",
                (since,),
            ).fetchall()
            kinds = connection.execute(
                """SELECT used.kind, sum(used.received_bytes), avg(used.rtt_s)
                   FROM downloads JOIN download_sources AS used ON used.download = downloads.id
                   WHERE ended_at >= ? AND used.kind != 'local' GROUP BY used.kind""",
                (since,),
            ).fetchall()
        return HistoryTotals(
            outcomes={str(row[0]): int(row[1]) for row in rows},
            size_bytes=sum(row[2] for row in rows),
            received_bytes=sum(row[3] for row in rows),
            seconds=float(sum(row[4] for row in rows)),
            bytes_by_kind={str(kind): int(count) for kind, count, _ in kinds},
            rtt_by_kind={str(kind): float(rtt) for kind, _, rtt in kinds if rtt is not None},
        )

    def source_totals(self, since: float) -> list[SourceTotals]:
        """Return how each source did since then, the one that brought most first.

        What only lacked the content is not judged.
        """
        with self._database.read() as connection:
            rows = connection.execute(
                """SELECT used.source_id, used.kind, count(*),
                       sum(used.outcome IN ('failed', 'wrong')),
                       sum(used.received_bytes) AS brought, sum(used.seconds)
                   FROM downloads JOIN download_sources AS used ON used.download = downloads.id
                   WHERE ended_at >= ? AND used.outcome != 'lacked'
                   GROUP BY used.source_id, used.kind ORDER BY brought DESC, used.source_id
                   LIMIT ?""",
                (since, MAX_LISTED),
            ).fetchall()
        return [SourceTotals(*row) for row in rows]

    def wrong_sources(self, since: float) -> list[tuple[str, str, float]]:
        """Return id, kind and last time of the sources that sent wrong bytes since then."""
        with self._database.read() as connection:
            rows = connection.execute(
                """SELECT used.source_id, used.kind, max(ended_at)
                   FROM downloads JOIN download_sources AS used ON used.download = downloads.id
                   WHERE ended_at >= ? AND used.outcome = 'wrong'
                   GROUP BY used.source_id, used.kind ORDER BY max(ended_at) DESC LIMIT ?""",
                (since, MAX_SOURCES),
            ).fetchall()
        return [(str(row[0]), str(row[1]), float(row[2])) for row in rows]


def _put_sources(connection: sqlite3.Connection, number: int, uses: Iterable[SourceUse]) -> None:
    connection.execute("DELETE FROM download_sources WHERE download = ?", (number,))
    most = sorted(uses, key=lambda use: (-use.received_bytes, use.source_id))[:MAX_SOURCES]
    connection.executemany(
        f"INSERT INTO download_sources (download, {_SOURCE_COLUMNS}) VALUES ({'?, ' * 9}?)",
        [(number, *_bounded(use)) for use in most],
    )


def _bounded(use: SourceUse) -> tuple[Any, ...]:
    values = dataclasses.astuple(use)
    return tuple(value[:MAX_TEXT] if isinstance(value, str) else value for value in values)


def _sources(connection: sqlite3.Connection, number: int) -> tuple[SourceUse, ...]:
    rows = connection.execute(
        f"SELECT {_SOURCE_COLUMNS} FROM download_sources WHERE download = ? ORDER BY id", (number,)
    )
    return tuple(SourceUse(*row) for row in rows.fetchall())

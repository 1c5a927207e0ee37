"""How the last run of every synced target went; one row each, replaced by the next run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirrornode.store.hub_records import repo_key

if TYPE_CHECKING:
    from mirrornode.store.database import Database
    from mirrornode.store.pins import Pin

RUNNING: Final = "running"
OK: Final = "ok"
FAILED: Final = "failed"
PARTIAL: Final = "partial"  # some of it did not come
PAUSED: Final = "paused"  # its window closed; it goes on when that opens
CANCELLED: Final = "cancelled"
KILLED: Final = "killed"  # the process ended under it

MAX_STATES: Final = 1000  # of targets that were synced by hand; the longest ago goes
MAX_REASON: Final = 500

_COLUMNS = (
    "target, from_node, outcome, started_at, ended_at, ok_at, failures, root, size_bytes, "
    "fetched_bytes, changes, reason"
)


@dataclass(frozen=True, slots=True)
class SyncState:
    """The last run of one target; times are Unix seconds.

    Attributes:
        from_node: Whom it follows, as the user wrote it; "" for the origins.
        ok_at: When a run last ended well.
        failures: In a row, up to the last run.
        root: What the last good run brought: `hf:REPO@COMMIT…`, a CID; "" before the first.
        fetched_bytes: What the last run took from others.
        changes: How many files the last run added, changed or removed.
    """

    target: str
    from_node: str = ""
    outcome: str = RUNNING
    started_at: float = 0.0
    ended_at: float | None = None
    ok_at: float | None = None
    failures: int = 0
    root: str = ""
    size_bytes: int = 0
    fetched_bytes: int = 0
    changes: int = 0
    reason: str = ""


class SyncTable:
    """The part of the catalog that remembers runs of `sync`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sync_state(self, target: str, from_node: str = "") -> SyncState | None:
        """Return how the last run of a target went; None before its first."""
        with self._database.read() as connection:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM sync_states WHERE target = ? AND from_node = ?",
                (target, from_node),
            ).fetchone()
        return None if row is None else SyncState(*row)

    def sync_states(self) -> list[SyncState]:
        """Return the states of all targets that ever ran, by target."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM sync_states ORDER BY target, from_node"
            ).fetchall()
        return [SyncState(*row) for row in rows]

    def is_pin_whole(self, pin: Pin) -> bool:
        """Tell whether a verified copy of every file of a pin of the Hub is recorded."""
        if pin.repo is None:
            return False
        with self._database.read() as connection:
            row = connection.execute(
                """SELECT v.has_tree, EXISTS (
                       SELECT 1 FROM hub_files f WHERE f.revision = v.id
                       AND (:path = '' OR f.path = :path
                           OR substr(f.path, 1, length(:path) + 1) = :path || '/')
                       AND NOT EXISTS (SELECT 1 FROM hub_blobs b WHERE b.etag = f.etag)
                       AND NOT EXISTS (SELECT 1 FROM files s
                           WHERE s.sha256 = f.etag AND s.state = 'ok')
                       AND NOT EXISTS (SELECT 1 FROM files s
                           WHERE s.git_sha1 = f.etag AND s.state = 'ok'))
                   FROM hub_revisions v WHERE v.repo = :repo AND v.commit_id = :commit""",
                {
                    "repo": repo_key(pin.repo),
                    "commit": bytes.fromhex(pin.commit),
                    "path": pin.path,
                },
            ).fetchone()
        return row is not None and bool(row[0]) and not row[1]

    def put_sync_state(self, state: SyncState) -> None:
        """Replace the state of a target; that of the one that ran longest ago may have to go."""
        row = dataclasses.astuple(dataclasses.replace(state, reason=state.reason[:MAX_REASON]))
        with self._database.write(durable=True) as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO sync_states ({_COLUMNS})"
                f" VALUES ({', '.join('?' * len(row))})",
                row,
            )
            connection.execute(
                """DELETE FROM sync_states WHERE (target, from_node) IN (
                       SELECT target, from_node FROM sync_states
                       ORDER BY started_at DESC LIMIT -1 OFFSET ?)""",
                (MAX_STATES,),
            )

    def close_interrupted_syncs(self) -> None:
        """Note that runs of a process that was killed are over; only for who owns the home."""
        with self._database.write() as connection:
            connection.execute(
                """UPDATE sync_states SET outcome = ?, ended_at = started_at,
                       reason = 'the node was killed while it ran' WHERE outcome = ?""",
                (KILLED, RUNNING),
            )

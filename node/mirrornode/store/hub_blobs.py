"""Verified files of the Hub on this disk, by the name of their content.

A blob of an open repo is recorded as a shared file besides (`FileTable.record_files`); one that
only gated or private repos vouch for is here alone, where no peer's question comes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.store.files import forget_file
from mirrornode.store.hub_records import HubBlob
from mirrornode.store.stamps import FileStamp

if TYPE_CHECKING:
    from mirrornode.store.database import Database

BLOBS_AT_ONCE = 1000  # rows read in one go
MAX_PROOFS = 200_000  # the oldest go: a file without one is read once more

_COLUMNS = "etag, path, size_bytes, mtime_ns, inode, is_open, is_managed"


class HubBlobTable:
    """The part of the catalog that knows blobs, and which content an origin got wrong."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put_hub_blob(
        self, etag: str, path: Path, stamp: FileStamp, *, is_open: bool, is_managed: bool
    ) -> None:
        """Record a file whose content was verified, in place of what its path held."""
        with self._database.write() as connection:
            connection.execute(
                """INSERT OR REPLACE INTO hub_blobs (path, etag, size_bytes, mtime_ns, inode,
                       is_open, is_managed) VALUES (?, ?, ?, ?, ?, ?, ?)""",
                (
                    os.fsencode(path),
                    bytes.fromhex(etag),
                    stamp.size_bytes,
                    stamp.mtime_ns,
                    stamp.inode,
                    is_open,
                    is_managed,
                ),
            )

    def hub_blob(self, etag: str) -> list[HubBlob]:
        """Return the files that hold the content of that name, open ones first, by path."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM hub_blobs WHERE etag = ? ORDER BY is_open DESC, path",
                (bytes.fromhex(etag),),
            ).fetchall()
        return [_blob(row) for row in rows]

    def hub_blobs(self) -> Iterator[HubBlob]:
        """Yield every blob by path; those recorded meanwhile may be left out."""
        last = b""
        while True:
            with self._database.read() as connection:
                rows = connection.execute(
                    f"SELECT {_COLUMNS} FROM hub_blobs WHERE path > ? ORDER BY path LIMIT ?",
                    (last, BLOBS_AT_ONCE),
                ).fetchall()
            if not rows:
                return
            yield from map(_blob, rows)
            last = rows[-1][1]

    def move_hub_blob(self, old: Path, new: Path) -> None:
        """Note that a file has another name now, and is the user's; what `new` was is forgotten."""
        keys = {"old": os.fsencode(old), "new": os.fsencode(new)}
        with self._database.write() as connection:
            forget_file(connection, new)
            connection.execute("DELETE FROM hub_blobs WHERE path = :new", keys)
            for table in ("files", "hub_blobs"):
                connection.execute(
                    f"UPDATE {table} SET path = :new, is_managed = 0 WHERE path = :old", keys
                )

    def drop_hub_blob(self, path: Path) -> None:
        """Forget a blob: its file changed, vanished, or was not what it should be."""
        with self._database.write() as connection:
            for table in ("hub_blobs", "hub_proofs"):
                connection.execute(f"DELETE FROM {table} WHERE path = ?", (os.fsencode(path),))

    def put_hub_proof(self, etag: str, path: Path, inode: int, ctime_ns: int) -> None:
        """Note that a file had the content of that name, and its change time at that moment."""
        with self._database.write() as connection:
            connection.execute(
                """INSERT OR REPLACE INTO hub_proofs (path, etag, inode, ctime_ns)
                       VALUES (?, ?, ?, ?)""",
                (os.fsencode(path), bytes.fromhex(etag), inode, ctime_ns),
            )
            connection.execute(
                "DELETE FROM hub_proofs WHERE rowid <= (SELECT max(rowid) FROM hub_proofs) - ?",
                (MAX_PROOFS,),
            )

    def hub_proof(self, etag: str, path: Path) -> tuple[int, int] | None:
        """Return inode and change time of a file when it had the content of that name."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT inode, ctime_ns FROM hub_proofs WHERE path = ? AND etag = ?",
                (os.fsencode(path), bytes.fromhex(etag)),
            ).fetchone()
        return None if row is None else (int(row[0]), int(row[1]))

    def mark_poisoned(self, etag: str, now: float) -> None:
        """Note that a client may hold a wrong beginning of this content; the first time stays."""
        with self._database.write(durable=True) as connection:
            connection.execute(
                "INSERT OR IGNORE INTO hub_poisoned (etag, at) VALUES (?, ?)",
                (bytes.fromhex(etag), now),
            )

    def poisoned_since(self, etag: str) -> float | None:
        """Return since when clients may hold a wrong beginning of this content."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT at FROM hub_poisoned WHERE etag = ?", (bytes.fromhex(etag),)
            ).fetchone()
        return None if row is None else float(row[0])


def _blob(row: Sequence[Any]) -> HubBlob:
    etag, path, size_bytes, mtime_ns, inode, is_open, is_managed = row
    return HubBlob(
        etag.hex(),
        Path(os.fsdecode(path)),
        FileStamp(size_bytes, mtime_ns, inode),
        bool(is_open),
        bool(is_managed),
    )

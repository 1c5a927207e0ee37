"""Roots: what the user added or downloaded, and which files each is made of.

A root's state is read off its files, so that it is never out of step with them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.content.cid import Cid
from mirrornode.store.announcements import insert_announcements, withdraw
from mirrornode.store.blocks import insert_blocks
from mirrornode.store.files import FILE_COLUMNS, stored_file
from mirrornode.store.records import StoredFile, StoredRoot
from mirrornode.store.statements import insert_rows

if TYPE_CHECKING:
    import sqlite3

    from mirrornode.content.block import Block
    from mirrornode.store.database import Database

_FILES_OF_ROOTS = """roots LEFT JOIN root_files ON root_files.root = roots.id
    LEFT JOIN files ON files.path = root_files.path AND files.multihash = root_files.multihash"""

_ROOT_COLUMNS = """roots.cid, roots.kind, roots.name, roots.path, roots.size_bytes, roots.profile,
    roots.added_at, count(root_files.path), coalesce(sum(files.state = 'ok'), 0),
    coalesce(sum(files.state = 'missing'), 0)"""


class RootTable:
    """The part of the catalog that knows roots."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_root(
        self,
        *,
        cid: Cid,
        kind: str,
        name: str,
        path: Path,
        size_bytes: int,
        profile: str,
        files: Iterable[tuple[Path | str, Cid]],
        blocks: Iterable[Block] = (),
        announce: Iterable[bytes] = (),
        added_at: float | None = None,
    ) -> None:
        """Record a root, its directory blocks and its announcements, all or none.

        A root that the same path held before is forgotten if it can no longer be served whole.

        Args:
            kind: "file", "directory" or "symlink".
            files: Path and root of every file inside; recorded before with `record_files`.
            announce: Multihashes to queue.
            added_at: Unix time; now when None.
        """
        key = os.fsencode(path)
        with self._database.write() as connection:
            insert_blocks(connection, blocks)
            connection.execute("DELETE FROM roots WHERE cid = ? AND path = ?", (cid.binary, key))
            number = connection.execute(
                """INSERT INTO roots (cid, multihash, kind, name, path, size_bytes, profile,
                       added_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
                (
                    cid.binary,
                    cid.multihash,
                    kind,
                    name,
                    key,
                    size_bytes,
                    profile,
                    time.time() if added_at is None else added_at,
                ),
            ).lastrowid
            insert_rows(
                connection,
                "INSERT OR IGNORE INTO root_files (root, path, multihash) VALUES {rows}",
                ((number, os.fsencode(file), root.multihash) for file, root in files),
            )
            announce = list(announce)
            insert_announcements(connection, announce)
            if number in _forget_broken(connection, key):
                withdraw(connection, announce)  # of files that were forgotten meanwhile

    def roots(self) -> list[StoredRoot]:
        """Return all roots, the first added first."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT {_ROOT_COLUMNS} FROM {_FILES_OF_ROOTS}"
                " GROUP BY roots.id ORDER BY roots.added_at, roots.id"
            ).fetchall()
        return [_stored_root(row) for row in rows]

    def find_root(self, multihash: bytes) -> StoredRoot | None:
        """Return the root of that multihash; one that is "ok" if there are several."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT {_ROOT_COLUMNS} FROM {_FILES_OF_ROOTS}"
                " WHERE roots.multihash = ? GROUP BY roots.id ORDER BY roots.id",
                (multihash,),
            ).fetchall()
        found = [_stored_root(row) for row in rows]
        return min(found, key=lambda root: root.state != "ok", default=None)

    def root_files(self, cid: Cid) -> list[StoredFile]:
        """Return the recorded files of a root, sorted by path, in whatever state they are.

        A file that was replaced by another content at its path is not among them.
        """
        with self._database.read() as connection:
            rows = connection.execute(
                f"""SELECT DISTINCT {FILE_COLUMNS} FROM roots
                    JOIN root_files ON root_files.root = roots.id
                    JOIN files ON files.path = root_files.path
                        AND files.multihash = root_files.multihash
                    WHERE roots.multihash = ? ORDER BY files.path""",
                (cid.multihash,),
            ).fetchall()
        return [stored_file(row) for row in rows]

    def replaced_files(self, cid: Cid) -> list[Path]:
        """Return the paths of a root whose content was replaced by another one since."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT DISTINCT root_files.path FROM {_FILES_OF_ROOTS}"
                " WHERE roots.multihash = ? AND root_files.path IS NOT NULL AND files.id IS NULL"
                " ORDER BY root_files.path",
                (cid.multihash,),
            ).fetchall()
        return [Path(os.fsdecode(row[0])) for row in rows]

    def file_totals(self) -> tuple[int, int]:
        """Return how many files are shared and how many bytes they hold, each path once."""
        with self._database.read() as connection:
            row = connection.execute(
                """SELECT count(*), coalesce(sum(size_bytes), 0) FROM
                   (SELECT max(size_bytes) AS size_bytes FROM files WHERE state = 'ok'
                    GROUP BY path)"""
            ).fetchone()
        return int(row[0]), int(row[1])

    def managed_bytes(self) -> int:
        """Return the size of all files that this node made itself, each path once."""
        with self._database.read() as connection:
            (found,) = connection.execute(
                """SELECT coalesce(sum(size_bytes), 0) FROM (
                       SELECT path, max(size_bytes) AS size_bytes FROM (
                           SELECT path, size_bytes FROM files WHERE is_managed AND state = 'ok'
                           UNION ALL SELECT path, size_bytes FROM hub_blobs WHERE is_managed)
                       GROUP BY path)"""
            ).fetchone()
        return int(found)


def _forget_broken(connection: sqlite3.Connection, key: bytes) -> set[int]:
    """Forget the roots of a path that lack a file because it was replaced or changed."""
    rows = connection.execute(
        f"""SELECT roots.id, roots.multihash FROM {_FILES_OF_ROOTS} WHERE roots.path = ?
            GROUP BY roots.id
            HAVING count(root_files.path) > coalesce(sum(files.state = 'ok'), 0)""",
        (key,),
    ).fetchall()
    connection.executemany("DELETE FROM roots WHERE id = ?", [(row[0],) for row in rows])
    withdraw(connection, [row[1] for row in rows])
    return {row[0] for row in rows}


def _stored_root(row: Sequence[Any]) -> StoredRoot:
    cid, kind, name, path, size_bytes, profile, added_at, files, ok, missing = row
    if ok == files:
        state = "ok"
    elif ok:
        state = "partial"
    else:
        state = "missing" if missing == files else "changed"
    return StoredRoot(
        cid=Cid.from_bytes(cid),
        kind=kind,
        name=name,
        path=Path(os.fsdecode(path)),
        size_bytes=size_bytes,
        files=files,
        profile=profile,
        added_at=added_at,
        state=state,
    )

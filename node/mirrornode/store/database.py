"""Connections to the catalog's SQLite file, and SQLite's errors in our words.

One connection writes, guarded by a lock; readers have their own from a small pool and see the last
committed state while a write is under way (WAL). A database that keeps no requests has some tables
in memory, where one connection alone sees them: readers wait for it. No SQL of the tables is here.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from mirrornode.errors import CatalogUnusable, DiskFull, HomeLocked, MirrorError, PathRefused
from mirrornode.store.forgetting import keep_in_memory, keep_pinned, overwrite_freed
from mirrornode.store.schema import migrate

BUSY_TIMEOUT_MS = 10_000  # how long we wait for another process's write; ours last well under 1 s
MAX_IDLE_READERS = 8
MAX_WAL_BYTES = 64 * 1024 * 1024  # a larger log is cut back after the write that grew it

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_REFUSED = {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_IOERR,
}


class Database:
    """The open catalog file; safe to use from any thread. Close it when done."""

    def __init__(self, path: Path, *, keeps_requests: bool = True) -> None:
        """Open `path`, which is made when missing, and bring it to the newest format.

        Args:
            keeps_requests: False: what clients ask for is never written, see `store.forgetting`,
                and what there was of it is deleted.

        Raises:
            CatalogUnusable: Damaged, written by a newer version, or some other program's.
            PathRefused: The operating system denies access.
            HomeLocked: Another process keeps writing to it.
        """
        self._path = path
        self._closed = False
        self._write_lock = threading.RLock()  # guards _writer; its holder may read
        self._keeps_requests = keeps_requests
        self._is_pinned_changed = False
        self._pool_lock = threading.Lock()  # guards _idle and _closed
        self._idle: list[sqlite3.Connection] = []
        with self._translated():
            self._writer = self._connect()
            try:
                self._writer.execute("PRAGMA journal_mode = WAL").fetchone()
                migrate(self._writer)
                if not keeps_requests and keep_in_memory(self._writer, self._note_change):
                    overwrite_freed(self._writer)
            except BaseException:
                self._writer.close()
                raise

    def close(self) -> None:
        """Close all connections; one that is in use is closed when its user is done."""
        with self._write_lock:
            with self._pool_lock:
                self._closed = True
                idle, self._idle = self._idle, []
            for connection in (*idle, self._writer):
                connection.close()

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for reading; fetch all rows before giving it back.

        Raises:
            CatalogUnusable: The file turned out to be damaged, or the catalog is closed.
        """
        if not self._keeps_requests:
            with self._translated(), self._write_lock:
                if self._closed:
                    raise CatalogUnusable("the catalog is closed")
                yield self._writer
            return
        with self._translated():
            connection = self._take_reader()
            try:
                yield connection
            finally:
                self._give_back(connection)

    @contextlib.contextmanager
    def write(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Lend the writing connection inside a transaction: all of the block happens, or nothing.

        Args:
            durable: The commit reaches the disk before this returns. Without it a power cut may
                undo the last commits, but never in part and never out of order.

        Raises:
            CatalogUnusable: As `read`.
            DiskFull: No room for the change; nothing was written.
            HomeLocked: Another process keeps writing to the catalog.
        """
        with self._translated(), self._write_lock:
            if self._closed:
                raise CatalogUnusable("the catalog is closed")
            if durable:
                self._writer.execute("PRAGMA synchronous = FULL")
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer
                    if self._is_pinned_changed:
                        keep_pinned(self._writer)
                    self._writer.execute("COMMIT")
                    self._is_pinned_changed = False
                except BaseException:
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                    raise
            finally:
                if durable:
                    self._writer.execute("PRAGMA synchronous = NORMAL")

    def overwrite_freed(self) -> None:
        """Leave nothing of deleted rows on the disk; slow.

        Raises:
            MirrorError: As `write`.
        """
        with self._translated(), self._write_lock:
            overwrite_freed(self._writer)

    def _note_change(self) -> None:
        self._is_pinned_changed = True

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=BUSY_TIMEOUT_MS / 1000,
            isolation_level=None,
            check_same_thread=False,  # lent to one thread at a time
        )
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {MAX_WAL_BYTES}")
        return connection

    def _take_reader(self) -> sqlite3.Connection:
        with self._pool_lock:
            if self._closed:
                raise CatalogUnusable("the catalog is closed")
            if self._idle:
                return self._idle.pop()
        connection = self._connect()
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._pool_lock:
            if not self._closed and len(self._idle) < MAX_IDLE_READERS:
                self._idle.append(connection)
                return
        connection.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            translated = self._translate(error)
            if translated is None:
                raise
            raise translated from error

    def _translate(self, error: sqlite3.DatabaseError) -> MirrorError | None:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _DAMAGED and not isinstance(error, sqlite3.ProgrammingError):
            return CatalogUnusable(
                f"{self._path} is damaged ({error}); move it away and add your files again, "
                "they are not touched"
            )
        if code == sqlite3.SQLITE_FULL:
            return DiskFull(self._path, 0, shutil.disk_usage(self._path.parent).free)
        if code in _REFUSED:
            return PathRefused(self._path, "use", str(error))
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return HomeLocked(self._path.parent)
        return None  # a constraint or a misuse: a bug of ours, which must be seen

"""What the node keeps in its home and may free: files it made itself, and their inner blocks.

A file is the node's when every record of its path says `is_managed`; one record of a user's makes
it the user's. Which files go is decided in `mirror.keep`; here they are listed, forgotten in one
transaction, and remembered until they are deleted. So the catalog never offers a file that a crash
has deleted, and never loses sight of one that it has not.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.content.cid import Cid
from mirrornode.content.dagcbor import Value, decode_dagcbor
from mirrornode.content.dagpb import decode_node
from mirrornode.errors import ContentError
from mirrornode.store.announcements import git_sha1_digest, sha256_digest, withdraw
from mirrornode.store.files import forget_file
from mirrornode.store.stamps import FileStamp
from mirrornode.store.statements import batches

if TYPE_CHECKING:
    import sqlite3
    from contextlib import AbstractContextManager

    from mirrornode.store.database import Database

_MANAGED = """SELECT path, max(size_bytes) AS size, max(mtime_ns), max(inode) FROM (
        SELECT path, size_bytes, mtime_ns, inode, is_managed FROM files
        UNION ALL SELECT path, size_bytes, mtime_ns, inode, is_managed FROM hub_blobs)
    GROUP BY path HAVING min(is_managed) = 1"""

# The files of pinned commits, up to and with a WHERE.
PINNED_HUB_FILES = """pins
    JOIN hub_revisions ON hub_revisions.repo = pins.repo
        AND hub_revisions.commit_id = pins.commit_id
    JOIN hub_files ON hub_files.revision = hub_revisions.id
    WHERE pins.kind = 'hub' AND (pins.prefix = '' OR hub_files.path = pins.prefix
        OR substr(hub_files.path, 1, length(pins.prefix) + 1) = pins.prefix || '/')"""
_PINNED_ETAGS = f"SELECT DISTINCT hub_files.etag FROM {PINNED_HUB_FILES}"


@dataclass(frozen=True, slots=True)
class ManagedFile:
    """A file that the node made and may delete.

    Attributes:
        used_at: Unix seconds of the last use that was noted, 0 when there was none.
        revision: "REPO@COMMIT" of the newest known revision that has it, "" when there is none.
        is_pinned: A pin holds it.
    """

    path: Path
    stamp: FileStamp
    used_at: float
    revision: str
    is_pinned: bool


@dataclass(frozen=True, slots=True)
class ManagedFiles:
    """All of them at one moment; `pins_seen` is the number of the last pin made before."""

    files: Sequence[ManagedFile]
    pins_seen: int


class KeepingTable:
    """The part of the catalog that knows what may be freed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def managed_bytes(self) -> int:
        """Return the size of all managed files together, as they were recorded."""
        with self._database.read() as connection:
            row = connection.execute(f"SELECT coalesce(sum(size), 0) FROM ({_MANAGED})").fetchone()
        return int(row[0])

    def managed_files(self) -> ManagedFiles:
        """Return every managed file, in whatever state."""
        with self._database.read() as connection:
            pins_seen = _pins_seen(connection)
            rows = connection.execute(_MANAGED).fetchall()
            used = dict(connection.execute("SELECT path, used_at FROM uses").fetchall())
            revisions = dict(
                connection.execute(
                    """SELECT hub_blobs.path, (
                           SELECT substr(repo, instr(repo, ':') + 1) || '@' || lower(hex(commit_id))
                           FROM hub_files JOIN hub_revisions ON hub_revisions.id = revision
                           WHERE hub_files.etag = hub_blobs.etag
                           ORDER BY hub_revisions.id DESC LIMIT 1)
                       FROM hub_blobs WHERE is_managed"""
                ).fetchall()
            )
            direct, etags = _pinned_names(connection)
        below = self.closure(direct)
        with self._database.read() as connection:
            pinned = _pinned_paths(connection, direct, etags, below)
        files = [
            ManagedFile(
                path=Path(os.fsdecode(path)),
                stamp=FileStamp(size_bytes, mtime_ns, inode),
                used_at=used.get(path, 0.0),
                revision=revisions.get(path) or "",
                is_pinned=path in pinned,
            )
            for path, size_bytes, mtime_ns, inode in rows
        ]
        return ManagedFiles(files, pins_seen)

    def forget_managed(self, files: Sequence[ManagedFile], pins_seen: int) -> set[bytes] | None:
        """Offer files no more: their rows, leaves, blobs, uses and announcements go, all or none.

        Roots that have lost their last file go with them. The files are noted as doomed until
        `forget_doomed`. On disk when this returns.

        Returns:
            The multihashes of the trees and roots that went; None, with nothing changed, when
            something was pinned since `pins_seen`.
        """
        gone: set[bytes] = set()
        with self._database.write(durable=True) as connection:
            if _pins_seen(connection) != pins_seen:
                return None
            keys = [os.fsencode(file.path) for file in files]
            roots = roots_over(connection, keys)
            for key, file in zip(keys, files, strict=True):
                owned = connection.execute(
                    """SELECT (SELECT count(*) FROM files WHERE path = :key AND NOT is_managed)
                       + (SELECT count(*) FROM hub_blobs WHERE path = :key AND NOT is_managed)""",
                    {"key": key},
                ).fetchone()[0]
                if owned:
                    continue  # it became the user's since we looked
                gone.update(
                    row[0]
                    for row in connection.execute(
                        "SELECT multihash FROM files WHERE path = ?", (key,)
                    )
                )
                forget_file(connection, file.path)
                connection.execute("DELETE FROM hub_blobs WHERE path = ?", (key,))
                connection.execute("DELETE FROM uses WHERE path = ?", (key,))
                connection.execute(
                    "INSERT OR REPLACE INTO doomed (path, inode) VALUES (?, ?)",
                    (key, file.stamp.inode),
                )
            gone |= drop_empty_roots(connection, roots)
        return gone

    def doomed(self) -> list[tuple[Path, int]]:
        """Return path and inode of files that are to be deleted."""
        with self._database.read() as connection:
            rows = connection.execute("SELECT path, inode FROM doomed ORDER BY path").fetchall()
        return [(Path(os.fsdecode(path)), inode) for path, inode in rows]

    def forget_doomed(self, paths: Iterable[Path]) -> None:
        """Note that files are deleted, or are not to be."""
        with self._database.write() as connection:
            connection.executemany(
                "DELETE FROM doomed WHERE path = ?", ((os.fsencode(path),) for path in paths)
            )

    def is_recorded(self, path: Path) -> bool:
        """Tell whether a path is offered as a file or known as a blob."""
        with self._database.read() as connection:
            row = connection.execute(
                """SELECT EXISTS (SELECT 1 FROM files WHERE path = :key)
                       OR EXISTS (SELECT 1 FROM hub_blobs WHERE path = :key)""",
                {"key": os.fsencode(path)},
            ).fetchone()
        return bool(row[0])

    def mark_managed(self, path: Path) -> None:
        """Note that the node made a file for itself, and may delete it."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE files SET is_managed = 1 WHERE path = ?", (os.fsencode(path),)
            )

    def put_managed_blob_of(self, etag: str, path: Path, stamp: FileStamp) -> None:
        """Record another name of a blob that is known already, as open as that one is."""
        with self._database.write() as connection:
            connection.execute(
                """INSERT OR REPLACE INTO hub_blobs
                       (path, etag, size_bytes, mtime_ns, inode, is_open, is_managed)
                   SELECT :path, :etag, :size, :mtime, :inode, coalesce(max(is_open), 0), 1
                   FROM hub_blobs WHERE etag = :etag""",
                {
                    "path": os.fsencode(path),
                    "etag": bytes.fromhex(etag),
                    "size": stamp.size_bytes,
                    "mtime": stamp.mtime_ns,
                    "inode": stamp.inode,
                },
            )

    def note_uses(self, uses: Mapping[str, float]) -> None:
        """Note when managed files were used; of others nothing is kept."""
        with self._database.write() as connection:
            connection.executemany(
                """INSERT OR REPLACE INTO uses (path, used_at) SELECT :path, :at
                   WHERE EXISTS (SELECT 1 FROM files WHERE path = :path AND is_managed)
                       OR EXISTS (SELECT 1 FROM hub_blobs WHERE path = :path AND is_managed)""",
                ({"path": os.fsencode(path), "at": at} for path, at in uses.items()),
            )

    # -- inner blocks ----------------------------------------------------------------------------

    def closure(self, multihashes: Iterable[bytes]) -> set[bytes]:
        """Return these multihashes and all that the kept blocks below them link to."""
        found = set(multihashes)
        ahead = list(found)
        while ahead:
            deeper: list[bytes] = []
            for batch, marks in batches(ahead):
                with self._database.read() as connection:
                    rows = connection.execute(
                        f"SELECT bytes FROM blocks WHERE multihash IN ({marks})", batch
                    ).fetchall()
                for (data,) in rows:
                    for multihash in links_in(data):
                        if multihash not in found:
                            found.add(multihash)
                            deeper.append(multihash)
            ahead = deeper
        return found

    def last_block(self) -> int:
        """Return a number that blocks kept later exceed."""
        with self._database.read() as connection:
            row = connection.execute("SELECT coalesce(max(rowid), 0) FROM blocks").fetchone()
        return int(row[0])

    def sweep_blocks(
        self,
        held: Iterable[bytes],
        candidates: Iterable[bytes],
        old: int,
        guard: Callable[[], AbstractContextManager[bool]],
    ) -> int:
        """Drop the inner blocks that no recorded file, root, pin or held root needs.

        Args:
            held: Roots of what is running.
            candidates: Blocks that may go whatever their age.
            old: Others may go up to this `last_block`: younger ones may be of work that has not
                recorded its files yet.
            guard: Keeps anything new from beginning to run, until a change is committed; yields
                False when something has begun since `held` was taken.

        Returns:
            How many blocks went.
        """
        with self._database.read() as connection:
            seen = _recorded(connection)
            known = dict(connection.execute("SELECT multihash, rowid FROM blocks").fetchall())
            roots = {
                row[0]
                for table in ("files", "roots", "pins")
                for row in connection.execute(
                    f"SELECT DISTINCT multihash FROM {table} WHERE multihash IS NOT NULL"
                )
            }
        needed = self.closure(roots | set(held))
        freed = set(candidates)
        waste = [
            multihash
            for multihash, number in known.items()
            if multihash not in needed and (number <= old or multihash in freed)
        ]
        gone = 0
        for batch, marks in batches(waste):
            with contextlib.ExitStack() as until_committed, self._database.write() as connection:
                # Entered once it is our turn to write: others must not wait for that, too.
                is_quiet = until_committed.enter_context(guard())
                if not is_quiet or _recorded(connection) != seen:
                    break  # what was waste may be needed now
                gone += connection.execute(
                    f"DELETE FROM blocks WHERE multihash IN ({marks})", batch
                ).rowcount
        return gone


def links_in(data: bytes) -> list[bytes]:
    """Return the multihashes a block links to, whether it is dag-pb or DAG-CBOR."""
    found: list[bytes] = []
    with contextlib.suppress(ContentError):  # not dag-pb
        found += (link.cid.multihash for link in decode_node(data).links)
    with contextlib.suppress(ContentError):  # not DAG-CBOR
        _cbor_links(decode_dagcbor(data), found)
    return found


def _cbor_links(value: Value, found: list[bytes]) -> None:
    if isinstance(value, Cid):
        found.append(value.multihash)
    elif isinstance(value, list):
        for item in value:
            _cbor_links(item, found)
    elif isinstance(value, dict):
        for item in value.values():
            _cbor_links(item, found)


def _pins_seen(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'pins'").fetchone()
    return 0 if row is None else int(row[0])


def _recorded(connection: sqlite3.Connection) -> tuple[object, ...]:
    """Return what differs when a file, root or pin was recorded."""
    newest = (
        "SELECT max(id), count(*), (SELECT multihash FROM {0} ORDER BY id DESC LIMIT 1) FROM {0}"
    )
    files = connection.execute(newest.format("files")).fetchone()
    roots = connection.execute(newest.format("roots")).fetchone()
    return (*files, *roots, _pins_seen(connection))


def _pinned_names(connection: sqlite3.Connection) -> tuple[set[bytes], set[bytes]]:
    """Return the multihashes that are pinned by themselves, and the pinned ETags."""
    direct = connection.execute("SELECT multihash FROM pins WHERE multihash IS NOT NULL").fetchall()
    return {row[0] for row in direct}, {row[0] for row in connection.execute(_PINNED_ETAGS)}


def _pinned_paths(
    connection: sqlite3.Connection, direct: set[bytes], etags: set[bytes], below: set[bytes]
) -> set[bytes]:
    sha256 = {digest for key in direct if (digest := sha256_digest(key)) is not None} | etags
    sha1 = {digest for key in direct if (digest := git_sha1_digest(key)) is not None} | etags
    pinned = {
        row[0]
        for row in connection.execute(
            "SELECT path, multihash, sha256, git_sha1 FROM files WHERE is_managed"
        )
        if row[1] in below or row[2] in sha256 or row[3] in sha1
    }
    # A file whose DAG is elsewhere: the catalog knows it as a file of the pinned root.
    pinned.update(
        row[0]
        for row in connection.execute(
            """SELECT root_files.path FROM root_files JOIN roots ON roots.id = root_files.root
               JOIN pins ON pins.multihash = roots.multihash"""
        )
    )
    for batch, marks in batches(direct):  # a block of a file holds the file
        pinned.update(
            row[0]
            for row in connection.execute(
                "SELECT DISTINCT files.path FROM leaves JOIN files ON files.id = leaves.file"
                f" WHERE leaves.multihash IN ({marks})",
                batch,
            )
        )
    pinned.update(
        path
        for path, etag in connection.execute("SELECT path, etag FROM hub_blobs WHERE is_managed")
        if etag in etags
    )
    return pinned


def roots_over(connection: sqlite3.Connection, keys: Sequence[bytes]) -> set[int]:
    """Return the roots that hold files at these paths."""
    found: set[int] = set()
    for batch, marks in batches(keys):
        rows = connection.execute(
            f"SELECT DISTINCT root FROM root_files WHERE path IN ({marks})", batch
        ).fetchall()
        found.update(row[0] for row in rows)
    return found


def empty_roots(connection: sqlite3.Connection, roots: Iterable[int]) -> dict[int, bytes]:
    """Return those of the roots of which no file is recorded, with their multihashes."""
    found: dict[int, bytes] = {}
    for batch, marks in batches(roots):
        rows = connection.execute(
            f"""SELECT id, multihash FROM roots WHERE id IN ({marks}) AND NOT EXISTS (
                    SELECT 1 FROM root_files JOIN files ON files.path = root_files.path
                        AND files.multihash = root_files.multihash
                    WHERE root_files.root = roots.id)""",
            batch,
        )
        found.update(rows.fetchall())
    return found


def drop_empty_roots(connection: sqlite3.Connection, roots: Iterable[int]) -> set[bytes]:
    """Forget roots of which no file is recorded any more, and return their multihashes."""
    empty = empty_roots(connection, roots)
    connection.executemany("DELETE FROM roots WHERE id = ?", [(number,) for number in empty])
    gone = set(empty.values())
    withdraw(connection, gone)
    return gone

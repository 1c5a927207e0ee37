"""Files shared in place: where every leaf lies, and what the file looked like when it was hashed.

Nothing of a file is kept but its hashes. What is found here is true as of the stamp; `slices`
compares the stamp again before a byte is read. A file that is not "ok" is not found by its content.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.content.cid import Cid
from mirrornode.content.leaf_form import LeafForm
from mirrornode.store.announcements import (
    git_sha1_digest,
    insert_announcements,
    sha256_digest,
    sha256_multihash,
    withdraw,
)
from mirrornode.store.blocks import insert_blocks
from mirrornode.store.records import FileRecord, FileSlice, StoredFile
from mirrornode.store.stamps import CHANGED, MISSING, FileStamp
from mirrornode.store.statements import batches, insert_rows

if TYPE_CHECKING:
    import sqlite3

    from mirrornode.content.recipe import Recipe
    from mirrornode.store.database import Database

FILES_AT_ONCE = 1000  # rows read in one go: bounds memory, and how long a reader is held

FILE_COLUMNS = (
    "files.id, files.path, files.cid, files.size_bytes, files.mtime_ns, files.inode, files.sha256,"
    " files.git_sha1, files.state, files.leaf_form, files.leaves, files.tsize, files.is_managed"
)

_PLACE_COLUMNS = "files.path, files.leaf_form, files.size_bytes, files.mtime_ns, files.inode"


def profile_key(recipe: Recipe) -> str:
    """Return the name a recipe's files are kept under; the same name means the same trees."""
    if recipe.name != "custom":
        return recipe.name
    leaf = "raw" if recipe.raw_leaves else "pb"
    return (
        f"custom:{recipe.chunker},{recipe.max_links},{leaf},v{recipe.cid_version},"
        f"{recipe.hash_code:#x},{recipe.layout},{recipe.inline_limit_bytes}"
    )


class FileTable:
    """The part of the catalog that knows files and their leaves."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find_leaf(self, multihash: bytes) -> FileSlice | None:
        """Return one place where the bytes of a leaf lie."""
        return self.find_leaves([multihash]).get(multihash)

    def find_leaves(self, multihashes: Sequence[bytes]) -> dict[bytes, FileSlice]:
        """Return one place for each leaf that a file which is "ok" holds."""
        found: dict[bytes, FileSlice] = {}
        places: dict[tuple[Any, ...], tuple[Path, LeafForm, FileStamp]] = {}
        with self._database.read() as connection:
            for batch, marks in batches(multihashes):
                rows = connection.execute(
                    f"SELECT leaves.multihash, leaves.start, leaves.length, {_PLACE_COLUMNS}"
                    " FROM leaves JOIN files ON files.id = leaves.file"
                    f" WHERE leaves.multihash IN ({marks}) AND files.state = 'ok'",
                    batch,
                ).fetchall()
                for multihash, start, length, *columns in rows:
                    key = tuple(columns)  # the same for all leaves of a file
                    if key not in places:
                        path, form, *stamp = columns
                        places[key] = Path(os.fsdecode(path)), LeafForm(form), FileStamp(*stamp)
                    if multihash not in found:
                        found[multihash] = FileSlice(
                            places[key][0], start, length, places[key][1], places[key][2]
                        )
        return found

    def known_leaves(self, multihashes: Iterable[bytes]) -> set[bytes]:
        """Return which leaves belong to a recorded file, whatever the state of that file."""
        found: set[bytes] = set()
        with self._database.read() as connection:
            for batch, marks in batches(multihashes):
                rows = connection.execute(
                    f"SELECT DISTINCT multihash FROM leaves WHERE multihash IN ({marks})", batch
                ).fetchall()
                found.update(row[0] for row in rows)
        return found

    def find_file(self, multihash: bytes) -> StoredFile | None:
        """Return a file that is "ok", by its root's multihash or a hash of its whole content.

        The content's SHA-256 as a multihash, or the SHA-1 of its git blob.
        """
        asked: list[tuple[str, bytes]] = [("multihash", multihash)]
        if (sha256 := sha256_digest(multihash)) is not None:
            asked.append(("sha256", sha256))
        elif (sha1 := git_sha1_digest(multihash)) is not None:
            asked.append(("git_sha1", sha1))
        with self._database.read() as connection:
            for column, key in asked:
                row = connection.execute(
                    f"SELECT {FILE_COLUMNS} FROM files WHERE {column} = ? AND state = 'ok' LIMIT 1",
                    (key,),
                ).fetchone()
                if row is not None:
                    return stored_file(row)
        return None

    def find_alias(self, multihash: bytes) -> Cid | None:
        """Return the root of a file that is "ok", by the multihash of its content's SHA-256."""
        digest = sha256_digest(multihash)
        if digest is None:
            return None
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT cid FROM files WHERE sha256 = ? AND state = 'ok' LIMIT 1", (digest,)
            ).fetchone()
        return None if row is None else Cid.from_bytes(row[0])

    def known_file(self, path: Path, recipe: Recipe) -> StoredFile | None:
        """Return what was recorded of `path` under `recipe`; the caller compares stamps."""
        return self.known_files([path], recipe).get(path)

    def known_files(self, paths: Iterable[Path], recipe: Recipe) -> dict[Path, StoredFile]:
        """Return what was recorded of each path under `recipe`, in whatever state."""
        found: dict[Path, StoredFile] = {}
        with self._database.read() as connection:
            for batch, marks in batches(os.fsencode(path) for path in paths):
                rows = connection.execute(
                    f"SELECT {FILE_COLUMNS} FROM files WHERE path IN ({marks}) AND profile = ?",
                    (*batch, profile_key(recipe)),
                ).fetchall()
                for row in rows:
                    stored = stored_file(row)
                    found[stored.path] = stored
        return found

    def all_files(self) -> Iterator[StoredFile]:
        """Yield every recorded file in whatever state; those recorded meanwhile may be left out."""
        last = 0
        while True:
            with self._database.read() as connection:
                rows = connection.execute(
                    f"SELECT {FILE_COLUMNS} FROM files WHERE id > ? ORDER BY id LIMIT ?",
                    (last, FILES_AT_ONCE),
                ).fetchall()
            if not rows:
                return
            yield from map(stored_file, rows)
            last = rows[-1][0]

    def leaves_of(self, file: StoredFile, start: int, stop: int) -> list[tuple[int, int, bytes]]:
        """Return `(offset, length, multihash)` of the leaves `[start, stop)` of a file."""
        with self._database.read() as connection:
            return connection.execute(
                "SELECT start, length, multihash FROM leaves"
                " WHERE file = ? AND leaf >= ? AND leaf < ? ORDER BY leaf",
                (file.file_id, start, stop),
            ).fetchall()

    def record_file(
        self,
        path: Path,
        stamp: FileStamp,
        dag_root: Cid,
        size_bytes: int,
        leaf_form: LeafForm,
        multihashes: Sequence[bytes],
        lengths: Sequence[int],
        sha256: bytes | None = None,
        git_sha1: bytes | None = None,
        profile: str = "",
        managed: bool = False,
        *,
        starts: Sequence[int] | None = None,
    ) -> None:
        """Record one file, as `record_files` does."""
        assert size_bytes == stamp.size_bytes, "a file is recorded with the stamp it was hashed at"
        record = FileRecord(
            path=path,
            stamp=stamp,
            cid=dag_root,
            leaf_form=leaf_form,
            multihashes=multihashes,
            lengths=lengths,
            profile=profile,
            starts=starts,
            sha256=sha256,
            git_sha1=git_sha1,
            is_managed=managed,
        )
        self.record_files([record])

    def record_files(self, records: Iterable[FileRecord]) -> None:
        """Record files and their inner blocks, all or none, in place of what their paths held.

        What was known of a path under another recipe stays while its stamp is the same. What a
        replaced file was announced under is withdrawn, unless another file still has it.
        """
        records = list(records)
        with self._database.write() as connection:
            known = _known_paths(connection, [os.fsencode(record.path) for record in records])
            fresh: list[FileRecord] = []
            for record in records:
                key = os.fsencode(record.path)
                if key not in known:
                    known.add(key)
                    fresh.append(record)
                    continue
                # A path that came up before in this very call counts as known, too.
                _insert_files(connection, fresh)
                fresh = []
                _replace_file(connection, record)
            _insert_files(connection, fresh)

    def set_file_digests(self, path: Path, sha256: bytes, git_sha1: bytes | None) -> None:
        """Add whole-file digests to a file that was recorded without, and queue its name.

        Nothing happens to a path that was forgotten meanwhile.
        """
        with self._database.write() as connection:
            is_there = connection.execute(
                "UPDATE files SET sha256 = ?, git_sha1 = coalesce(?, git_sha1) WHERE path = ?",
                (sha256, git_sha1, os.fsencode(path)),
            ).rowcount
            if is_there:
                names = [sha256_multihash(sha256)]
                insert_announcements(connection, names)
                withdraw(connection, names)  # the file may have changed meanwhile

    def files_without_sha256(self, limit: int, *, after_id: int = 0) -> list[StoredFile]:
        """Return at most `limit` files that are "ok" and lack their whole-file SHA-256.

        Args:
            after_id: Only files with a higher `file_id`; the result is in that order.
        """
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT {FILE_COLUMNS} FROM files WHERE sha256 IS NULL AND state = 'ok'"
                " AND id > ? ORDER BY id LIMIT ?",
                (after_id, limit),
            ).fetchall()
        return [stored_file(row) for row in rows]

    def mark_changed(self, path: Path, reason: str) -> None:
        """Stop serving and announcing a file, and announcing the folders that hold it.

        Args:
            reason: "changed" or "missing", as in `FileChanged.reason`.
        """
        self.mark_files([(path, reason)])

    def mark_files(self, marks: Iterable[tuple[Path, str]]) -> None:
        """Do what `mark_changed` does for many files at once."""
        with self._database.write() as connection:
            withdrawn: list[bytes] = []
            for path, reason in marks:
                assert reason in (CHANGED, MISSING), f"a file is not marked {reason!r}"
                key = os.fsencode(path)
                changed = connection.execute(
                    "UPDATE files SET state = ? WHERE path = ? AND state != ?",
                    (reason, key, reason),
                ).rowcount
                if changed:
                    withdrawn += _names_of(connection, key)
            withdraw(connection, withdrawn)

    def restore_file(self, file: StoredFile, stamp: FileStamp) -> None:
        """Serve and announce a file again, whose content is what it was; `stamp` is its new one."""
        key = os.fsencode(file.path)
        with self._database.write() as connection:
            connection.execute(
                "UPDATE files SET state = 'ok', size_bytes = ?, mtime_ns = ?, inode = ?"
                " WHERE id = ?",
                (stamp.size_bytes, stamp.mtime_ns, stamp.inode, file.file_id),
            )
            names = _names_of(connection, key)
            insert_announcements(connection, names)
            withdraw(connection, names)  # folders that hold it may lack other files


def stored_file(row: Sequence[Any]) -> StoredFile:
    """Return the record of a row selected with `FILE_COLUMNS`."""
    number, path, cid, size_bytes, mtime_ns, inode, *digests, state, form, leaves, tsize, ours = row
    return StoredFile(
        path=Path(os.fsdecode(path)),
        size_bytes=size_bytes,
        stamp=FileStamp(size_bytes, mtime_ns, inode),
        cid=Cid.from_bytes(cid),
        sha256=digests[0],
        git_sha1=digests[1],
        state=state,
        leaf_form=LeafForm(form),
        leaves=leaves,
        tsize_bytes=tsize,
        is_managed=bool(ours),
        file_id=number,
    )


def forget_file(connection: sqlite3.Connection, path: Path) -> None:
    """Neither serve nor announce a path any more, inside the caller's transaction."""
    key = os.fsencode(path)
    names = _names_of(connection, key)
    connection.execute("DELETE FROM files WHERE path = ?", (key,))
    withdraw(connection, names)


def _replace_file(connection: sqlite3.Connection, record: FileRecord) -> None:
    key = os.fsencode(record.path)
    stamp = record.stamp
    gone = connection.execute(
        """SELECT id FROM files WHERE path = :path AND (profile = :profile
               OR multihash = :multihash OR state != 'ok'
               OR size_bytes != :size OR mtime_ns != :mtime OR inode != :inode)""",
        {
            "path": key,
            "profile": record.profile,
            "multihash": record.cid.multihash,
            "size": stamp.size_bytes,
            "mtime": stamp.mtime_ns,
            "inode": stamp.inode,
        },
    ).fetchall()
    withdrawn = _names_of(connection, key) if gone else []
    connection.executemany("DELETE FROM files WHERE id = ?", gone)
    _insert_files(connection, [record])
    withdraw(connection, withdrawn)


def _known_paths(connection: sqlite3.Connection, paths: Sequence[bytes]) -> set[bytes]:
    """Return which of the paths hold a recorded file."""
    known: set[bytes] = set()
    for batch, marks in batches(paths):
        rows = connection.execute(f"SELECT path FROM files WHERE path IN ({marks})", batch)
        known.update(row[0] for row in rows.fetchall())
    return known


def _insert_files(connection: sqlite3.Connection, records: Sequence[FileRecord]) -> None:
    """Record files at paths that hold none; many cost little more than one."""
    if not records:
        return
    first = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM files").fetchone()[0]
    insert_blocks(connection, (block for record in records for block in record.blocks))
    insert_rows(
        connection,
        """INSERT INTO files (id, path, profile, cid, multihash, size_bytes, mtime_ns, inode,
               leaf_form, leaves, tsize, sha256, git_sha1, is_managed, state)
           VALUES {rows}""",
        (_columns(number, record) for number, record in enumerate(records, first)),
    )
    insert_rows(
        connection,
        "INSERT INTO leaves (file, leaf, start, length, multihash) VALUES {rows}",
        (
            (number, leaf, start, length, multihash)
            for number, record in enumerate(records, first)
            for leaf, (start, length, multihash) in enumerate(
                zip(_starts(record), record.lengths, record.multihashes, strict=True)
            )
        ),
    )


def _columns(number: int, record: FileRecord) -> tuple[Any, ...]:
    stamp = record.stamp
    return (
        number,
        os.fsencode(record.path),
        record.profile,
        record.cid.binary,
        record.cid.multihash,
        stamp.size_bytes,
        stamp.mtime_ns,
        stamp.inode,
        int(record.leaf_form),
        len(record.multihashes),
        record.tsize_bytes,
        record.sha256,
        record.git_sha1,
        record.is_managed,
        "ok",
    )


def _starts(record: FileRecord) -> Sequence[int]:
    if record.starts is not None:
        return record.starts
    return list(accumulate(record.lengths, initial=0))[: len(record.lengths)]


def _names_of(connection: sqlite3.Connection, key: bytes) -> list[bytes]:
    """Return all multihashes that the file at a path and the roots holding it go by."""
    names: list[bytes] = []
    for multihash, sha256 in connection.execute(
        "SELECT multihash, sha256 FROM files WHERE path = ?", (key,)
    ).fetchall():
        names.append(multihash)
        if sha256 is not None:
            names.append(sha256_multihash(sha256))
    names += (
        row[0]
        for row in connection.execute(
            "SELECT DISTINCT roots.multihash FROM root_files"
            " JOIN roots ON roots.id = root_files.root WHERE root_files.path = ?",
            (key,),
        ).fetchall()
    )
    return names

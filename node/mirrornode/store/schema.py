"""The catalog's tables, and how an older catalog becomes a current one.

`PRAGMA user_version` counts the migrations a catalog has had. A migration is never edited once it
was released; a change is a new one at the end.

Keys are multihashes, because a block is the same block under any CID version or codec. Paths are
stored as the bytes of the file system.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mirrornode.errors import CatalogUnusable
from mirrornode.store.schema_alerts import ALERT_TABLES
from mirrornode.store.schema_history import HISTORY_TABLES
from mirrornode.store.schema_hub import HUB_TABLES
from mirrornode.store.schema_ipns import NAME_TABLES
from mirrornode.store.schema_pins import PIN_TABLES
from mirrornode.store.schema_proofs import PROOF_TABLES
from mirrornode.store.schema_sweep import SWEEP_TABLES
from mirrornode.store.schema_sync import SYNC_TABLES

if TYPE_CHECKING:
    import sqlite3

APPLICATION_ID = 0x6D72_6E64  # "mrnd": tells our file from any other SQLite database

Migration = tuple[str, ...]

_FIRST: Migration = (
    # Inner nodes, directories and symlinks: small, and not part of any file on disk.
    """CREATE TABLE blocks (
        multihash BLOB NOT NULL UNIQUE,
        bytes     BLOB NOT NULL
    )""",
    # One row for a path and a recipe: the same file may be known under several trees.
    """CREATE TABLE files (
        id         INTEGER PRIMARY KEY,
        path       BLOB    NOT NULL,
        profile    TEXT    NOT NULL,
        cid        BLOB    NOT NULL,
        multihash  BLOB    NOT NULL,
        size_bytes INTEGER NOT NULL,
        mtime_ns   INTEGER NOT NULL,
        inode      INTEGER NOT NULL,
        leaf_form  INTEGER NOT NULL,
        leaves     INTEGER NOT NULL,
        tsize      INTEGER,
        sha256     BLOB,
        git_sha1   BLOB,
        is_managed INTEGER NOT NULL,
        state      TEXT    NOT NULL CHECK (state IN ('ok', 'changed', 'missing')),
        UNIQUE (path, profile)
    )""",
    "CREATE INDEX files_by_multihash ON files (multihash)",
    "CREATE INDEX files_by_sha256 ON files (sha256) WHERE sha256 IS NOT NULL",
    "CREATE INDEX files_by_git_sha1 ON files (git_sha1) WHERE git_sha1 IS NOT NULL",
    "CREATE INDEX files_without_sha256 ON files (id) WHERE sha256 IS NULL",
    # Clustered in file order, so that a file's leaves are written and read as one run.
    """CREATE TABLE leaves (
        file      INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
        leaf      INTEGER NOT NULL,
        start     INTEGER NOT NULL,
        length    INTEGER NOT NULL,
        multihash BLOB    NOT NULL,
        PRIMARY KEY (file, leaf)
    ) WITHOUT ROWID""",
    "CREATE INDEX leaves_by_multihash ON leaves (multihash)",
    """CREATE TABLE roots (
        id         INTEGER PRIMARY KEY,
        cid        BLOB    NOT NULL,
        multihash  BLOB    NOT NULL,
        kind       TEXT    NOT NULL CHECK (kind IN ('file', 'directory', 'symlink')),
        name       TEXT    NOT NULL,
        path       BLOB    NOT NULL,
        size_bytes INTEGER NOT NULL,
        profile    TEXT    NOT NULL,
        added_at   REAL    NOT NULL,
        UNIQUE (cid, path)
    )""",
    "CREATE INDEX roots_by_multihash ON roots (multihash)",
    # By path and multihash, not by file id: a file that comes back as it was makes its roots whole.
    """CREATE TABLE root_files (
        root      INTEGER NOT NULL REFERENCES roots (id) ON DELETE CASCADE,
        path      BLOB    NOT NULL,
        multihash BLOB    NOT NULL,
        PRIMARY KEY (root, path, multihash)
    ) WITHOUT ROWID""",
    "CREATE INDEX root_files_by_path ON root_files (path)",
    """CREATE TABLE announcements (
        id         INTEGER PRIMARY KEY,
        multihash  BLOB    NOT NULL UNIQUE,
        priority   INTEGER NOT NULL DEFAULT 0,
        attempts   INTEGER NOT NULL,
        next_at    REAL    NOT NULL,
        last_ok_at REAL
    )""",
    "CREATE INDEX announcements_by_time ON announcements (priority, next_at, id)",
    """CREATE TABLE transfers (
        id         INTEGER PRIMARY KEY,
        root       BLOB    NOT NULL,
        out        BLOB    NOT NULL,
        part       BLOB    NOT NULL,
        part_inode INTEGER NOT NULL,
        part_mtime_ns INTEGER NOT NULL,
        leaf_bits  BLOB    NOT NULL,
        updated_at REAL    NOT NULL,
        UNIQUE (root, out)
    )""",
    """CREATE TABLE mirror_uses (
        id           INTEGER PRIMARY KEY,
        mirror       TEXT    NOT NULL,
        at           REAL    NOT NULL,
        size_bytes   INTEGER NOT NULL,
        seconds      REAL    NOT NULL,
        first_byte_s REAL,
        outcome      TEXT    NOT NULL CHECK (outcome IN ('ok', 'failed', 'wrong'))
    )""",
    "CREATE INDEX mirror_uses_by_mirror ON mirror_uses (mirror, id)",
    *HUB_TABLES,
)

MIGRATIONS: tuple[Migration, ...] = (
    _FIRST,
    NAME_TABLES,
    HISTORY_TABLES,
    PIN_TABLES,
    SWEEP_TABLES,
    SYNC_TABLES,
    ALERT_TABLES,
    PROOF_TABLES,
)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the catalog of `connection` (in autocommit mode) to the newest version.

    Each migration is one transaction; an interrupted one leaves the catalog as it was.

    Raises:
        CatalogUnusable: Written by a newer version, or not a catalog of ours.
        sqlite3.Error: The database failed.
    """
    if _version(connection) == len(migrations):
        _check_owner(connection)
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = _version(connection)  # again: another process may have migrated while we waited
        if done > len(migrations):
            raise CatalogUnusable(
                f"the catalog has format {done}, this version knows up to {len(migrations)}; "
                "install a newer mirrornode or choose another home with --home"
            )
        _check_owner(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for migration in migrations[done:]:
            for statement in migration:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _check_owner(connection: sqlite3.Connection) -> None:
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if owner != APPLICATION_ID and tables:
        raise CatalogUnusable("the catalog file is some other program's database")

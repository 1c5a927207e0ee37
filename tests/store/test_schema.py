from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from mirrornode.errors import CatalogUnusable
from mirrornode.store.catalog import CATALOG_NAME, open_catalog
from mirrornode.store.schema import MIGRATIONS, migrate


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def test_open_catalog_when_written_by_a_newer_version_then_says_so(home: Path) -> None:
    with open_catalog(home):
        pass
    with _connect(home / CATALOG_NAME) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(CatalogUnusable, match="newer mirrornode"):
        open_catalog(home)


def test_open_catalog_when_file_is_another_programs_then_refused_and_untouched(home: Path) -> None:
    home.mkdir()
    with _connect(home / CATALOG_NAME) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(CatalogUnusable, match="other program"):
        open_catalog(home)
    with _connect(home / CATALOG_NAME) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert tables == [("theirs",)]


def test_migrate_when_older_then_only_what_is_missing_is_done(tmp_path: Path) -> None:
    connection = _connect(tmp_path / "catalog")
    migrate(connection)
    connection.execute("INSERT INTO blocks VALUES (x'00', x'01')")
    later = (*MIGRATIONS, ("ALTER TABLE blocks ADD COLUMN seen INTEGER",))
    migrate(connection, later)
    assert connection.execute("SELECT * FROM blocks").fetchall() == [(b"\0", b"\1", None)]
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
    connection.close()


def test_migrate_when_interrupted_then_catalog_is_as_before(tmp_path: Path) -> None:
    connection = _connect(tmp_path / "catalog")
    migrate(connection)
    broken = (*MIGRATIONS, ("CREATE TABLE half (x)", "this is no SQL"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, broken)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert ("half",) not in names
    connection.close()

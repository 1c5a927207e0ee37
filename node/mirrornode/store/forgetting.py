"""What a catalog that keeps no requests holds in memory only: names of the Hub, grants, names.

Clients ask for repos, and the catalog would remember each: who may see it, its refs, its trees,
what an origin said to a token; names of IPNS; how a mirror did that was named once; what was synced
by hand. Here those tables are temporary, in memory, and
hide the tables of the same names in the file, so that no SQL elsewhere has to know. They are seen
by one connection only.

What a pin names is no request: those rows are in the file, too, as GC must know them after a
restart, and a sync how its last run went. The rest of what the file held is deleted and its pages
are overwritten.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

FORGOTTEN: Final = (
    "hub_repos",
    "hub_refs",
    "hub_revisions",
    "hub_files",
    "hub_grants",
    "hub_answers",
    "known_names",
    "mirror_uses",
    "sync_states",
)
_WATCHED: Final = (
    "main.pins",
    "temp.hub_repos",
    "temp.hub_refs",
    "temp.hub_revisions",
    "temp.sync_states",
)

_PIN_OF_COMMIT = """EXISTS (SELECT 1 FROM main.pins WHERE pins.kind = 'hub'
    AND pins.repo = {table}.repo AND pins.commit_id = {table}.commit_id)"""
# Of a pinned commit its own row and the refs that lead to it, of its repo who may see it.
_IS_PINNED: Final = {
    "hub_repos": "repo IN (SELECT repo FROM main.pins WHERE kind = 'hub')",
    "hub_refs": _PIN_OF_COMMIT.format(table="hub_refs"),
    "hub_revisions": _PIN_OF_COMMIT.format(table="hub_revisions"),
    # As `mirror.sync_target` names the pins of a target.
    "sync_states": """EXISTS (SELECT 1 FROM main.pins
        WHERE pins.owner = '' AND pins.name = 'sync:' || sync_states.target)""",
}
# Memory is not a disk: of each table the rows that came last stay, beside those that are pinned.
MAX_REVISIONS: Final = 2000  # with their lists of files
MAX_ROWS: Final = 20_000
_NEWEST: Final = {
    "hub_repos": ("checked_at", MAX_ROWS),
    "hub_refs": ("seen_at", MAX_ROWS),
    "hub_revisions": ("id", MAX_REVISIONS),
}

_TABLE = re.compile(r"CREATE TABLE ")
_INDEX = re.compile(r"CREATE INDEX (?=\w)")


def keep_in_memory(connection: sqlite3.Connection, on_change: Callable[[], None]) -> bool:
    """Hide the tables in the file by empty ones in memory, but for what is pinned.

    Args:
        connection: The only one that the catalog uses from then on.
        on_change: Called inside a transaction that changed what `keep_pinned` looks at.

    Returns:
        True when the file held something that is gone from it now.
    """
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA secure_delete = ON")
    marks = ",".join("?" * len(FORGOTTEN))
    made = connection.execute(
        f"SELECT sql FROM main.sqlite_master WHERE tbl_name IN ({marks}) AND sql IS NOT NULL"
        " ORDER BY type DESC",  # tables before their indexes
        FORGOTTEN,
    ).fetchall()
    for (sql,) in made:
        sql = _TABLE.sub("CREATE TABLE temp.", sql, count=1)
        # By a name of its own: VACUUM makes those of the file again, and would take it for one.
        connection.execute(_INDEX.sub("CREATE INDEX temp.memory_", sql, count=1))
    connection.execute("BEGIN IMMEDIATE")
    before = connection.total_changes
    _drop_unpinned(connection)
    is_changed = connection.total_changes > before
    for table in (*_IS_PINNED, "hub_files"):
        connection.execute(f"INSERT INTO temp.{table} SELECT * FROM main.{table}")
    connection.execute("COMMIT")
    connection.create_function("mirrornode_changed", 0, on_change)
    for number, table in enumerate(_WATCHED):
        for event in ("INSERT", "UPDATE", "DELETE"):
            connection.execute(
                f"CREATE TEMP TRIGGER watch_{number}_{event} AFTER {event} ON {table}"
                " BEGIN SELECT mirrornode_changed(); END"
            )
    return is_changed


def keep_pinned(connection: sqlite3.Connection) -> None:
    """Bring the file up to date with what is pinned, inside the caller's transaction.

    Forgets what is more than memory should hold.
    """
    _drop_unpinned(connection)
    for table, (order, most) in _NEWEST.items():
        if connection.execute(f"SELECT count(*) FROM temp.{table}").fetchone()[0] > most:
            connection.execute(
                f"""DELETE FROM temp.{table} WHERE NOT {_IS_PINNED[table]} AND {order} <= (
                    SELECT {order} FROM temp.{table} ORDER BY {order} DESC LIMIT 1 OFFSET ?)""",
                (most,),
            )
    for table in ("hub_repos", "hub_refs", "sync_states"):
        connection.execute(
            f"""INSERT OR REPLACE INTO main.{table}
                SELECT * FROM temp.{table} WHERE {_IS_PINNED[table]}
                EXCEPT SELECT * FROM main.{table}"""
        )
    changed = connection.execute(
        f"""SELECT id FROM (
            SELECT * FROM temp.hub_revisions WHERE {_IS_PINNED["hub_revisions"]}
            EXCEPT SELECT * FROM main.hub_revisions)"""
    ).fetchall()
    for number in changed:
        connection.execute("DELETE FROM main.hub_revisions WHERE id = ?", number)
        for table, column in (("hub_revisions", "id"), ("hub_files", "revision")):
            connection.execute(
                f"INSERT INTO main.{table} SELECT * FROM temp.{table} WHERE {column} = ?", number
            )


def overwrite_freed(connection: sqlite3.Connection) -> None:
    """Leave nothing of deleted rows in the file or its log; outside a transaction, and slow."""
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _drop_unpinned(connection: sqlite3.Connection) -> None:
    for table in ("hub_grants", "hub_answers", "known_names", "mirror_uses"):
        connection.execute(f"DELETE FROM main.{table}")
    for table, is_pinned in _IS_PINNED.items():  # a revision's files go with it, by foreign key
        connection.execute(f"DELETE FROM main.{table} WHERE NOT {is_pinned}")

"""Names in the catalog: those this node publishes, and what it has last seen others' mean.

Rows only: which record is newer and how long an answer counts is decided in `mirror`. Times are
Unix seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mirrornode.store.database import Database

KEPT_NAMES: Final = 2000  # of others; those seen last stay
_PUBLICATION = (
    "key_name, name, target, record, lifetime_s, is_active, changed_at, published_at, kept_by"
)


@dataclass(frozen=True, slots=True)
class Publication:
    """One name of ours.

    Attributes:
        key_name: What its key is called here.
        name: The binary name.
        target: What the user asked to publish, as typed.
        record: The last one that was signed.
        lifetime_s: How long a record counts from its signing on.
        is_active: It is given to the network again and again.
        changed_at: When its value changed.
        published_at: When the network was last told; None: never.
        kept_by: How many peers said then that they keep it.
    """

    key_name: str
    name: bytes
    target: str
    record: bytes
    lifetime_s: float
    is_active: bool
    changed_at: float
    published_at: float | None
    kept_by: int


@dataclass(frozen=True, slots=True)
class KnownName:
    """What a name meant when it was last looked up.

    Attributes:
        name: `k51…`, or a domain.
        path: As it said: `/ipfs/…` or `/ipns/…`.
        ttl_s: How long that counts, from `seen_at` on.
        record: The signed record; None for a domain.
    """

    name: str
    path: str
    ttl_s: float
    record: bytes | None
    seen_at: float


class NameTables:
    """The part of the catalog that keeps names."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def publications(self) -> list[Publication]:
        """Return all names of ours, also those that are published no more, by key."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT {_PUBLICATION} FROM publications ORDER BY key_name"
            ).fetchall()
        return [_publication(row) for row in rows]

    def publication(self, key_name: str) -> Publication | None:
        """Return what is known of one of them."""
        with self._database.read() as connection:
            row = connection.execute(
                f"SELECT {_PUBLICATION} FROM publications WHERE key_name = ?", (key_name,)
            ).fetchone()
        return _publication(row) if row is not None else None

    def put_publication(self, publication: Publication) -> None:
        """Keep a name of ours; on disk when this returns, so that no sequence is used twice."""
        with self._database.write(durable=True) as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO publications ({_PUBLICATION})"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    publication.key_name,
                    publication.name,
                    publication.target,
                    publication.record,
                    publication.lifetime_s,
                    publication.is_active,
                    publication.changed_at,
                    publication.published_at,
                    publication.kept_by,
                ),
            )

    def mark_published(self, key_name: str, at: float, kept_by: int) -> None:
        """Note when the network was told, and how many peers keep it."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE publications SET published_at = ?, kept_by = ? WHERE key_name = ?",
                (at, kept_by, key_name),
            )

    def stop_publication(self, key_name: str) -> bool:
        """Publish a name no more; return whether it was."""
        with self._database.write() as connection:
            changed = connection.execute(
                "UPDATE publications SET is_active = 0 WHERE key_name = ? AND is_active",
                (key_name,),
            )
            return changed.rowcount > 0

    def known_name(self, name: str) -> KnownName | None:
        """Return what a name of somebody meant when it was last looked up."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT name, path, ttl_s, record, seen_at FROM known_names WHERE name = ?", (name,)
            ).fetchone()
        return KnownName(*row) if row is not None else None

    def put_known_name(self, known: KnownName) -> None:
        """Remember what a name means, and forget those seen long ago."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO known_names (name, path, ttl_s, record, seen_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (known.name, known.path, known.ttl_s, known.record, known.seen_at),
            )
            connection.execute(
                """DELETE FROM known_names WHERE name IN (
                    SELECT name FROM known_names ORDER BY seen_at DESC LIMIT -1 OFFSET ?)""",
                (KEPT_NAMES,),
            )


def _publication(row: Sequence[Any]) -> Publication:
    key_name, name, target, record, lifetime_s, is_active, changed_at, published_at, kept_by = row
    return Publication(
        key_name,
        name,
        target,
        record,
        lifetime_s,
        bool(is_active),
        changed_at,
        published_at,
        kept_by,
    )

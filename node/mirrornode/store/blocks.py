"""Small blocks kept whole: inner nodes, directories and symlinks, keyed by multihash."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mirrornode.store.statements import batches

if TYPE_CHECKING:
    import sqlite3

    from mirrornode.content.block import Block
    from mirrornode.store.database import Database


def insert_blocks(connection: sqlite3.Connection, blocks: Iterable[Block]) -> None:
    """Keep blocks inside the caller's transaction; identity blocks are their CIDs, not kept."""
    connection.executemany(
        "INSERT OR IGNORE INTO blocks (multihash, bytes) VALUES (?, ?)",
        ((b.cid.multihash, b.data) for b in blocks if not b.cid.is_identity),
    )


class BlockTable:
    """The part of the catalog that keeps small blocks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put_blocks(self, blocks: Iterable[Block]) -> None:
        """Keep verified blocks, all or none; those already kept are left as they are."""
        with self._database.write() as connection:
            insert_blocks(connection, blocks)

    def get_block(self, multihash: bytes) -> bytes | None:
        """Return the bytes of a kept block."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT bytes FROM blocks WHERE multihash = ?", (multihash,)
            ).fetchone()
        return None if row is None else bytes(row[0])

    def get_blocks(self, multihashes: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the bytes of those blocks that are kept, by multihash."""
        found: dict[bytes, bytes] = {}
        with self._database.read() as connection:
            for batch, marks in batches(multihashes):
                found.update(
                    connection.execute(
                        f"SELECT multihash, bytes FROM blocks WHERE multihash IN ({marks})", batch
                    ).fetchall()
                )
        return found

    def kept_sizes(self, multihashes: Sequence[bytes]) -> dict[bytes, int]:
        """Return how many bytes those blocks have that are kept, by multihash."""
        found: dict[bytes, int] = {}
        with self._database.read() as connection:
            for batch, marks in batches(multihashes):
                found.update(
                    connection.execute(
                        f"SELECT multihash, length(bytes) FROM blocks WHERE multihash IN ({marks})",
                        batch,
                    ).fetchall()
                )
        return found

    def has_blocks(self, multihashes: Sequence[bytes]) -> set[bytes]:
        """Return which of the blocks are kept."""
        found: set[bytes] = set()
        with self._database.read() as connection:
            for batch, marks in batches(multihashes):
                rows = connection.execute(
                    f"SELECT multihash FROM blocks WHERE multihash IN ({marks})", batch
                ).fetchall()
                found.update(row[0] for row in rows)
        return found

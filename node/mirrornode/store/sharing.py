"""What is shared in place at and below a path, and forgetting it; nothing on disk is touched."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.store.announcements import withdraw
from mirrornode.store.files import forget_file
from mirrornode.store.keeping import drop_empty_roots, roots_over

if TYPE_CHECKING:
    import sqlite3

    from mirrornode.store.database import Database

_BELOW = "(path = :place OR (path > :first AND path < :end))"


@dataclass(frozen=True, slots=True)
class SharedBelow:
    """What the catalog has at and below one path.

    Attributes:
        managed: How many files of them the node made for itself.
        pinned: The target of a pin of the user's on a root among them, "" when there is none.
    """

    files: int
    size_bytes: int
    roots: int
    managed: int
    pinned: str


class SharingTable:
    """The part of the catalog that knows what the user shares in place."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def paths_of_root(self, multihash: bytes) -> list[Path]:
        """Return the paths that a root, or a file by its root, is shared from."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT path FROM roots WHERE multihash = :key"
                " UNION SELECT path FROM files WHERE multihash = :key ORDER BY path",
                {"key": multihash},
            ).fetchall()
        return [Path(os.fsdecode(row[0])) for row in rows]

    def shared_below(self, place: Path) -> SharedBelow:
        """Return what is recorded at and below a path, in whatever state it is."""
        with self._database.read() as connection:
            files = _files_below(connection, place)
            roots = _roots_below(connection, place)
            pinned = connection.execute(
                f"""SELECT pins.target FROM pins JOIN roots ON roots.multihash = pins.multihash
                    WHERE pins.owner = '' AND {_BELOW.replace("path", "roots.path")} LIMIT 1""",
                _range_of(place),
            ).fetchone()
        return SharedBelow(
            len(files),
            sum(size for _, size, _ in files),
            len(roots),
            sum(managed for _, _, managed in files),
            pinned[0] if pinned else "",
        )

    def forget_shared(self, places: Sequence[Path]) -> set[bytes]:
        """Neither serve nor announce what lies at and below paths any more, all or none.

        Folders above that hold some of it are no longer whole. Files that the node made for itself
        stay as they are.

        Returns:
            The multihashes of the trees and roots that went.
        """
        gone: set[bytes] = set()
        with self._database.write(durable=True) as connection:
            for place in places:
                keys = [key for key, _, managed in _files_below(connection, place) if not managed]
                over = roots_over(connection, keys)
                for number, multihash in _roots_below(connection, place):
                    connection.execute("DELETE FROM roots WHERE id = ?", (number,))
                    over.discard(number)
                    gone.add(multihash)
                for key in keys:
                    gone.update(
                        row[0]
                        for row in connection.execute(
                            "SELECT multihash FROM files WHERE path = ?", (key,)
                        )
                    )
                    forget_file(connection, Path(os.fsdecode(key)))
                    connection.execute("DELETE FROM hub_blobs WHERE path = ?", (key,))
                gone |= drop_empty_roots(connection, over)
            withdraw(connection, gone)
        return gone


def _files_below(connection: sqlite3.Connection, place: Path) -> list[tuple[Any, ...]]:
    """Return path, size and whether the node made it, of every file at and below a path."""
    return connection.execute(
        f"""SELECT path, max(size_bytes), min(is_managed) FROM (
                SELECT path, size_bytes, is_managed FROM files WHERE {_BELOW}
                UNION ALL SELECT path, size_bytes, is_managed FROM hub_blobs WHERE {_BELOW})
            GROUP BY path""",
        _range_of(place),
    ).fetchall()


def _roots_below(connection: sqlite3.Connection, place: Path) -> list[tuple[int, bytes]]:
    return connection.execute(
        f"SELECT id, multihash FROM roots WHERE {_BELOW}", _range_of(place)
    ).fetchall()


def _range_of(place: Path) -> dict[str, bytes]:
    """Return `_BELOW`'s range of an index: "PATH/..." lies before "PATH0", the next character."""
    key = os.fsencode(place).removesuffix(b"/")
    return {"place": os.fsencode(place), "first": key + b"/", "end": key + b"0"}

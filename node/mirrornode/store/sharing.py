"""What is shared in place at a path or under a CID, and forgetting it; nothing on disk is touched.

A file that the node made for itself is not shared in place: it stays, and the roots that hold it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.store.announcements import sha256_multihash, withdraw
from mirrornode.store.keeping import (
    PINNED_HUB_FILES,
    drop_empty_roots,
    empty_roots,
    roots_over,
)
from mirrornode.store.statements import batches

if TYPE_CHECKING:
    import sqlite3

    from mirrornode.store.database import Database

_TABLES = ("files", "hub_blobs", "hub_proofs", "uses")  # what is known of a path


@dataclass(frozen=True, slots=True)
class Shared:
    """What is shared in place, in whatever state, and what else hangs on it.

    Attributes:
        places: Where what was asked for by a CID is shared from; of paths, none.
        keys: Every file, by the bytes of its path.
        roots: How many roots hold one of the files, or hold none and lie here.
        managed: How many files there the node made for itself; not among `keys`.
        pinned: Target of a pin of the user's that holds some of it, "" when there is none.
    """

    places: tuple[Path, ...]
    keys: frozenset[bytes]
    size_bytes: int
    roots: int
    managed: int
    pinned: str


@dataclass(frozen=True, slots=True)
class _Found:
    sizes: dict[bytes, tuple[int, bool]]  # by path: its size, and whether the node made it
    roots: set[int]
    places: list[bytes]

    @property
    def keys(self) -> list[bytes]:
        return [key for key, (_, is_managed) in self.sizes.items() if not is_managed]


@dataclass(frozen=True, slots=True)
class _Names:
    """What files and the roots over them go by."""

    trees: set[bytes]
    contents: set[bytes]  # SHA-256
    etags: set[bytes]

    @property
    def multihashes(self) -> set[bytes]:
        return self.trees | {sha256_multihash(digest) for digest in self.contents}


class SharingTable:
    """The part of the catalog that knows what the user shares in place."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def root_paths(self) -> list[Path]:
        """Return where everything that was added or fetched was named, each path once."""
        with self._database.read() as connection:
            rows = connection.execute("SELECT DISTINCT path FROM roots").fetchall()
        return [Path(os.fsdecode(row[0])) for row in rows]

    def forget_shared(
        self, target: bytes | Sequence[Path], check: Callable[[Shared], None]
    ) -> tuple[Shared, set[bytes]]:
        """Neither serve nor announce files any more; roots that have lost their last go with them.

        Args:
            target: Paths, with all below them; or the multihash of a root or file.
            check: Raises when it must not be; nothing has changed then.

        Returns:
            What it was, and the multihashes of the trees that went.
        """
        with self._database.write(durable=True) as connection:
            if isinstance(target, bytes):
                found = _found_by_name(connection, target)
            else:
                found = _found_below(connection, target)
            keys = found.keys
            roots = roots_over(connection, keys) | empty_roots(connection, found.roots).keys()
            names = _names_of(connection, keys, roots)
            shared = Shared(
                places=tuple(Path(os.fsdecode(place)) for place in found.places),
                keys=frozenset(keys),
                size_bytes=sum(found.sizes[key][0] for key in keys),
                roots=len(roots),
                managed=len(found.sizes) - len(keys),
                pinned=_pin_of(connection, names),
            )
            check(shared)
            for table in _TABLES:
                for batch, marks in batches(keys):
                    connection.execute(f"DELETE FROM {table} WHERE path IN ({marks})", batch)
            drop_empty_roots(connection, roots)
            withdraw(connection, names.multihashes)
        return shared, names.trees


def _found_below(connection: sqlite3.Connection, places: Iterable[Path]) -> _Found:
    found = _Found({}, set(), [])
    for place in places:
        key = os.fsencode(place).removesuffix(b"/")
        # A range of the index: "PATH/..." lies before "PATH0", the character after the slash.
        range_ = {"place": os.fsencode(place), "first": key + b"/", "end": key + b"0"}
        below = "path = :place OR (path > :first AND path < :end)"
        for table in ("files", "hub_blobs"):
            _add_sizes(
                found,
                connection.execute(
                    f"SELECT path, size_bytes, is_managed FROM {table} WHERE {below}", range_
                ),
            )
        found.roots.update(
            row[0] for row in connection.execute(f"SELECT id FROM roots WHERE {below}", range_)
        )
    return found


def _found_by_name(connection: sqlite3.Connection, multihash: bytes) -> _Found:
    found = _Found({}, set(), [])
    paths: list[bytes] = []
    for number, place in connection.execute(
        "SELECT id, path FROM roots WHERE multihash = ? ORDER BY path", (multihash,)
    ).fetchall():
        found.roots.add(number)
        found.places.append(place)
        rows = connection.execute("SELECT path FROM root_files WHERE root = ?", (number,))
        paths += (row[0] for row in rows)
    rows = connection.execute("SELECT path FROM files WHERE multihash = ?", (multihash,))
    alone = {row[0] for row in rows}.difference(paths)
    found.places.extend(sorted(alone))
    for batch, marks in batches([*paths, *alone]):
        for table in ("files", "hub_blobs"):
            _add_sizes(
                found,
                connection.execute(
                    f"SELECT path, size_bytes, is_managed FROM {table} WHERE path IN ({marks})",
                    batch,
                ),
            )
    return found


def _add_sizes(found: _Found, rows: Iterable[tuple[bytes, int, int]]) -> None:
    """Take up files; one record of a user's makes a path the user's."""
    for path, size_bytes, is_managed in rows:
        largest, all_managed = found.sizes.get(path, (0, True))
        found.sizes[path] = max(largest, size_bytes), all_managed and bool(is_managed)


def _names_of(
    connection: sqlite3.Connection, keys: Sequence[bytes], roots: Iterable[int]
) -> _Names:
    names = _Names(set(), set(), set())
    for batch, marks in batches(keys):
        for multihash, sha256, git_sha1 in connection.execute(
            f"SELECT multihash, sha256, git_sha1 FROM files WHERE path IN ({marks})", batch
        ):
            names.trees.add(multihash)
            names.contents.update(filter(None, (sha256,)))
            names.etags.update(filter(None, (sha256, git_sha1)))
        names.etags.update(
            row[0]
            for row in connection.execute(
                f"SELECT etag FROM hub_blobs WHERE path IN ({marks})", batch
            )
        )
    for numbers, marks in batches(roots):
        rows = connection.execute(f"SELECT multihash FROM roots WHERE id IN ({marks})", numbers)
        names.trees.update(row[0] for row in rows)
    return names


def _pin_of(connection: sqlite3.Connection, names: _Names) -> str:
    """Return the target of a pin of the user's that goes by one of these names, "" for none."""
    pins = connection.execute("SELECT multihash, target FROM pins WHERE owner = ''").fetchall()
    multihashes = names.multihashes
    for multihash, target in pins:
        if multihash in multihashes:
            return str(target)
    if names.etags:
        for target, etag in connection.execute(
            f"SELECT pins.target, hub_files.etag FROM {PINNED_HUB_FILES} AND pins.owner = ''"
        ):
            if etag in names.etags:
                return str(target)
    return ""

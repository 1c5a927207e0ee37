"""How mirrors did before: one row for each use of a mirror, the newest few kept.

What a row says is for `mirror.mirror_score` to judge. A mirror is named by its key, which holds no
password and no query.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from mirrornode.store.records import MirrorUse

if TYPE_CHECKING:
    from mirrornode.store.database import Database

KEPT_USES: Final = 50  # of one mirror
KEPT_MIRRORS: Final = 500  # whoever was used last stays
_COLUMNS = "mirror, at, size_bytes, seconds, first_byte_s, outcome"


class MirrorTable:
    """The part of the catalog that remembers how mirrors did."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note_mirror_uses(self, uses: Iterable[MirrorUse]) -> None:
        """Add uses, and forget what is old."""
        with self._database.write() as connection:
            for use in uses:
                connection.execute(
                    f"INSERT INTO mirror_uses ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        use.mirror,
                        use.at,
                        use.size_bytes,
                        use.seconds,
                        use.first_byte_s,
                        use.outcome,
                    ),
                )
                connection.execute(
                    """DELETE FROM mirror_uses WHERE mirror = ? AND id <= (
                        SELECT id FROM mirror_uses WHERE mirror = ?
                        ORDER BY id DESC LIMIT 1 OFFSET ?)""",
                    (use.mirror, use.mirror, KEPT_USES),
                )
            connection.execute(
                """DELETE FROM mirror_uses WHERE mirror IN (
                    SELECT mirror FROM mirror_uses GROUP BY mirror
                    ORDER BY max(id) DESC LIMIT -1 OFFSET ?)""",
                (KEPT_MIRRORS,),
            )

    def mirror_uses(self, mirrors: Iterable[str]) -> dict[str, list[MirrorUse]]:
        """Return what is known of each of `mirrors`, the newest use first."""
        with self._database.read() as connection:
            return {
                mirror: [
                    MirrorUse(*row)
                    for row in connection.execute(
                        f"SELECT {_COLUMNS} FROM mirror_uses WHERE mirror = ? ORDER BY id DESC",
                        (mirror,),
                    )
                ]
                for mirror in mirrors
            }

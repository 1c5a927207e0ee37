"""Unfinished downloads: which leaves of a part file are verified and on disk.

The caller syncs the part file first and saves the bits after; saving is durable. So a claim never
runs ahead of the bytes it speaks of, whatever moment the power goes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.content.cid import Cid
from mirrornode.store.records import TransferRecord

if TYPE_CHECKING:
    from mirrornode.store.database import Database

_COLUMNS = "id, root, out, part, part_inode, part_mtime_ns, leaf_bits, updated_at"


class TransferTable:
    """The part of the catalog that remembers unfinished downloads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open_transfer(self, root: Cid, out: Path) -> TransferRecord | None:
        """Return what was saved for the download of `root` to `out`."""
        with self._database.read() as connection:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM transfers WHERE root = ? AND out = ?",
                (root.binary, os.fsencode(out)),
            ).fetchone()
        return None if row is None else _transfer(row)

    def save_transfer(
        self,
        root: Cid,
        out: Path,
        part: Path,
        part_inode: int,
        part_mtime_ns: int,
        leaf_bits: bytes,
    ) -> None:
        """Replace what was saved; on disk when this returns. Sync the part file before."""
        with self._database.write(durable=True) as connection:
            connection.execute(
                """INSERT INTO transfers (root, out, part, part_inode, part_mtime_ns,
                       leaf_bits, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?)
                   ON CONFLICT (root, out) DO UPDATE SET part = excluded.part,
                       part_inode = excluded.part_inode,
                       part_mtime_ns = excluded.part_mtime_ns, leaf_bits = excluded.leaf_bits,
                       updated_at = excluded.updated_at""",
                (
                    root.binary,
                    os.fsencode(out),
                    os.fsencode(part),
                    part_inode,
                    part_mtime_ns,
                    leaf_bits,
                    time.time(),
                ),
            )

    def close_transfer(self, root: Cid, out: Path, part_inode: int | None = None) -> None:
        """Forget a download: it is finished, or its part file is gone.

        Args:
            part_inode: Only if this is its part still; None for whichever it is.
        """
        with self._database.write() as connection:
            connection.execute(
                """DELETE FROM transfers WHERE root = ? AND out = ?
                   AND part_inode = coalesce(?, part_inode)""",
                (root.binary, os.fsencode(out), part_inode),
            )

    def transfers(self) -> list[TransferRecord]:
        """Return all unfinished downloads, the last saved first."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM transfers ORDER BY updated_at DESC, id"
            ).fetchall()
        return [_transfer(row) for row in rows]


def _transfer(row: tuple[Any, ...]) -> TransferRecord:
    number, root, out, part, part_inode, part_mtime_ns, leaf_bits, updated_at = row
    return TransferRecord(
        id=number,
        root=Cid.from_bytes(root),
        out=Path(os.fsdecode(out)),
        part=Path(os.fsdecode(part)),
        part_inode=part_inode,
        part_mtime_ns=part_mtime_ns,
        leaf_bits=leaf_bits,
        updated_at=updated_at,
    )

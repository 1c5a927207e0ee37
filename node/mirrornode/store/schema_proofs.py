"""The catalog's table of when a file of the Hub was last known to be right, by its change time.

Nobody can set the change time (ctime) of a file, as one can its other times: while it stays, so do
the bytes. It moves for harmless reasons, too, such as another hard link; then the file is read.
"""

from __future__ import annotations

PROOF_TABLES: tuple[str, ...] = (
    """CREATE TABLE hub_proofs (
        path     BLOB    NOT NULL PRIMARY KEY,
        etag     BLOB    NOT NULL,
        inode    INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL
    )""",
)

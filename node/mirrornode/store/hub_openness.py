"""Files of the Hub that may no longer be shared, because no open repo vouches for them any more.

A file of an open repo is an ordinary shared file besides being a blob of the Hub. When the repo is
gated or made private, the blob stays for those with a grant, and everything that a peer could see
of it goes: the row of the shared file, its leaves, its inner nodes, its announcements. That holds
for a path that the user added, too; who means to share it all the same adds it again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.content.dagpb import decode_node
from mirrornode.errors import ContentError
from mirrornode.store.files import forget_file
from mirrornode.store.hub_records import PEER_PREFIX
from mirrornode.store.statements import batches

if TYPE_CHECKING:
    import sqlite3

MAX_TREE_DEPTH = 32  # a balanced tree of 2^53 bytes has 7 levels, a trickle tree some twenty

_UNVOUCHED = f"""
    SELECT b.path FROM hub_blobs b
    WHERE b.is_open AND b.etag IN (
        SELECT f.etag FROM hub_files f JOIN hub_revisions v ON v.id = f.revision
        WHERE v.repo = :repo OR v.repo IN (
            SELECT other.repo FROM hub_repos this
            JOIN hub_repos other ON other.canonical = this.canonical WHERE this.repo = :repo))
    AND NOT EXISTS (
        SELECT 1 FROM hub_files f JOIN hub_revisions v ON v.id = f.revision
        JOIN hub_repos p ON p.repo = v.repo
        WHERE f.etag = b.etag AND NOT p.is_private AND p.gated = ''
            AND v.tree_vouched_by NOT LIKE '{PEER_PREFIX}%')"""


def close_blobs(connection: sqlite3.Connection, repo: str) -> list[Path]:
    """Close the open blobs of a repo that no open repo holds, inside the caller's transaction.

    Args:
        repo: The `repo_key` of the repo.

    Returns:
        The paths that are not shared any more.
    """
    closed = [row[0] for row in connection.execute(_UNVOUCHED, {"repo": repo}).fetchall()]
    for key in closed:
        connection.execute("UPDATE hub_blobs SET is_open = 0 WHERE path = ?", (key,))
        trees = connection.execute("SELECT multihash FROM files WHERE path = ?", (key,)).fetchall()
        forget_file(connection, Path(os.fsdecode(key)))
        for (multihash,) in trees:
            _drop_nodes(connection, [multihash], MAX_TREE_DEPTH)
    return [Path(os.fsdecode(key)) for key in closed]


def _drop_nodes(connection: sqlite3.Connection, multihashes: list[bytes], depth: int) -> bool:
    """Drop those inner nodes of which no shared file has everything below.

    Returns:
        True when shared files have all that these nodes and leaves stand for.
    """
    kept: dict[bytes, bytes] = {}
    shared: set[bytes] = set()
    for batch, marks in batches(dict.fromkeys(multihashes)):
        kept.update(
            connection.execute(
                f"SELECT multihash, bytes FROM blocks WHERE multihash IN ({marks})", batch
            ).fetchall()
        )
        for table in ("leaves", "files"):
            rows = connection.execute(
                f"SELECT DISTINCT multihash FROM {table} WHERE multihash IN ({marks})", batch
            ).fetchall()
            shared.update(row[0] for row in rows)
    for multihash in kept.keys() - shared:
        try:
            below = [link.cid.multihash for link in decode_node(kept[multihash]).links]
        except ContentError:
            below = []  # not a file's node: without it nothing leads further
        if depth and below and _drop_nodes(connection, below, depth - 1):
            shared.add(multihash)
        else:
            connection.execute("DELETE FROM blocks WHERE multihash = ?", (multihash,))
    return shared.issuperset(multihashes)

"""What the Hub calls things: repos and who may see them, refs, revisions, trees.

A commit never changes its meaning, so what an origin said of one is kept for good; a ref is kept
with the time it was looked at. Who may be told is decided in `mirror.hub`, not here.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mirrornode.store.hub_openness import close_blobs
from mirrornode.store.hub_records import (
    PEER_PREFIX,
    HubListing,
    HubRef,
    HubRevision,
    HubSight,
    repo_key,
    repo_of_key,
)
from mirrornode.wire.hub import HubFile, Repo

if TYPE_CHECKING:
    from mirrornode.store.database import Database

MAX_PREFIX_MATCHES = 2  # enough to tell a short hash that is ambiguous

_FROM_PEER = f"LIKE '{PEER_PREFIX}%'"
_NOT_FROM_PEER = f"NOT {_FROM_PEER}"


class HubNameTable:
    """The part of the catalog that knows repos, refs, revisions and trees."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hub_sight(self, repo: Repo) -> HubSight | None:
        """Return who may see a repo, by any name it was asked by; None when no origin told."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT canonical, is_private, gated, checked_at FROM hub_repos WHERE repo = ?",
                (repo_key(repo),),
            ).fetchone()
        if row is None:
            return None
        return HubSight(repo_of_key(row[0]), bool(row[1]), row[2], row[3])

    def hub_former_names(self, repo: Repo) -> list[Repo]:
        """Return the other names under which something is known of a repo called `repo` today."""
        key = repo_key(repo)
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT repo FROM hub_repos WHERE canonical = ? AND repo != ?"
                " ORDER BY checked_at DESC",
                (key, key),
            ).fetchall()
        return [repo_of_key(row[0]) for row in rows]

    def put_hub_sight(
        self, repo: Repo, *, canonical: Repo, is_private: bool, gated: str, checked_at: float
    ) -> int:
        """Note who may see a repo, unless something newer is known; other names of it follow.

        Where the repo is not open, files that no open repo vouches for any more are closed in the
        same transaction.

        Returns:
            How many files were closed.
        """
        with self._database.write() as connection:
            connection.execute(
                """INSERT INTO hub_repos (repo, canonical, is_private, gated, checked_at)
                       VALUES (?, ?, ?, ?, ?)
                   ON CONFLICT (repo) DO UPDATE SET canonical = excluded.canonical,
                       is_private = excluded.is_private, gated = excluded.gated,
                       checked_at = excluded.checked_at
                   WHERE excluded.checked_at >= checked_at""",
                (repo_key(repo), repo_key(canonical), is_private, gated, checked_at),
            )
            connection.execute(
                "UPDATE hub_repos SET is_private = ?, gated = ?"
                " WHERE canonical = ? AND checked_at <= ?",
                (is_private, gated, repo_key(canonical), checked_at),
            )
            if not is_private and not gated:
                return 0
            if is_private:
                connection.execute(
                    "DELETE FROM hub_answers WHERE repo IN (?, ?)",
                    (repo_key(repo), repo_key(canonical)),
                )
            return len(close_blobs(connection, repo_key(repo)))

    def reconsider_openness(self, repo: Repo) -> int:
        """Close the files of a repo that no open repo vouches for; see `store.hub_openness`.

        Returns:
            How many files were closed.
        """
        with self._database.write() as connection:
            return len(close_blobs(connection, repo_key(repo)))

    def hub_ref(self, repo: Repo, ref: str) -> HubRef | None:
        """Return what a ref pointed to when it was last looked at."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT commit_id, seen_at, vouched_by FROM hub_refs WHERE repo = ? AND ref = ?",
                (repo_key(repo), ref),
            ).fetchone()
        return None if row is None else HubRef(row[0].hex(), row[1], row[2])

    def hub_refs(self, repo: Repo) -> dict[str, HubRef]:
        """Return all refs of a repo that were ever asked for, by name."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT ref, commit_id, seen_at, vouched_by FROM hub_refs WHERE repo = ?"
                " ORDER BY ref",
                (repo_key(repo),),
            ).fetchall()
        return {ref: HubRef(commit.hex(), *rest) for ref, commit, *rest in rows}

    def put_hub_ref(
        self, repo: Repo, ref: str, commit: str, vouched_by: str, *, seen_at: float | None = None
    ) -> None:
        """Note what a ref points to, unless a newer look is known.

        Args:
            seen_at: When the question was asked, now when None: of two answers that crossed, the
                one asked for last stays.
        """
        seen_at = time.time() if seen_at is None else seen_at
        with self._database.write() as connection:
            connection.execute(
                """INSERT INTO hub_refs (repo, ref, commit_id, seen_at, vouched_by)
                       VALUES (?, ?, ?, ?, ?)
                   ON CONFLICT (repo, ref) DO UPDATE SET commit_id = excluded.commit_id,
                       seen_at = excluded.seen_at, vouched_by = excluded.vouched_by
                   WHERE excluded.seen_at >= seen_at""",
                (repo_key(repo), ref, bytes.fromhex(commit), seen_at, vouched_by),
            )

    def drop_hub_ref(self, repo: Repo, ref: str, seen_at: float) -> None:
        """Forget a ref that the origin no longer knows, unless a newer look is known."""
        with self._database.write() as connection:
            connection.execute(
                "DELETE FROM hub_refs WHERE repo = ? AND ref = ? AND seen_at <= ?",
                (repo_key(repo), ref, seen_at),
            )

    def hub_revision(
        self, repo: Repo, commit: str, *, with_files: bool = True
    ) -> HubRevision | None:
        """Return what is known of a commit.

        Args:
            with_files: False leaves `files` None even when they are known: the files of a large
                tree take 0.1 s to read.
        """
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT id, info, vouched_by, recorded_at, has_tree, tree_vouched_by"
                " FROM hub_revisions WHERE repo = ? AND commit_id = ?",
                (repo_key(repo), bytes.fromhex(commit)),
            ).fetchone()
            if row is None:
                return None
            number, info, vouched_by, recorded_at, has_tree, tree_vouched_by = row
            rows = None
            if has_tree and with_files:
                rows = connection.execute(
                    "SELECT path, size_bytes, etag, git_oid FROM hub_files WHERE revision = ?"
                    " ORDER BY path",
                    (number,),
                ).fetchall()
        files = None if rows is None else tuple(_file(*columns) for columns in rows)
        return HubRevision(
            repo, commit, unpack_json(info), files, vouched_by, recorded_at, tree_vouched_by
        )

    def hub_commits_starting(self, repo: Repo, prefix: str) -> list[str]:
        """Return at most two known commits of a repo that start with a short hash."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT lower(hex(commit_id)) AS name FROM hub_revisions"
                " WHERE repo = ? AND name LIKE ? LIMIT ?",
                (repo_key(repo), f"{prefix}%", MAX_PREFIX_MATCHES),
            ).fetchall()
        return [row[0] for row in rows]

    def hub_revisions(self) -> list[HubListing]:
        """Return all commits that are known of, by repo and the last recorded first."""
        with self._database.read() as connection:
            rows = connection.execute(
                """SELECT v.repo, v.commit_id, v.info, v.vouched_by, v.recorded_at, v.has_tree,
                       count(f.path), coalesce(sum(f.size_bytes), 0),
                       count(b.etag), coalesce(sum(iif(b.etag IS NULL, 0, f.size_bytes)), 0),
                       p.canonical, p.is_private, p.gated, p.checked_at,
                       (SELECT group_concat(r.ref, char(10)) FROM hub_refs r
                        WHERE r.repo = v.repo AND r.commit_id = v.commit_id)
                   FROM hub_revisions v LEFT JOIN hub_files f ON f.revision = v.id
                   LEFT JOIN (SELECT DISTINCT etag FROM hub_blobs) b ON b.etag = f.etag
                   LEFT JOIN hub_repos p ON p.repo = v.repo
                   GROUP BY v.id ORDER BY v.repo, v.recorded_at DESC, v.id DESC"""
            ).fetchall()
        return [_listing(row) for row in rows]

    def put_hub_revision(
        self,
        repo: Repo,
        commit: str,
        info: Mapping[str, Any],
        vouched_by: str,
        *,
        recorded_at: float | None = None,
    ) -> None:
        """Keep the info of a commit; a peer's never replaces an origin's, nor an older a newer.

        Args:
            recorded_at: When the question was asked; now when None.
        """
        recorded_at = time.time() if recorded_at is None else recorded_at
        with self._database.write() as connection:
            connection.execute(
                f"""INSERT INTO hub_revisions (repo, commit_id, info, vouched_by, recorded_at)
                        VALUES (?, ?, ?, ?, ?)
                    ON CONFLICT (repo, commit_id) DO UPDATE SET info = excluded.info,
                        vouched_by = excluded.vouched_by, recorded_at = excluded.recorded_at
                    WHERE (excluded.vouched_by {_NOT_FROM_PEER} OR vouched_by {_FROM_PEER})
                        AND (excluded.recorded_at >= recorded_at OR vouched_by {_FROM_PEER})""",
                (repo_key(repo), bytes.fromhex(commit), pack_json(info), vouched_by, recorded_at),
            )

    def put_hub_tree(
        self, repo: Repo, commit: str, files: Sequence[HubFile], vouched_by: str
    ) -> bool:
        """Keep the whole tree of a commit that `put_hub_revision` made known.

        Returns:
            False when nothing was kept: an origin's tree is there, or the commit is not known.
        """
        with self._database.write() as connection:
            row = connection.execute(
                "SELECT id, has_tree, tree_vouched_by FROM hub_revisions"
                " WHERE repo = ? AND commit_id = ?",
                (repo_key(repo), bytes.fromhex(commit)),
            ).fetchone()
            if row is None:
                return False
            number, has_tree, tree_vouched_by = row
            if has_tree and not (
                tree_vouched_by.startswith(PEER_PREFIX) and not vouched_by.startswith(PEER_PREFIX)
            ):
                return False
            connection.execute("DELETE FROM hub_files WHERE revision = ?", (number,))
            connection.executemany(
                "INSERT INTO hub_files (revision, path, size_bytes, etag, git_oid)"
                " VALUES (?, ?, ?, ?, ?)",
                _file_rows(number, files),
            )
            connection.execute(
                "UPDATE hub_revisions SET has_tree = 1, tree_vouched_by = ? WHERE id = ?",
                (vouched_by, number),
            )
        return True

    def is_vouched_open(self, etag: str) -> bool:
        """Tell whether an open repo, by an origin's word, holds the content of that name."""
        with self._database.read() as connection:
            row = connection.execute(
                f"""SELECT 1 FROM hub_files f JOIN hub_revisions v ON v.id = f.revision
                    JOIN hub_repos p ON p.repo = v.repo
                    WHERE f.etag = ? AND NOT p.is_private AND p.gated = ''
                        AND v.tree_vouched_by {_NOT_FROM_PEER} LIMIT 1""",
                (bytes.fromhex(etag),),
            ).fetchone()
        return row is not None


def pack_json(value: object) -> bytes:
    """Return a JSON value as it is kept."""
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 1)


def unpack_json(packed: bytes) -> Any:
    """Return what `pack_json` was given."""
    return json.loads(zlib.decompress(packed))


def _file_rows(
    number: int, files: Iterable[HubFile]
) -> Iterator[tuple[int, str, int, bytes, bytes | None]]:
    for file in sorted(files, key=lambda file: file.path):  # rows are clustered by path
        oid = bytes.fromhex(file.git_oid)
        if file.sha256:
            yield number, file.path, file.size_bytes, bytes.fromhex(file.sha256), oid
        else:
            yield number, file.path, file.size_bytes, oid, None


def _file(path: str, size_bytes: int, etag: bytes, git_oid: bytes | None) -> HubFile:
    if git_oid is None:
        return HubFile(path, size_bytes, etag.hex())
    return HubFile(path, size_bytes, git_oid.hex(), etag.hex())


def _listing(row: Sequence[Any]) -> HubListing:
    key, commit, info, vouched_by, recorded_at, has_tree, *sums = row[:10]
    canonical, is_private, gated, checked_at, refs = row[10:]
    sight = None
    if canonical is not None:
        sight = HubSight(repo_of_key(canonical), bool(is_private), gated, checked_at)
    numbers = sums if has_tree else [None] * 4
    return HubListing(
        repo_of_key(key),
        commit.hex(),
        tuple(sorted(refs.split("\n"))) if refs else (),
        unpack_json(info),
        sight,
        vouched_by,
        recorded_at,
        *numbers,
    )

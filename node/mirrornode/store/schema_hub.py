"""The catalog's tables of Hub names: repos, refs, revisions, trees, blobs, grants, kept answers.

A repo is kept under "TYPE:NAME"; hashes are binary. Tokens are never kept, only their SHA-256.
"""

from __future__ import annotations

HUB_TABLES: tuple[str, ...] = (
    # Who may see a repo now, whatever the commit. `canonical` is what the origin calls it today.
    """CREATE TABLE hub_repos (
        repo       TEXT    NOT NULL PRIMARY KEY,
        canonical  TEXT    NOT NULL,
        is_private INTEGER NOT NULL,
        gated      TEXT    NOT NULL,
        checked_at REAL    NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX hub_repos_by_canonical ON hub_repos (canonical)",
    """CREATE TABLE hub_refs (
        repo       TEXT    NOT NULL,
        ref        TEXT    NOT NULL,
        commit_id  BLOB    NOT NULL,
        seen_at    REAL    NOT NULL,
        vouched_by TEXT    NOT NULL,
        PRIMARY KEY (repo, ref)
    ) WITHOUT ROWID""",
    # `info` is compressed JSON; `has_tree` tells an empty tree from one that is not known.
    """CREATE TABLE hub_revisions (
        id          INTEGER PRIMARY KEY,
        repo        TEXT    NOT NULL,
        commit_id   BLOB    NOT NULL,
        info        BLOB    NOT NULL,
        vouched_by  TEXT    NOT NULL,
        recorded_at REAL    NOT NULL,
        has_tree    INTEGER NOT NULL DEFAULT 0,
        tree_vouched_by TEXT NOT NULL DEFAULT '',
        UNIQUE (repo, commit_id)
    )""",
    # `etag` is the SHA-256 of an LFS file, else the git oid, which is then not kept twice.
    """CREATE TABLE hub_files (
        revision   INTEGER NOT NULL REFERENCES hub_revisions (id) ON DELETE CASCADE,
        path       TEXT    NOT NULL,
        size_bytes INTEGER NOT NULL,
        etag       BLOB    NOT NULL,
        git_oid    BLOB,
        PRIMARY KEY (revision, path)
    ) WITHOUT ROWID""",
    "CREATE INDEX hub_files_by_etag ON hub_files (etag)",
    """CREATE TABLE hub_blobs (
        path       BLOB    NOT NULL PRIMARY KEY,
        etag       BLOB    NOT NULL,
        size_bytes INTEGER NOT NULL,
        mtime_ns   INTEGER NOT NULL,
        inode      INTEGER NOT NULL,
        is_open    INTEGER NOT NULL,
        is_managed INTEGER NOT NULL
    )""",
    "CREATE INDEX hub_blobs_by_etag ON hub_blobs (etag)",
    """CREATE TABLE hub_poisoned (
        etag BLOB NOT NULL PRIMARY KEY,
        at   REAL NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE hub_grants (
        token_sha256 BLOB    NOT NULL,
        repo         TEXT    NOT NULL,
        is_allowed   INTEGER NOT NULL,
        checked_at   REAL    NOT NULL,
        PRIMARY KEY (token_sha256, repo)
    ) WITHOUT ROWID""",
    "CREATE INDEX hub_grants_by_age ON hub_grants (is_allowed, checked_at)",
    # Answers to anonymous-safe questions, word for word; `size_bytes` is that of the packed body.
    """CREATE TABLE hub_answers (
        target     TEXT    NOT NULL PRIMARY KEY,
        repo       TEXT    NOT NULL,
        headers    TEXT    NOT NULL,
        body       BLOB    NOT NULL,
        size_bytes INTEGER NOT NULL,
        origin_id  TEXT    NOT NULL,
        seen_at    REAL    NOT NULL
    )""",
    "CREATE INDEX hub_answers_by_repo ON hub_answers (repo)",
    "CREATE INDEX hub_answers_by_age ON hub_answers (seen_at, size_bytes)",
)

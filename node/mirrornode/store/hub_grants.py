"""Who was given access by the Hub, and what the Hub answered: both to outlive an outage.

A token is here only as its SHA-256; the SHA-256 of nothing stands for who shows none. Answers are
kept only when anybody may see them, which the caller decides.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mirrornode.store.hub_names import pack_json, unpack_json
from mirrornode.store.hub_records import Grant, KeptAnswer, repo_key

if TYPE_CHECKING:
    from mirrornode.store.database import Database
    from mirrornode.wire.hub import Repo

MAX_GRANTS = 20_000  # of each kind; made-up tokens must not fill the disk
MAX_ANSWERS_BYTES = 64 << 20
MAX_ANSWER_BYTES = 4 << 20  # packed; a commit list of a page is some 20 KB


class HubGrantTable:
    """The part of the catalog that knows grants."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put_grant(self, token_sha256: bytes, repo: Repo, is_allowed: bool, now: float) -> None:
        """Note what an origin said to a token; the oldest of more than `MAX_GRANTS` are lost."""
        with self._database.write() as connection:
            connection.execute(
                """INSERT INTO hub_grants (token_sha256, repo, is_allowed, checked_at)
                       VALUES (?, ?, ?, ?)
                   ON CONFLICT (token_sha256, repo) DO UPDATE SET
                       is_allowed = excluded.is_allowed, checked_at = excluded.checked_at""",
                (token_sha256, repo_key(repo), is_allowed, now),
            )
            connection.execute(
                """DELETE FROM hub_grants WHERE (token_sha256, repo) IN (
                       SELECT token_sha256, repo FROM hub_grants WHERE is_allowed = ?
                       ORDER BY checked_at DESC LIMIT -1 OFFSET ?)""",
                (is_allowed, MAX_GRANTS),
            )

    def grant(self, token_sha256: bytes, repo: Repo) -> Grant | None:
        """Return what an origin said last to a token about a repo."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT is_allowed, checked_at FROM hub_grants WHERE token_sha256 = ? AND repo = ?",
                (token_sha256, repo_key(repo)),
            ).fetchone()
        return None if row is None else Grant(bool(row[0]), row[1])

    def withdraw_grants(self, token_sha256: bytes, now: float) -> None:
        """Turn all grants of a token that the origin no longer knows into refusals."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE hub_grants SET is_allowed = 0, checked_at = ?"
                " WHERE token_sha256 = ? AND is_allowed",
                (now, token_sha256),
            )


class HubAnswerTable:
    """The part of the catalog that keeps answers of an origin."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put_hub_answer(self, target: str, repo: Repo, answer: KeptAnswer) -> None:
        """Keep an answer; one that is too large is not kept, the oldest make room."""
        body = pack_json(answer.json)
        with self._database.write() as connection:
            connection.execute("DELETE FROM hub_answers WHERE target = ?", (target,))
            if len(body) > MAX_ANSWER_BYTES:
                return
            connection.execute(
                """INSERT INTO hub_answers (target, repo, headers, body, size_bytes, origin_id,
                       seen_at) VALUES (?, ?, ?, ?, ?, ?, ?)""",
                (
                    target,
                    repo_key(repo),
                    json.dumps(dict(answer.headers)),
                    body,
                    len(body),
                    answer.origin_id,
                    answer.seen_at,
                ),
            )
            connection.execute(
                """DELETE FROM hub_answers WHERE rowid IN (SELECT number FROM (
                       SELECT rowid AS number,
                           sum(size_bytes) OVER (ORDER BY seen_at DESC, rowid) AS total
                       FROM hub_answers) WHERE total > ?)""",
                (MAX_ANSWERS_BYTES,),
            )

    def drop_hub_answer(self, target: str) -> None:
        """Forget an answer that the origin does not give any more."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM hub_answers WHERE target = ?", (target,))

    def hub_answer(self, target: str) -> KeptAnswer | None:
        """Return a kept answer."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT headers, body, origin_id, seen_at FROM hub_answers WHERE target = ?",
                (target,),
            ).fetchone()
        if row is None:
            return None
        return KeptAnswer(json.loads(row[0]), unpack_json(row[1]), row[2], row[3])

"""Pins: what is kept whatever the quota says, and which other nodes hold copies of it.

A pin is recursive: it holds a root and everything below it. A pin of the Hub holds the files of one
commit of a repo. The same target may be pinned under several names; it is kept until the last of
them is gone. A pin that this node made for another one carries that peer's id as its `owner`.

What runs at this moment is held by `mirror.temp_pins`, in memory: a crash forgets that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirrornode.content.cid import Cid
from mirrornode.store.hub_records import repo_key, repo_of_key
from mirrornode.wire.hub import HubTarget

if TYPE_CHECKING:
    from mirrornode.store.database import Database
    from mirrornode.wire.hub import Repo

RECURSIVE = "recursive"
HUB = "hub"

COMING, KEPT, REFUSED = "coming", "kept", "refused"  # states of a replica

_COLUMNS = (
    "id, target, name, owner, kind, cid, repo, commit_id, prefix, size_bytes, replicas, made_at"
)


@dataclass(frozen=True, slots=True)
class Pin:
    """One pin.

    Attributes:
        target: Text of the CID, or `hf:REPO@COMMIT[/PATH]`.
        owner: Peer it is kept for; "" for the user of this node.
        kind: "recursive" or "hub".
        cid: None for the Hub.
        size_bytes: What it was when it was pinned, 0 when nobody said.
        replicas: How many other nodes are to hold a copy.
        made_at: Unix seconds; of a pin made for a peer, when it asked for it last.
    """

    id: int
    target: str
    name: str
    owner: str
    kind: str
    cid: Cid | None
    repo: Repo | None
    commit: str
    path: str
    size_bytes: int
    replicas: int
    made_at: float


@dataclass(frozen=True, slots=True)
class Replica:
    """What another node said of a copy it was asked to hold.

    Attributes:
        state: "coming", "kept" or "refused".
        asked_at: When it was asked to keep it, Unix seconds.
        seen_at: When it said last that it keeps it, or is at it.
    """

    peer_id: str
    state: str
    reason: str
    asked_at: float
    seen_at: float


class PinTable:
    """The part of the catalog that knows pins."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pin(
        self,
        cid: Cid,
        name: str = "",
        kind: str = RECURSIVE,
        *,
        owner: str = "",
        size_bytes: int = 0,
        replicas: int = 0,
        now: float | None = None,
    ) -> Pin:
        """Keep a root and all below it; pinning it again under the same name sets `replicas`."""
        if kind != RECURSIVE:
            raise ValueError(f"a CID is not pinned as {kind!r}")
        return self._insert(
            str(cid),
            name,
            owner,
            {
                "kind": kind,
                "cid": cid.binary,
                "multihash": cid.multihash,
                "size_bytes": size_bytes,
                "replicas": replicas,
            },
            now,
        )

    def pin_hub(
        self,
        repo: Repo,
        commit: str,
        path: str = "",
        name: str = "",
        *,
        owner: str = "",
        size_bytes: int = 0,
        replicas: int = 0,
        now: float | None = None,
    ) -> Pin:
        """Keep the files of a commit, or those at and below `path` in it."""
        columns = {
            "kind": HUB,
            "repo": repo_key(repo),
            "commit_id": bytes.fromhex(commit),
            "prefix": path,
            "size_bytes": size_bytes,
            "replicas": replicas,
        }
        return self._insert(str(HubTarget(repo, commit, path)), name, owner, columns, now)

    def unpin(self, target: str, name: str | None = None, *, owner: str = "") -> int:
        """Take back the pins of a target, those of one name or all; return how many there were.

        Args:
            target: As `Pin.target`; a CID in any of its texts is found by its multihash.
            owner: Only pins made for that peer.
        """
        with self._database.write() as connection:
            return connection.execute(
                """DELETE FROM pins WHERE owner = :owner AND (:name IS NULL OR name = :name)
                       AND (target = :target OR multihash = :multihash)""",
                {
                    "owner": owner,
                    "name": name,
                    "target": target,
                    "multihash": _multihash_of(target),
                },
            ).rowcount

    def pins(self, *, owner: str | None = None) -> list[Pin]:
        """Return all pins, or those made for one peer ("": by the user), the oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM pins WHERE :owner IS NULL OR owner = :owner ORDER BY id",
                {"owner": owner},
            ).fetchall()
        return [_pin(row) for row in rows]

    def find_pin(self, target: str, *, owner: str) -> Pin | None:
        """Return a pin of a target that was made for one peer, or by the user ("")."""
        with self._database.read() as connection:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM pins WHERE owner = ? AND (target = ? OR multihash = ?)"
                " ORDER BY id LIMIT 1",
                (owner, target, _multihash_of(target)),
            ).fetchone()
        return None if row is None else _pin(row)

    def is_pinned(self, multihash: bytes) -> bool:
        """Tell whether a content is pinned by itself, or as a file of a pinned root or commit."""
        with self._database.read() as connection:
            row = connection.execute(
                """SELECT EXISTS (SELECT 1 FROM pins WHERE multihash = :key) OR EXISTS (
                       SELECT 1 FROM root_files JOIN roots ON roots.id = root_files.root
                       JOIN pins ON pins.multihash = roots.multihash
                       WHERE root_files.multihash = :key) OR EXISTS (
                       SELECT 1 FROM files JOIN hub_blobs ON hub_blobs.path = files.path
                       JOIN hub_files ON hub_files.etag = hub_blobs.etag
                       JOIN hub_revisions ON hub_revisions.id = hub_files.revision
                       JOIN pins ON pins.repo = hub_revisions.repo
                           AND pins.commit_id = hub_revisions.commit_id
                       WHERE files.multihash = :key AND (pins.prefix = ''
                           OR hub_files.path = pins.prefix
                           OR substr(hub_files.path, 1, length(pins.prefix) + 1)
                               = pins.prefix || '/'))""",
                {"key": multihash},
            ).fetchone()
        return bool(row[0])

    # -- copies held by others -------------------------------------------------------------------

    def replicas_of(self, pin: Pin) -> list[Replica]:
        """Return what other nodes said, the longest asked first."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT peer_id, state, reason, asked_at, seen_at FROM replicas WHERE pin = ?"
                " ORDER BY asked_at, peer_id",
                (pin.id,),
            ).fetchall()
        return [Replica(*row) for row in rows]

    def put_replica(self, pin: Pin, replica: Replica) -> None:
        """Note what a node said, in place of what it said before; nothing if the pin is gone."""
        with self._database.write() as connection:
            connection.execute(
                """INSERT OR REPLACE INTO replicas (pin, peer_id, state, reason, asked_at, seen_at)
                   SELECT id, ?, ?, ?, ?, ? FROM pins WHERE id = ?""",
                (
                    replica.peer_id,
                    replica.state,
                    replica.reason,
                    replica.asked_at,
                    replica.seen_at,
                    pin.id,
                ),
            )

    def drop_replica(self, pin: Pin, peer_id: str) -> None:
        """Count no more on a node's copy."""
        with self._database.write() as connection:
            connection.execute(
                "DELETE FROM replicas WHERE pin = ? AND peer_id = ?", (pin.id, peer_id)
            )

    def _insert(
        self, target: str, name: str, owner: str, columns: dict[str, Any], now: float | None
    ) -> Pin:
        values = {
            "target": target,
            "name": name,
            "owner": owner,
            "made_at": time.time() if now is None else now,
            **columns,
        }
        with self._database.write(durable=True) as connection:
            connection.execute(
                f"INSERT INTO pins ({', '.join(values)}) VALUES"
                f" ({', '.join(f':{key}' for key in values)})"
                " ON CONFLICT (target, name, owner) DO UPDATE SET replicas = excluded.replicas,"
                " size_bytes = max(size_bytes, excluded.size_bytes), made_at = excluded.made_at",
                values,
            )
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM pins WHERE target = ? AND name = ? AND owner = ?",
                (target, name, owner),
            ).fetchone()
        return _pin(row)


def _multihash_of(target: str) -> bytes | None:
    """Return the multihash of a CID's text, None for a target of the Hub."""
    return None if target.startswith("hf:") else Cid.parse(target).multihash


def _pin(row: Sequence[Any]) -> Pin:
    number, target, name, owner, kind, cid, repo, commit, prefix, *rest = row
    return Pin(
        id=number,
        target=target,
        name=name,
        owner=owner,
        kind=kind,
        cid=None if cid is None else Cid.from_bytes(cid),
        repo=None if repo is None else repo_of_key(repo),
        commit="" if commit is None else commit.hex(),
        path=prefix,
        size_bytes=rest[0],
        replicas=rest[1],
        made_at=rest[2],
    )

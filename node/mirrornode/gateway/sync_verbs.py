"""The verb `sync`: from JSON fields to runs, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mirrornode.errors import TargetError
from mirrornode.gateway.fields import field, texts
from mirrornode.gateway.keep_verbs import MAX_TOKEN_LETTERS
from mirrornode.mirror.sync import SyncOrder

if TYPE_CHECKING:
    from mirrornode.gateway.control import Emit, Verb
    from mirrornode.mirror.sync import Syncing

MAX_TARGETS = 1000


class SyncVerbs:
    """What the control socket of a running node can do about syncing."""

    def __init__(self, syncing: Syncing) -> None:
        self._syncing = syncing

    def table(self) -> Mapping[str, Verb]:
        """Return every verb by its name."""
        return {"sync": self.sync, "syncs": self.syncs}

    async def sync(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """Run targets now."""
        reports = await self._syncing.run_now(sync_order(fields), emit)
        return [report.to_record() for report in reports]

    async def syncs(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """List what is kept in step, and how it stands."""
        return await asyncio.to_thread(self._syncing.records)


def sync_order(fields: Mapping[str, Any]) -> SyncOrder:
    """Return what is asked for by JSON fields.

    Raises:
        TargetError: A field is of the wrong kind.
    """
    token = field(fields, "token", str) or ""
    if len(token) > MAX_TOKEN_LETTERS or not token.isascii() or not token.isprintable():
        raise TargetError("the token is not one of the Hub's: check HF_TOKEN")
    targets = texts(fields, "targets")
    if len(targets) > MAX_TARGETS:
        raise TargetError(f"give at most {MAX_TARGETS} targets")
    return SyncOrder(
        tuple(targets),
        from_node=field(fields, "from_node", str) or "",
        is_dry_run=bool(field(fields, "dry_run", bool)),
        deletes=bool(field(fields, "delete", bool)),
        token=token,
    )

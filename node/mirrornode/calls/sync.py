"""The client's calls that keep targets in step; a part of `Client`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mirrornode.calls.caller import Caller
from mirrornode.events import ignore

if TYPE_CHECKING:
    from mirrornode.daemon import Node
    from mirrornode.events import Progress


class SyncCalls(Caller):
    """Syncing."""

    def sync(
        self,
        targets: Sequence[str] = (),
        *,
        from_node: str = "",
        dry_run: bool = False,
        delete: bool = False,
        token: str | None = None,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        """Bring targets up to date now, and keep them pinned.

        Args:
            targets: `hf:ORG/NAME[@REV][/PATH or pattern]`, CIDs, `pins:NODE`, absolute folders;
                none: the `[[sync]]` tables of the settings, or with `from_node` all its pins.
            from_node: A node to follow instead of the origins: multiaddr with `/p2p/`, or the URL
                of its gateway.
            dry_run: Only tell what would change.
            delete: Take back pins of what a target no longer has, and delete it from its folder.
            token: For the Hub; None for what its clients would use, "" for none.
            progress: Gets `Note`s and `GetProgress`.

        Returns:
            A report of each target, in order; one that failed says so in "outcome" and "error".

        Raises:
            TargetError: There is nothing to run, or something is no target.
        """
        from mirrornode.mirror.hub.client_env import hub_token

        fields: dict[str, Any] = {
            "targets": list(targets),
            "from_node": from_node,
            "dry_run": dry_run,
            "delete": delete,
            "token": hub_token() if token is None else token,
        }

        async def here(node: Node) -> object:
            from mirrornode.gateway.sync_verbs import SyncVerbs

            return await SyncVerbs(node.syncing).sync(fields, progress or ignore)

        return list(self._ask("sync", fields, progress, lambda: self._in_node(here)))

    def syncs(self) -> list[dict[str, Any]]:
        """Return what is kept in step: how the last run went, and when the next one is due."""
        from mirrornode.mirror.sync_jobs import records_of

        def here() -> Any:
            return self._with_catalog(lambda catalog: records_of(catalog, self.config))

        return list(self._ask("syncs", {}, None, here))

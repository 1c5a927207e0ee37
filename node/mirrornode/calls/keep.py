"""The client's calls that keep and free; a part of `Client`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mirrornode.calls.caller import Caller, PathLike
from mirrornode.events import ignore
from mirrornode.wire.hub import is_hub_target

if TYPE_CHECKING:
    from mirrornode.daemon import Node
    from mirrornode.events import Progress


class KeepCalls(Caller):
    """Pins, and freeing room."""

    def pin(
        self,
        target: str,
        *,
        name: str = "",
        replicas: int = 0,
        token: str | None = None,
        peers: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Keep a target whatever the quota says; it is fetched first unless all of it is here.

        Args:
            target: A CID, or `hf:ORG/NAME[@REV][/PATH]`.
            name: The same target may be pinned under several names, for several reasons.
            replicas: How many other nodes are asked to hold a copy, too.
            token: For `hf:`; None for what the Hub's clients would use, "" for none.
            peers: Multiaddrs of nodes to dial besides those that are found.
            progress: Gets `Note`s and `GetProgress`.

        Returns:
            What `pins` tells of it, with "was_here" and "fetched_bytes".

        Raises:
            TargetError: It is no target.
            MirrorError: It is not here and did not come, as for `get`; nothing is pinned then.
        """
        from mirrornode.mirror.hub.client_env import hub_token

        fields: dict[str, Any] = {
            "target": target,
            "name": name,
            "replicas": replicas,
            "peers": list(peers),
        }
        if is_hub_target(target):
            fields["token"] = hub_token() if token is None else token

        async def here(node: Node) -> object:
            from mirrornode.gateway.keep_verbs import KeepVerbs

            verbs = KeepVerbs(node.keeping, self.config, node.announcing.wake)
            return await verbs.pin(fields, progress or ignore)

        return dict(self._ask("pin", fields, progress, lambda: self._in_node(here)))

    def unpin(self, target: str, *, name: str | None = None) -> dict[str, Any]:
        """Take back the pins of a target, those of one name or all; deletes nothing by itself.

        Raises:
            TargetError: It is no target, or not pinned.
        """
        from mirrornode.gateway import keep_verbs

        fields = {"target": target, "name": name}
        return dict(
            self._ask(
                "unpin",
                fields,
                None,
                lambda: self._with_catalog(lambda catalog: keep_verbs.unpinned(catalog, fields)),
            )
        )

    def unshare(self, target: PathLike) -> dict[str, Any]:
        """Stop sharing a file or folder and all below it; nothing on disk is touched.

        Args:
            target: A path, or a CID as `ls` shows it.

        Returns:
            "target", "paths", and how many "files" and "size_bytes" they were.

        Raises:
            TargetError: Nothing of it is shared, or a setting, a pin or a running download wants
                it to be.
        """
        from mirrornode.content.cid import Cid
        from mirrornode.gateway import keep_verbs
        from mirrornode.mirror.unshare import parse_unshare_target

        found = parse_unshare_target(os.fspath(target))
        fields = {("cid" if isinstance(found, Cid) else "path"): str(found)}
        return dict(
            self._ask(
                "unshare",
                fields,
                None,
                lambda: self._with_catalog(
                    lambda catalog: keep_verbs.unshare_here(catalog, fields, self.config)
                ),
            )
        )

    def pins(self) -> list[dict[str, Any]]:
        """Return all pins, those made for other nodes included, the oldest first."""
        from mirrornode.mirror.keep_loop import pin_records

        return list(self._ask("pins", {}, None, lambda: self._with_catalog(pin_records)))

    def gc(self, *, dry_run: bool = False, keep_free_bytes: int | None = None) -> dict[str, Any]:
        """Free room down to the low-water mark of the quota, and tell what went.

        Args:
            dry_run: Only tell what would go.
            keep_free_bytes: Free until so much is free on the disk, whatever the settings say.
        """
        from mirrornode.gateway import keep_verbs

        fields = {"dry_run": dry_run, "keep_free_bytes": keep_free_bytes}
        return dict(
            self._ask(
                "gc",
                fields,
                None,
                lambda: self._with_catalog(
                    lambda catalog: keep_verbs.collect_here(catalog, fields, self.config)
                ),
            )
        )

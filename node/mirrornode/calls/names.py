"""The script API's calls for names: the part of `Client` that publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirrornode.calls.caller import Caller
from mirrornode.events import ignore

if TYPE_CHECKING:
    from mirrornode.daemon import Node
    from mirrornode.events import Progress


class NameCalls(Caller):
    """What `Client` can do with names."""

    def publish(
        self,
        target: str,
        *,
        key: str = "self",
        lifetime_s: float = 48 * 3600.0,
        ttl_s: float = 300.0,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Let a name mean `target` from now on, and return the name.

        Args:
            target: A CID, `/ipfs/CID[/path]` or `ipfs://CID[/path]`.
            key: What signs: "self" for the node's own key; another one is made at its first use.
            lifetime_s: How long peers may believe it; a running node signs it anew long before.
            ttl_s: How long they may go without looking for a newer meaning.
            progress: Gets `Note`s.

        Raises:
            TargetError: The target, the key's name or a time cannot be.
            StoreError: The key or the catalog cannot be used.
        """
        from mirrornode.gateway import name_verbs

        fields = {"target": target, "key": key, "lifetime_s": lifetime_s, "ttl_s": ttl_s}
        name_verbs.publish_request(fields)  # before anything is started

        async def here(node: Node) -> object:
            return await name_verbs.publish_here(node.names, fields, progress or ignore)

        return dict(self._ask("publish", fields, progress, lambda: self._in_node(here)))

    def publications(self) -> list[dict[str, Any]]:
        """Return the names that this home publishes."""
        from mirrornode.mirror.ipns_publish import list_publications

        return list(
            self._ask("publications", {}, None, lambda: self._with_catalog(list_publications))
        )

    def unpublish(self, key: str) -> dict[str, Any]:
        """Publish a name no more; what peers keep of it runs out by itself.

        Raises:
            TargetError: Nothing is published with that key.
        """
        from mirrornode.gateway import name_verbs

        fields = {"key": key}

        def here() -> dict[str, Any]:
            return dict(self._with_catalog(lambda c: name_verbs.unpublish(c, fields)))

        return dict(self._ask("unpublish", fields, None, here))

"""The verbs of names: from JSON fields to `mirror.ipns_parts` and back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mirrornode.errors import TargetError
from mirrornode.gateway.fields import field
from mirrornode.mirror.ipns_parts import NameParts, publish
from mirrornode.mirror.ipns_publish import (
    DEFAULT_LIFETIME_S,
    DEFAULT_TTL_S,
    PublishRequest,
    list_publications,
    publication_record,
)
from mirrornode.mirror.name_keys import SELF

if TYPE_CHECKING:
    from mirrornode.gateway.control import Emit, Verb
    from mirrornode.store.catalog import Catalog


class NameVerbs:
    """What the control socket of a running node can do with names."""

    def __init__(self, names: NameParts) -> None:
        self._names = names

    def table(self) -> Mapping[str, Verb]:
        """Return every verb by its name."""
        return {
            "publish": self.publish,
            "publications": self.publications,
            "unpublish": self.unpublish,
        }

    async def publish(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """Let a name mean something."""
        return await publish_here(self._names, fields, emit)

    async def publications(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """List what is published."""
        return await asyncio.to_thread(list_publications, self._names.catalog)

    async def unpublish(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """Publish a name no more."""
        stopped = await self._names.publisher.stop(_key_of(fields))
        return publication_record(stopped)


async def publish_here(names: NameParts, fields: Mapping[str, Any], emit: Emit) -> object:
    """Let a name mean something, from JSON fields named as the command's options."""
    return (await publish(names, publish_request(fields), emit)).to_record()


def unpublish(catalog: Catalog, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Publish a name no more, without a node; blocking."""
    key_name = _key_of(fields)
    publication = catalog.publication(key_name)
    if publication is None or not catalog.stop_publication(key_name):
        raise TargetError(f"nothing is published with a key called {key_name[:80]!r}")
    return publication_record(publication)


def publish_request(fields: Mapping[str, Any]) -> PublishRequest:
    """Return what the user wants published.

    Raises:
        TargetError: A field is of the wrong kind.
    """
    target = (field(fields, "target", str) or "").strip()
    if not target:
        raise TargetError("name what to publish: a CID, /ipfs/CID[/path] or ipfs://CID[/path]")
    return PublishRequest(
        path=target,
        target=target,
        key_name=_key_of(fields),
        lifetime_s=_seconds(fields, "lifetime_s", DEFAULT_LIFETIME_S),
        ttl_s=_seconds(fields, "ttl_s", DEFAULT_TTL_S),
    )


def _key_of(fields: Mapping[str, Any]) -> str:
    return field(fields, "key", str) or SELF


def _seconds(fields: Mapping[str, Any], name: str, default: float) -> float:
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TargetError(f"{name} must be a number of seconds")
    return float(value)

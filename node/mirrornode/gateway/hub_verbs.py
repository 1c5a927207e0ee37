"""The verbs that speak of the Hub: from JSON fields to a use case of `mirror.hub` and back.

A user's token comes in the field "token", from his own process over the control socket, and goes
no further than the questions it is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.errors import TargetError
from mirrornode.events import to_record
from mirrornode.gateway.fields import field, texts
from mirrornode.mirror.hub.get import HubGetRequest, get_hub
from mirrornode.mirror.hub.listing import list_hub
from mirrornode.mirror.hub.verify import verify_hub
from mirrornode.wire.hub import SCHEME, parse_hub_target

if TYPE_CHECKING:
    from mirrornode.gateway.control import Emit
    from mirrornode.mirror.hub.parts import HubParts
    from mirrornode.mirror.hub.share import CacheSharing
    from mirrornode.store.catalog import Catalog

MAX_TOKEN_LETTERS = 4096


def hub_get_request(fields: Mapping[str, Any]) -> HubGetRequest:
    """Return a `get` request from JSON fields.

    Raises:
        TargetError: A field is of the wrong kind, or makes no sense for the Hub.
    """
    if texts(fields, "mirrors"):
        raise TargetError(
            "--mirror is for CIDs; where the Hub's repos come from is set by [[origin]] in "
            "config.toml, or by MIRRORNODE_ORIGIN"
        )
    dest = field(fields, "dest", str)
    return HubGetRequest(
        target=field(fields, "target", str) or "",
        folder=Path(field(fields, "folder", str) or "/"),
        destination=Path(dest) if dest else None,
        cache=_cache(fields),
        token=_token(fields),
        include=tuple(texts(fields, "include")),
        exclude=tuple(texts(fields, "exclude")),
        peers=tuple(texts(fields, "peers")),
    )


async def get(parts: HubParts, fields: Mapping[str, Any], emit: Emit) -> object:
    """Bring a target of the Hub."""
    return to_record(await get_hub(parts, hub_get_request(fields), emit))


async def verify(parts: HubParts, fields: Mapping[str, Any], emit: Emit) -> object:
    """Hash all copies of a repo here, and mend what is damaged."""
    target = parse_hub_target(field(fields, "target", str) or "")
    await parts.meet(())
    return (await verify_hub(parts, target, _token(fields), _cache(fields), emit)).to_record()


async def share_cache(sharing: CacheSharing, fields: Mapping[str, Any], emit: Emit) -> object:
    """Share a cache of the Hub's clients, in place."""
    return (await sharing.share(_cache(fields), emit)).to_record()


async def ls(parts: HubParts, fields: Mapping[str, Any]) -> object:
    """List the repos that are known here."""
    return await asyncio.to_thread(list_repos, parts.catalog, fields)


def list_repos(catalog: Catalog, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the repos that are known here; blocking."""
    return list_hub(catalog, field(fields, "target", str) or SCHEME)


def _cache(fields: Mapping[str, Any]) -> Path:
    cache = field(fields, "hub_cache", str) or ""
    if not cache.startswith("/"):
        raise TargetError("hub_cache must be the absolute path of a cache of the Hub's clients")
    return Path(cache)


def _token(fields: Mapping[str, Any]) -> str:
    token = field(fields, "token", str) or ""
    if len(token) > MAX_TOKEN_LETTERS or not token.isascii() or not token.isprintable():
        raise TargetError("the token is not one of the Hub's: check HF_TOKEN")
    return token

"""The verbs that keep and free: from JSON fields to pins and the keeper, and back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.content.cid import Cid
from mirrornode.errors import TargetError
from mirrornode.gateway.fields import field, texts
from mirrornode.mirror.active import ActiveTransfers
from mirrornode.mirror.keep import Keeper
from mirrornode.mirror.keep_loop import limits_of, pin_records
from mirrornode.mirror.keep_pins import PinRequest, pins_of, unpin
from mirrornode.mirror.unshare import unshare

if TYPE_CHECKING:
    from mirrornode.config import Config
    from mirrornode.gateway.control import Emit, Verb
    from mirrornode.mirror.keep_loop import Keeping
    from mirrornode.store.catalog import Catalog

MAX_TOKEN_LETTERS = 4096


class KeepVerbs:
    """What the control socket of a running node can do about keeping."""

    def __init__(self, keeping: Keeping, config: Config, announce: Callable[[], None]) -> None:
        """Take the parts; `announce` has the announcer look at what there is to announce."""
        self._keeping = keeping
        self._config = config
        self._announce = announce

    def table(self) -> Mapping[str, Verb]:
        """Return every verb by its name."""
        return {
            "pin": self.pin,
            "unpin": self.unpin,
            "pins": self.pins,
            "gc": self.gc,
            "unshare": self.unshare,
        }

    async def pin(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """Keep one target."""
        keeping = self._keeping
        pinned = await keeping.pinning.pin(pin_request(fields, self._config), emit)
        if pinned.pin.replicas:
            await keeping.replication.tick()
        records = await asyncio.to_thread(pin_records, keeping.catalog)
        record = next(
            (one for one in records if (one["target"], one["name"], one["owner"])
             == (pinned.pin.target, pinned.pin.name, "")), {},
        )  # fmt: skip
        return {**record, "was_here": pinned.was_here, "fetched_bytes": pinned.fetched_bytes}

    async def unpin(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """Take back pins of one target."""
        catalog = self._keeping.catalog
        target, name = _target(fields), field(fields, "name", str)
        holders = [
            (pin, catalog.replicas_of(pin))
            for pin in await asyncio.to_thread(pins_of, catalog, target, name)
        ]
        record = await asyncio.to_thread(unpinned, catalog, fields)
        for pin, replicas in holders:
            await self._keeping.replication.release(pin, replicas)
        return record

    async def pins(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """List pins."""
        return await asyncio.to_thread(pin_records, self._keeping.catalog)

    async def gc(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """Free room."""
        return await asyncio.to_thread(collected, self._keeping.keeper, fields)

    async def unshare(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """Stop sharing a path, or whatever has a CID."""
        keeper = self._keeping.keeper
        record = await asyncio.to_thread(unshared, keeper, fields, self._config.share)
        self._announce()
        return record


def pin_request(fields: Mapping[str, Any], config: Config) -> PinRequest:
    """Return a `pin` request from JSON fields; the configuration's mirrors are added.

    Raises:
        TargetError: A field is of the wrong kind.
    """
    token = field(fields, "token", str) or ""
    if len(token) > MAX_TOKEN_LETTERS or not token.isascii() or not token.isprintable():
        raise TargetError("the token is not one of the Hub's: check HF_TOKEN")
    return PinRequest(
        _target(fields),
        name=field(fields, "name", str) or "",
        replicas=field(fields, "replicas", int) or 0,
        token=token,
        mirrors=tuple(mirror.url for mirror in config.mirror),
        peers=tuple(texts(fields, "peers")),
    )


def unpinned(catalog: Catalog, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Take back pins of one target; blocking."""
    target = _target(fields)
    found = unpin(catalog, target, field(fields, "name", str))
    return {"target": target, "unpinned": [[pin.target, pin.name] for pin in found]}


def collected(keeper: Keeper, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Free room, or tell what would go; blocking."""
    keep_free = field(fields, "keep_free_bytes", int)
    if keep_free is not None and keep_free < 0:
        raise TargetError("give a size from 0 on to keep free")
    is_dry_run = bool(field(fields, "dry_run", bool))
    done = keeper.collect(is_due=True, keep_free_bytes=keep_free, is_dry_run=is_dry_run)
    return done.to_record()


def unshared(keeper: Keeper, fields: Mapping[str, Any], shares: Sequence[str]) -> dict[str, Any]:
    """Stop sharing one target; blocking."""
    text, path = field(fields, "cid", str), field(fields, "path", str)
    if not text and not (path and os.path.isabs(path)):
        raise TargetError("name a path, or a CID that `mirrornode ls` shows")
    done = unshare(keeper, Cid.parse(text) if text else Path(path or ""), shares)
    return {
        "target": done.target,
        "paths": [str(place) for place in done.paths],
        "files": done.files,
        "size_bytes": done.size_bytes,
    }


def unshare_here(catalog: Catalog, fields: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Stop sharing in a home that no daemon works in; blocking."""
    return unshared(_keeper_here(catalog, config), fields, config.share)


def collect_here(catalog: Catalog, fields: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Free room in a home that no daemon works in; blocking."""
    keeper = _keeper_here(catalog, config)
    keeper.recover()
    return collected(keeper, fields)


def _keeper_here(catalog: Catalog, config: Config) -> Keeper:
    return Keeper(catalog, ActiveTransfers(), limits_of(config.storage))


def _target(fields: Mapping[str, Any]) -> str:
    target = field(fields, "target", str)
    if not target:
        raise TargetError("name a target: a CID or hf:ORG/NAME[@REV][/PATH]")
    return target

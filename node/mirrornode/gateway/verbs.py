"""The verbs a node runs for its clients: from JSON fields to a use case and back.

The same functions serve the control socket and a client that works without a daemon; those that
need only the catalog are plain functions, the rest hang on a running node.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mirrornode.config import MIN_RATE, MirrorConfig
from mirrornode.content.recipe import recipe_from
from mirrornode.errors import TargetError
from mirrornode.events import to_record
from mirrornode.gateway import car_verbs, history_verbs, hub_verbs
from mirrornode.gateway.fields import field, texts
from mirrornode.gateway.name_verbs import NameVerbs
from mirrornode.mirror.add import AddRequest, add_paths
from mirrornode.mirror.get import get
from mirrornode.mirror.get_request import GetPorts, GetRequest
from mirrornode.mirror.hub.cache_layout import looks_like_cache
from mirrornode.mirror.import_car import ImportPorts
from mirrornode.mirror.in_thread import in_thread
from mirrornode.mirror.ipns_parts import NameParts, get_named
from mirrornode.mirror.mirror_probe import measure_mirrors
from mirrornode.mirror.target import parse_target
from mirrornode.mirror.verify import verify_roots
from mirrornode.store.catalog import Catalog, refresh_states
from mirrornode.wire.hub import is_hub_target
from mirrornode.wire.ipns_path import is_name_target, parse_name_target

if TYPE_CHECKING:
    from mirrornode.config import Config
    from mirrornode.gateway.control import Emit, Verb
    from mirrornode.mirror.hub.parts import HubParts
    from mirrornode.mirror.hub.share import CacheSharing

T = TypeVar("T")


class NodeVerbs:
    """What the control socket of a running node can do."""

    def __init__(
        self,
        ports: GetPorts,
        config: Config,
        hub: HubParts,
        sharing: CacheSharing,
        names: NameParts,
        *,
        status: Callable[[], dict[str, Any]],
        peers: Callable[[], list[dict[str, Any]]],
    ) -> None:
        self._ports = ports
        self._config = config
        self._hub = hub
        self._sharing = sharing
        self._names = names
        self._status = status
        self._peers = peers

    def table(self) -> Mapping[str, Verb]:
        """Return every verb by its name."""
        return {
            **NameVerbs(self._names).table(),
            "add": self.add,
            "export": self.export,
            "get": self.get,
            "history": self.history,
            "import": self.import_,
            "ls": self.ls,
            "mirrors": self.mirrors,
            "peers": self.peers,
            "share_hub_cache": self.share_hub_cache,
            "status": self.status,
            "verify": self.verify,
        }

    async def add(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """Add paths; the result lists one record a path."""
        catalog = self._ports.catalog
        try:
            return await in_thread(lambda progress: add(catalog, fields, progress), emit)
        finally:
            self._ports.announce()

    async def export(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """Write a CAR file."""
        catalog = self._ports.catalog
        return await in_thread(lambda tell: car_verbs.export(catalog, fields, tell), emit)

    async def import_(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """Read CAR files."""
        ports = self._ports
        cars = ImportPorts(ports.catalog, ports.active, ports.announce)
        return await car_verbs.import_(cars, fields, emit)

    async def get(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """Fetch one target."""
        if is_hub_target(fields.get("target")):
            return await hub_verbs.get(self._hub, fields, emit)
        request = get_request(fields, self._config)
        if is_name_target(request.target):
            return to_record(await get_named(self._names, self._ports, request, emit))
        return to_record(await get(self._ports, request, emit))

    async def history(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """List downloads."""
        return await asyncio.to_thread(history_verbs.history, self._ports.catalog, fields)

    async def ls(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """List what is shared, or what is known of the Hub."""
        if is_hub_target(fields.get("target")):
            return await hub_verbs.ls(self._hub, fields)
        return await asyncio.to_thread(list_roots, self._ports.catalog)

    async def mirrors(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """Measure mirrors."""
        catalog, config = self._ports.catalog, self._config
        return await in_thread(lambda progress: mirrors(catalog, fields, config, progress), emit)

    async def verify(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """Re-hash what is shared, or what lies here of a repo of the Hub."""
        if is_hub_target(fields.get("target")):
            return await hub_verbs.verify(self._hub, fields, emit)
        catalog = self._ports.catalog
        return await in_thread(lambda progress: verify(catalog, fields, progress), emit)

    async def share_hub_cache(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """Share a cache of the Hub's clients."""
        return await hub_verbs.share_cache(self._sharing, fields, emit)

    async def status(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """Tell how the node is."""
        return await asyncio.to_thread(self._status)

    async def peers(self, fields: Mapping[str, Any], emit: Emit) -> object:
        """List connected peers."""
        return self._peers()


def add(catalog: Catalog | None, fields: Mapping[str, Any], emit: Emit) -> list[dict[str, Any]]:
    """Add paths, from JSON fields named as the command's options; blocking."""
    paths = texts(fields, "paths")
    if not paths:
        raise TargetError("name at least one file or folder to add")
    for path in paths:
        if looks_like_cache(Path(path)):
            raise TargetError(
                f"{path} is a cache of the Hugging Face Hub's clients; share it with "
                "`mirrornode add --hf-cache DIR`, which keeps gated and private repos to you"
            )
    recipe = recipe_from(
        field(fields, "profile", str) or "unixfs-v1-2025",
        chunker=field(fields, "chunker", str),
        raw_leaves=field(fields, "raw_leaves", bool),
        cid_version=field(fields, "cid_version", int),
        max_links=field(fields, "max_links", int),
    )
    request = AddRequest(
        paths=[Path(path) for path in paths],
        recipe=recipe,
        name=field(fields, "name", str),
        wrap=bool(field(fields, "wrap", bool)),
        only_hash=bool(field(fields, "only_hash", bool)),
        copy=bool(field(fields, "copy", bool)),
        hidden=bool(field(fields, "hidden", bool)),
    )
    done = []
    for added in add_paths(catalog, request, emit):
        emit(added)
        done.append(to_record(added))
    return done


def get_request(fields: Mapping[str, Any], config: Config) -> GetRequest:
    """Return a `get` request from JSON fields; the configuration's mirrors are added."""
    target = field(fields, "target", str)
    if not target:
        raise TargetError(
            "name a target: a CID, /ipfs/CID[/path], ipfs://CID[/path], ipns://NAME[/path] or "
            "hf:ORG/NAME[@REV][/PATH]"
        )
    if is_name_target(target):
        parse_name_target(target)  # before anything is started
    dest = field(fields, "dest", str)
    timeout_s = fields.get("timeout_s", 30.0)
    if not isinstance(timeout_s, int | float) or not 0 < timeout_s <= 1e6:
        raise TargetError(f"timeout {timeout_s!r}: give a number of seconds above 0")
    limit = field(fields, "download_limit", int) or 0
    if limit < 0 or 0 < limit < MIN_RATE:
        raise TargetError(f"download limit {limit}: give at least {MIN_RATE:,} bytes a second")
    named = texts(fields, "mirrors")
    configured = {mirror.url: mirror.weight for mirror in config.mirror}
    return GetRequest(
        target=target,
        folder=Path(field(fields, "folder", str) or "/"),
        destination=Path(dest) if dest else None,
        mirrors=tuple(dict.fromkeys([*named, *configured])),
        weights={url: weight for url, weight in configured.items() if url not in named},
        peers=tuple(texts(fields, "peers")),
        timeout_s=float(timeout_s),
        download_limit=limit,
        insisted=frozenset(named),
    )


def list_roots(catalog: Catalog) -> list[dict[str, Any]]:
    """Return what `ls` shows, each file's state as of now; blocking."""
    refresh_states(catalog)
    return [
        {**dataclasses.asdict(root), "cid": str(root.cid), "path": str(root.path)}
        for root in catalog.roots()
    ]


def mirrors(
    catalog: Catalog, fields: Mapping[str, Any], config: Config, emit: Emit
) -> list[dict[str, Any]]:
    """Measure the named mirrors, or the configured ones when none is named; blocking."""
    known = {mirror.url: mirror for mirror in config.mirror}
    named = texts(fields, "urls")
    chosen = [known.get(url) or MirrorConfig(url) for url in dict.fromkeys(named or known)]
    return measure_mirrors(catalog, chosen, field(fields, "sample", str) or "", emit)


def verify(catalog: Catalog, fields: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Re-hash one target or everything; blocking."""
    text = field(fields, "target", str)
    multihash = None
    if text:
        target = parse_target(text)
        if target.path:
            raise TargetError("verify takes a CID without a path")
        multihash = target.cid.multihash
    return verify_roots(catalog, multihash, emit).to_record()

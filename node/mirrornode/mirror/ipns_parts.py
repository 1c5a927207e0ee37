"""Names as one part of a node: keys, resolver and publisher, put together; and `get` of a name."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirrornode.errors import TargetError
from mirrornode.events import Event, Got, Note
from mirrornode.mirror.get import get
from mirrornode.mirror.ipns import NameResolver
from mirrornode.mirror.ipns_publish import NamePublisher, Published, PublishRequest
from mirrornode.mirror.name_keys import NameKeys, key_path
from mirrornode.mirror.target import parse_target
from mirrornode.routing.dnslink import DnsLinks
from mirrornode.sources.router_names import NameRouter
from mirrornode.wire.ipns_path import parse_name_target

if TYPE_CHECKING:
    from mirrornode.mirror.get_request import GetPorts, GetRequest
    from mirrornode.mirror.ipns import ValuePort
    from mirrornode.store.catalog import Catalog
    from mirrornode.swarm.identity import Identity

Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class NameParts:
    """What the verbs of names work with.

    Attributes:
        meet: Connects to nodes at these multiaddrs, and gives a node that was started just now a
            moment to find others.
        goes_on: The node runs on, so that what it publishes is published again.
    """

    catalog: Catalog
    resolver: NameResolver
    publisher: NamePublisher
    meet: Callable[[Sequence[str]], Coroutine[Any, Any, None]]
    goes_on: bool


@asynccontextmanager
async def open_names(
    catalog: Catalog,
    identity: Identity,
    dht: ValuePort,
    meet: Callable[[Sequence[str]], Coroutine[Any, Any, None]],
    *,
    goes_on: bool,
    router_urls: Sequence[str] = (),
) -> AsyncIterator[NameParts]:
    """Put the names of a node together, for the length of the block."""
    keys = NameKeys(catalog.home, identity)
    resolver = NameResolver(
        catalog,
        keys,
        dht,
        routers=[NameRouter(url) for url in router_urls],
        look_up_domain=DnsLinks().look_up,
    )
    publisher = NamePublisher(catalog, keys, dht, resolver)
    try:
        yield NameParts(catalog, resolver, publisher, meet, goes_on)
    finally:
        await resolver.close()


async def get_named(names: NameParts, ports: GetPorts, request: GetRequest, emit: Emit) -> Got:
    """Fetch what a name means now; otherwise as `get`.

    Raises:
        TargetError: Not a name, or the destination cannot be.
        NoProviders: Nobody reachable knows the name, or has what it means.
        MirrorError: As `get` and `NameResolver.resolve`.
    """
    named = parse_name_target(request.target)
    await names.meet(request.peers)
    resolved = await names.resolver.resolve(request.target, fresh=True)
    if resolved.note:
        emit(Note(resolved.note, "warning"))
    emit(Note(f"{named} is {resolved.path}"))
    request = dataclasses.replace(request, target=resolved.path, called=named.called)
    return await get(ports, request, emit)


async def publish(names: NameParts, request: PublishRequest, emit: Emit) -> Published:
    """Let a name mean something else from now on, and tell the user how that went.

    Args:
        request: Its path is what the user typed: a CID, `/ipfs/CID[/path]` or `ipfs://CID[/path]`.

    Raises:
        TargetError: The target, the key's name or a time cannot be.
        StoreError: The key or the catalog cannot be used.
    """
    if request.path.startswith("hf:"):
        raise TargetError(
            "a name stands for a CID: add the folder with `mirrornode add` and publish its CID"
        )
    target = parse_target(request.path)
    await names.meet(())
    path = f"/ipfs/{target}"
    published = await names.publisher.publish(dataclasses.replace(request, path=path))
    if published.is_new_key:
        kept_at = key_path(names.catalog.home, request.key_name)
        emit(Note(f"made the key {request.key_name}; keep a copy of {kept_at}"))
    if names.catalog.find_root(target.cid.multihash) is None:
        emit(Note(f"{target.cid} is not shared by this node: others must have it", "warning"))
    if not published.publication.kept_by:
        emit(
            Note("no peer keeps the name yet: nobody is connected, or none of them can", "warning")
        )
    if not names.goes_on:
        emit(Note("no node runs here to publish it again: start one with `mirrornode serve`"))
    return published

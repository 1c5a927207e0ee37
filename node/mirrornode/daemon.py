"""The composition root: builds one `Node` out of its parts, and runs it as a daemon.

Nothing else creates these parts; nothing here knows how they work. Parts start from the bottom
layer up and stop in the opposite order.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.config import (
    DEFAULT_PEER_PLANE_PORT,
    Config,
    OriginConfig,
)
from mirrornode.errors import MirrorError, TargetError
from mirrornode.gateway.alert_verbs import AlertVerbs
from mirrornode.gateway.certificate import load_or_create_certificate
from mirrornode.gateway.control import bind_control, make_control
from mirrornode.gateway.door import Door, drain
from mirrornode.gateway.history_verbs import recent
from mirrornode.gateway.keep_verbs import KeepVerbs
from mirrornode.gateway.listeners import Address, bind, listening, parse_address
from mirrornode.gateway.node_numbers import NodeNumbers
from mirrornode.gateway.opening import GatewayParts, open_gateway
from mirrornode.gateway.page import Page
from mirrornode.gateway.peer_plane import TicketOffice
from mirrornode.gateway.plane_server import serving
from mirrornode.gateway.routing_v1_lookups import Lookups
from mirrornode.gateway.sync_verbs import SyncVerbs
from mirrornode.gateway.verbs import NodeVerbs
from mirrornode.mirror.active import ActiveTransfers
from mirrornode.mirror.add import AddRequest, add_paths
from mirrornode.mirror.alerts import Alerts, alert_records, open_alerts
from mirrornode.mirror.bitswap import open_bitswap
from mirrornode.mirror.fingerprint import fingerprint_files
from mirrornode.mirror.get_request import GetPorts
from mirrornode.mirror.hub.access import HubAccess
from mirrornode.mirror.hub.cache_layout import looks_like_cache
from mirrornode.mirror.hub.client_env import cache_of
from mirrornode.mirror.hub.fetch import open_hub_files
from mirrornode.mirror.hub.names import HubNames
from mirrornode.mirror.hub.parts import HubParts
from mirrornode.mirror.hub.peer_words import MAX_ANSWERING, PeerWords
from mirrornode.mirror.hub.share import CacheSharing
from mirrornode.mirror.in_thread import in_thread
from mirrornode.mirror.ipns_parts import NameParts, open_names
from mirrornode.mirror.ipns_publish import list_publications
from mirrornode.mirror.keep_loop import Keeping, open_keeping
from mirrornode.mirror.recording import open_recorder
from mirrornode.mirror.shelf import Shelf
from mirrornode.mirror.sync import Syncing, open_syncing
from mirrornode.mirror.sync_jobs import sync_numbers
from mirrornode.private_log import withholding
from mirrornode.routing.announcing import Announcing
from mirrornode.routing.delegated import DelegatedRouters
from mirrornode.routing.find import Finder
from mirrornode.routing.nearby import NearbyPeers
from mirrornode.routing.networks import Networks, make_networks
from mirrornode.sources.asking_chain import new_name
from mirrornode.sources.hub_origin import open_origins
from mirrornode.sources.router_http import open_router_http
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.store.home import lock_home
from mirrornode.swarm.identity import load_or_create_identity
from mirrornode.swarm.mdns import open_mdns
from mirrornode.swarm.node import Swarm, open_swarm
from mirrornode.transfer.pacing import Uploads, pace_of
from mirrornode.version import __version__
from mirrornode.wire import hub_peer
from mirrornode.wire import ticket as tickets
from mirrornode.wire.control import socket_path

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.events import Event

log = logging.getLogger(__name__)

IDENTITY_NAME = "identity.key"
ANY_PORT = ("/ip4/0.0.0.0/tcp/0",)
MEET_S = 1.5  # what a node that lives for one command waits for others to be found


@dataclass(frozen=True, slots=True)
class Node:
    """A running node; all its parts end with the block of `open_node`."""

    config: Config
    catalog: Catalog
    swarm: Swarm
    dht: Networks
    announcing: Announcing
    ports: GetPorts
    uploads: Uploads
    hub: HubParts
    sharing: CacheSharing
    names: NameParts
    keeping: Keeping
    syncing: Syncing
    alerts: Alerts
    peer_plane: str
    gateway: str
    door: Door
    discovery: AsyncExitStack  # closed, nobody finds us on the local network any more
    started_at: float

    def ready_record(self) -> dict[str, Any]:
        """Return the READY line of the command line's contract."""
        return {
            "peer_id": self.swarm.peer_id,
            "listen": self.swarm.addresses(),
            "peer_plane": self.peer_plane,
            "gateway": self.gateway,
            "home": str(self.config.home),
            "dht": self.dht.status(),
        }

    def status(self) -> dict[str, Any]:
        """Return what `mirrornode status` shows; blocking."""
        announcements = self.announcing.status()
        files, size_bytes = self.catalog.file_totals()
        return {
            "running": True,
            "state": self.door.state,
            "version": __version__,
            **self.ready_record(),
            "uptime_s": round(time.monotonic() - self.started_at, 1),
            "peers": len(self.swarm.links()),
            "dht_peers": self.dht.table_size,
            "hub_endpoint": self.gateway + self.config.gateway.hub_prefix if self.gateway else "",
            "roots": len(self.catalog.roots()),
            "files": files,
            "size_bytes": size_bytes,
            "served_bytes": self.uploads.sent_bytes,
            "served_by_face": dict(self.uploads.sent_by_face),
            "limits": dataclasses.asdict(self.config.limits),
            "announcements": announcements["lan"],
            "public_announcements": announcements.get("public"),
            "alerts": alert_records(self.alerts.active()),
            "names": list_publications(self.catalog),
            "syncs": self.syncing.configured(),
            "transfers": [running.live() for running in self.ports.recorder.running],
            **recent(self.ports.recorder),
        }

    def downloads(self) -> int:
        """Return how many downloads are under way."""
        return max(len(self.ports.active.sessions), self.hub.files.running)

    def peers(self) -> list[dict[str, Any]]:
        """Return what `mirrornode peers` shows."""
        return [
            {
                "peer_id": link.peer_id,
                "address": link.address,
                "agent": link.agent,
                "outbound": link.outbound,
                "is_mirrornode": tickets.PROTOCOL in link.protocols,
                "rtt_s": self.swarm.round_trip_s(link.peer_id),
            }
            for link in self.swarm.links()
        ]


@asynccontextmanager
async def open_node(config: Config, *, is_short_lived: bool = False) -> AsyncIterator[Node]:
    """Start a node for the length of the block.

    Args:
        is_short_lived: For one command without a daemon: free ports, no gateway.

    Raises:
        HomeLocked: Another process owns this home.
        ConfigError: An address cannot be used.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(lock_home(config.home))
        catalog = stack.enter_context(open_catalog(config.home, keeps_requests=config.log.requests))
        active = ActiveTransfers()
        shelf = Shelf(catalog, active)
        identity = load_or_create_identity(config.home / IDENTITY_NAME)
        listen = ANY_PORT if is_short_lived and not config.swarm.listen else None
        swarm = await stack.enter_async_context(open_swarm(config.swarm, identity, listen=listen))
        # A node that lives for one command would only leave holes in the tables of others.
        dht = make_networks(swarm, config.swarm, serve=not is_short_lived)
        announcing = Announcing(dht, catalog, is_busy=lambda: active.is_busy)
        limits = config.limits
        uploads = stack.enter_context(Uploads(limits.upload, limits.upload_per_peer).pacing())
        bitswap = await stack.enter_async_context(open_bitswap(swarm, shelf, uploads))
        finder = Finder(swarm, dht, _open_routers(stack, config), bitswap)
        loop = asyncio.get_running_loop()

        def on_asked(peer_id: str, roots: Sequence[Cid]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(finder.asked_by, peer_id, roots)

        door = Door()
        office = TicketOffice(shelf, swarm.addresses, on_asked, door=door)
        peer_plane = await _open_peer_plane(
            stack, config, shelf, office, uploads, is_short_lived, door
        )
        swarm.serve(tickets.PROTOCOL, office.answer, max_request_bytes=tickets.MAX_REQUEST_BYTES)
        pace, recorder = pace_of(limits.download), open_recorder(catalog, config)
        wake = announcing.wake
        ports = GetPorts(catalog, shelf, active, finder, wake, pace, recorder, bitswap.source)
        patience_s = MEET_S if is_short_lived and _may_meet(config) else 0.0
        hub = await _open_hub(stack, config, swarm, ports, patience_s)
        alerts = stack.enter_context(
            open_alerts(ports, config, hub.origins, swarm.peer_id, lambda: dht.table_size > 0)
        )
        meet = functools.partial(finder.meet, patience_s=patience_s)
        names = await stack.enter_async_context(
            open_names(
                catalog,
                identity,
                dht,
                meet,
                goes_on=not is_short_lived,
                router_urls=config.routing.delegated,
            )
        )
        gateway, page = "", None
        if not is_short_lived:

            def connected() -> tuple[int, int]:
                return len(swarm.links()), dht.table_size

            lookups = Lookups(swarm, dht, finder)
            numbers = NodeNumbers(
                catalog, recorder, uploads, connected, __version__, alerts.counts,
                functools.partial(sync_numbers, catalog, config),
            )  # fmt: skip
            page = Page(numbers, config)
            parts = GatewayParts(shelf, numbers, hub, names.resolver, swarm, lookups, door, page)
            gateway = await stack.enter_async_context(open_gateway(config, parts))
        sharing = CacheSharing(hub)
        keeping = await stack.enter_async_context(open_keeping(ports, hub, swarm, config.storage))
        node = Node(
            config,
            catalog,
            swarm,
            dht,
            announcing,
            ports,
            uploads,
            hub,
            sharing,
            names,
            keeping,
            open_syncing(ports, hub, swarm, config, lambda: door.is_closed),
            alerts,
            peer_plane,
            gateway,
            door,
            await stack.enter_async_context(AsyncExitStack()),
            started_at=time.monotonic(),
        )
        run = await stack.enter_async_context(_background())
        run(dht.run(becomes_server=not is_short_lived))
        run(announcing.run())
        if not is_short_lived:
            run(names.publisher.run())
            run(keeping.run())
            run(node.syncing.run())
            run(alerts.run())
        run(fingerprint_files(catalog, active, announcing.wake))
        nearby = NearbyPeers(swarm)
        run(nearby.run())
        if config.swarm.mdns:
            await node.discovery.enter_async_context(open_mdns(swarm, nearby.found))
        verbs = NodeVerbs(ports, config, hub, sharing, names, status=node.status, peers=node.peers)
        control = bind_control(config.home)
        stack.callback(lambda: socket_path(config.home).unlink(missing_ok=True))
        more_verbs = (
            KeepVerbs(keeping, config, wake),
            SyncVerbs(node.syncing),
            AlertVerbs(alerts, config),
        )
        table = dict(verbs.table())
        for more in more_verbs:
            table |= more.table()
        if page is not None:
            run(page.run(table))
        await stack.enter_async_context(listening(make_control(table, door), control))
        yield node


async def serve(
    config: Config,
    *,
    ready: Callable[[dict[str, Any]], None],
    stop: asyncio.Event,
    at_once: asyncio.Event | None = None,
    tell: Callable[[str], None] = log.info,
) -> None:
    """Run a node until `stop` is set, and what is under way then for `service.drain_s` more.

    Args:
        ready: Told the READY record once all listeners are open.
        at_once: Ends that waiting; None for never.
        tell: Told in a line what is waited for at the end.

    Raises:
        HomeLocked: Another process owns this home.
        ConfigError: An address cannot be used.
    """
    kept_out = contextlib.nullcontext() if config.log.requests else withholding()
    with kept_out:
        await _serve_node(config, ready, stop, at_once or asyncio.Event(), tell)


async def _serve_node(
    config: Config,
    ready: Callable[[dict[str, Any]], None],
    stop: asyncio.Event,
    at_once: asyncio.Event,
    tell: Callable[[str], None],
) -> None:
    async with open_node(config) as node:
        sharing = asyncio.create_task(_share(node))
        sharing.add_done_callback(functools.partial(_note_share_end, node.door))
        node.door.open()
        ready(node.ready_record())
        try:
            await stop.wait()
        finally:
            sharing.cancel()
            await asyncio.gather(sharing, return_exceptions=True)
        await drain(
            node.door,
            node.downloads,
            node.discovery.aclose,
            limit_s=config.service.drain_s,
            at_once=at_once,
            tell=tell,
        )


def _note_share_end(door: Door, sharing: asyncio.Task[None]) -> None:
    if not sharing.cancelled() and (crash := sharing.exception()) is not None:
        log.error("shared folders are not looked after any more error=%r", crash)
        door.set_trouble("share", f"shared folders are not looked after any more: {crash!r}")


async def _share(node: Node) -> None:
    """Share what the configuration says; a path that fails does not stop the others.

    Does not end when there are caches of the Hub's clients: what is new in them is shared, too.
    """

    def share(text: str, progress: Callable[[Event], None]) -> None:
        try:
            request = AddRequest([Path(text).expanduser().absolute()])
            if looks_like_cache(request.paths[0]):
                raise TargetError(f"{text} is a cache of the Hub's clients; write hf-cache:{text}")
            for added in add_paths(node.catalog, request, progress):
                log.info("path shared cid=%s", added.cid)
        except (MirrorError, OSError, RuntimeError) as exc:
            log.warning("path not shared reason=%s", exc)

    caches = []
    for text in node.config.share:
        if (cache := cache_of(text)) is not None:
            caches.append(cache)
            continue
        await in_thread(functools.partial(share, text), lambda _: None)
        node.ports.announce()
    if caches:
        await node.sharing.keep_shared(caches)


async def _open_peer_plane(
    stack: AsyncExitStack,
    config: Config,
    shelf: Shelf,
    office: TicketOffice,
    uploads: Uploads,
    is_short_lived: bool,
    door: Door,
) -> str:
    address = parse_address(
        config.peer_plane.address, "peer_plane.address", "0.0.0.0", DEFAULT_PEER_PLANE_PORT
    )
    if is_short_lived and address.is_default:
        address = Address(address.host, 0, is_default=True)
    sock = bind(address, "peer_plane.address")
    if config.peer_plane.plain:
        port = await stack.enter_async_context(serving(sock, shelf, office, None, uploads, door))
        office.open_at("http", port, b"")
        return f"http://{_shown(address.host)}:{port}"
    certificate = load_or_create_certificate(config.home)
    port = await stack.enter_async_context(
        serving(sock, shelf, office, certificate.context, uploads, door)
    )
    office.open_at("https", port, certificate.sha256)
    return f"https://{_shown(address.host)}:{port}"


def _open_routers(stack: AsyncExitStack, config: Config) -> DelegatedRouters | None:
    urls = config.routing.delegated
    if not urls:
        return None
    return DelegatedRouters(urls, stack.enter_context(open_router_http()))


async def _open_hub(
    stack: AsyncExitStack, config: Config, swarm: Swarm, ports: GetPorts, patience_s: float
) -> HubParts:
    own_name = new_name()
    origins = open_origins(config.origin, own_name)
    words = PeerWords(ports.catalog, swarm, config.hub)
    swarm.serve(
        hub_peer.PROTOCOL,
        words.answer,
        max_request_bytes=hub_peer.MAX_QUESTION_BYTES,
        max_concurrent=MAX_ANSWERING,
    )
    names = HubNames(ports.catalog, origins, config.hub, ask_peers=words.ask)
    stack.callback(names.close)
    access = HubAccess(ports.catalog, origins, names, config.hub)
    stack.callback(access.close)
    files = await stack.enter_async_context(
        open_hub_files(ports, origins, config.home, access.refused)
    )
    return HubParts(
        catalog=ports.catalog,
        names=names,
        access=access,
        files=files,
        origins=origins,
        settings=config.hub,
        site=(config.origin or (OriginConfig(),))[0].url.rstrip("/"),
        own_name=own_name,
        announce=ports.announce,
        meet=functools.partial(ports.finder.meet, patience_s=patience_s),
    )


def _may_meet(config: Config) -> bool:
    """Tell whether a node that was started just now may be about to find others."""
    return config.swarm.mdns or bool(config.swarm.bootstrap)


@asynccontextmanager
async def _background() -> AsyncIterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """Yield what starts endless tasks; they end with the block, a crash of one ends the block.

    Not a TaskGroup, which would wrap every error of the block in an ExceptionGroup.
    """
    body = asyncio.current_task()
    assert body is not None
    tasks: list[asyncio.Task[None]] = []
    crashes: list[BaseException] = []

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (crash := task.exception()) is not None:
            crashes.append(crash)
            body.cancel()

    def run(work: Coroutine[Any, Any, None]) -> None:
        tasks.append(asyncio.create_task(work))
        tasks[-1].add_done_callback(ended)

    try:
        yield run
    except asyncio.CancelledError:
        if crashes:
            raise crashes[0] from None
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host

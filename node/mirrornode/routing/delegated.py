"""Delegated routers: HTTP servers that are asked who has a CID and where a peer is.

All configured routers are asked in parallel; one that fails rests, longer each time. A router's
word is never believed: content is checked by its hash, a peer by its key. It is not believed in
where it sends us either: loopback only from a router on this machine, no link-local addresses, no
names to resolve but those of https gateways, and not many of anything.

HTTP itself is spoken by `sources.router_http`. Spec: ipfs/specs routing/http-routing-v1.md.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from mirrornode.errors import MirrorError, SourceRefused
from mirrornode.routing.kad.addresses import Reach, reach_of
from mirrornode.wire.http_address import gateway_url, is_http
from mirrornode.wire.multiaddr import ip_of

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.wire.routing_v1 import RoutingRecord

log = logging.getLogger(__name__)

MAX_PROVIDERS: Final = 100  # of one question, from all routers together
MAX_ADDRESSES: Final = 8  # of one peer that are used
MAX_GATEWAYS: Final = 3  # of one peer that are used
REST_S: Final = 5.0  # after a first failure, doubled with each further one
MAX_REST_S: Final = 300.0
FILTER: Final = "filter-protocols=unknown,transport-bitswap,transport-ipfs-gateway-http"
PEER_KEPT_S: Final = 60.0  # where a peer is, known or not
MAX_KEPT_PEERS: Final = 256


class RouterPort(Protocol):
    """Speaks HTTP with routers."""

    def ask(self, url: str, path: str, key: str) -> AsyncGenerator[RoutingRecord, None]:
        """Yield the records of an answer as they come; bounded in bytes, records and time.

        Args:
            url: Of the router.
            path: Below it, with its query.
            key: Under which a JSON answer lists the records.

        Raises:
            SourceError: The router failed.
            RemoteProtocolError: Its answer is malformed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Provider:
    """Who a router says has a CID, as far as we would follow.

    Attributes:
        peer_id: Base58 text.
        addresses: Multiaddrs to dial by libp2p, without /p2p.
        gateways: URLs of HTTP gateways of the peer.
    """

    peer_id: str
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()


@dataclass(slots=True)
class _Router:
    url: str
    is_local: bool
    failures: int = 0
    rests_until: float = 0.0


class DelegatedRouters:
    """The routers of one node. Belongs to one event loop."""

    def __init__(
        self,
        urls: Sequence[str],
        http: RouterPort,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nobody is asked yet.

        Args:
            urls: Of servers that answer `/routing/v1`, written with or without that path.
            http: Asks them.
            clock: Seconds, for rests after failures.
        """
        bases = dict.fromkeys(url.rstrip("/").removesuffix("/routing/v1") for url in urls)
        self._routers = [_Router(url, _is_local(url)) for url in bases]
        self._http = http
        self._clock = clock
        self._peers: OrderedDict[str, tuple[float, tuple[str, ...]]] = OrderedDict()

    async def find_providers(self, cid: Cid) -> AsyncGenerator[Provider, None]:
        """Yield who has `cid` as the routers tell, at most `MAX_PROVIDERS`, each word once."""
        told: set[Provider] = set()
        path = f"/routing/v1/providers/{cid}?{FILTER}"
        async with aclosing(self._ask_all(path, "Providers")) as found:
            async for provider in found:
                if provider not in told:
                    told.add(provider)
                    yield provider
                if len(told) == MAX_PROVIDERS:
                    return

    async def find_peer(self, peer_id: str) -> tuple[str, ...]:
        """Return where a peer can be dialled, as the first router that knows it says."""
        kept = self._peers.get(peer_id)
        if kept is not None and self._clock() - kept[0] < PEER_KEPT_S:
            return kept[1]
        addresses: tuple[str, ...] = ()
        async with aclosing(self._ask_all(f"/routing/v1/peers/{peer_id}", "Peers")) as found:
            async for provider in found:
                if provider.peer_id == peer_id and provider.addresses:
                    addresses = provider.addresses
                    break
        self._peers[peer_id] = self._clock(), addresses
        self._peers.move_to_end(peer_id)
        while len(self._peers) > MAX_KEPT_PEERS:
            self._peers.popitem(last=False)
        return addresses

    async def _ask_all(self, path: str, key: str) -> AsyncGenerator[Provider, None]:
        """Ask all routers that do not rest, at the same time; close it to stop early."""
        now = self._clock()
        awake = [router for router in self._routers if router.rests_until <= now]
        if not awake:
            return
        found: asyncio.Queue[Provider | None] = asyncio.Queue(maxsize=MAX_PROVIDERS)
        asking = [asyncio.create_task(self._ask(one, path, key, found)) for one in awake]
        working = len(asking)
        try:
            while working:
                provider = await found.get()
                if provider is None:
                    working -= 1
                else:
                    yield provider
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def _ask(
        self, router: _Router, path: str, key: str, found: asyncio.Queue[Provider | None]
    ) -> None:
        try:
            async with aclosing(self._http.ask(router.url, path, key)) as records:
                async for record in records:
                    provider = _followed(record, allow_loopback=router.is_local)
                    if provider is not None:
                        await found.put(provider)
        except MirrorError as exc:
            self._failed(router, exc)
        except Exception:
            log.exception("asking a router failed router=%s", _shown(router.url))
        else:
            if router.failures:
                log.info("router is back router=%s", _shown(router.url))
            router.failures = 0
        await found.put(None)

    def _failed(self, router: _Router, reason: MirrorError) -> None:
        router.failures += 1
        rest_s = REST_S * 2 ** min(router.failures - 1, 16)
        if isinstance(reason, SourceRefused) and reason.retry_after_s is not None:
            rest_s = max(rest_s, reason.retry_after_s)
        router.rests_until = self._clock() + min(rest_s, MAX_REST_S)
        level = logging.WARNING if router.failures == 1 else logging.DEBUG
        log.log(level, "router failed router=%s reason=%s", _shown(router.url), reason)


def _followed(record: RoutingRecord, *, allow_loopback: bool) -> Provider | None:
    """Return where we would follow a router's word, None when nothing of it may be used."""
    urls = [gateway_url(each, allow_loopback=allow_loopback) for each in record.addresses]
    gateways = tuple(dict.fromkeys(url for url in urls if url is not None))[:MAX_GATEWAYS]
    addresses = tuple(
        address
        for address in record.addresses
        if not is_http(address) and _may_dial(address, allow_loopback=allow_loopback)
    )[:MAX_ADDRESSES]
    if record.addresses and not addresses and not gateways:
        return None
    return Provider(record.peer_id, addresses, gateways)


def _may_dial(address: str, *, allow_loopback: bool) -> bool:
    reach = reach_of(address)
    if reach is Reach.MACHINE:
        return allow_loopback
    host = ip_of(address)
    # A link-local address means another machine to each who reads it; and clouds have one.
    return (
        reach in (Reach.LAN, Reach.WORLD)
        and bool(host)
        and not ipaddress.ip_address(host).is_link_local
    )


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shown(url: str) -> str:
    """Return a router's URL without a login in it, for the log."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

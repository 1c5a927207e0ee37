"""Puts the faces of the gateway together and opens its listener."""

from __future__ import annotations

import functools
import ipaddress
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirrornode.config import DEFAULT_GATEWAY_PORT
from mirrornode.errors import ConfigError
from mirrornode.gateway.access import GatewayAccess, load_or_create_token
from mirrornode.gateway.credentials import parse_address as parse_ip
from mirrornode.gateway.gateway import make_gateway
from mirrornode.gateway.health import HealthRoutes
from mirrornode.gateway.hub import HubEndpoint
from mirrornode.gateway.hub_ports import HubPorts
from mirrornode.gateway.listeners import bind, listening, parse_address
from mirrornode.gateway.node_card import NodeCardRoute
from mirrornode.gateway.routing_ipns import IpnsRoutes
from mirrornode.gateway.routing_v1 import RoutingRoutes
from mirrornode.gateway.routing_v1_answers import OwnContent, RoutingAnswers, gateway_addresses
from mirrornode.mirror.hub.licence import check_licence
from mirrornode.sources.web import public_url, split_url
from mirrornode.transfer.pacing import HUB_ENDPOINT

if TYPE_CHECKING:
    from mirrornode.config import Config
    from mirrornode.gateway.door import Door
    from mirrornode.gateway.node_numbers import NodeNumbers
    from mirrornode.gateway.page import Page
    from mirrornode.gateway.routing_v1_lookups import Lookups
    from mirrornode.mirror.hub.parts import HubParts
    from mirrornode.mirror.ipns import NameResolver
    from mirrornode.mirror.shelf import Shelf
    from mirrornode.swarm.node import Swarm

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """What the gateway shows of a node."""

    shelf: Shelf
    numbers: NodeNumbers
    hub: HubParts
    names: NameResolver
    swarm: Swarm
    lookups: Lookups
    door: Door
    page: Page


@asynccontextmanager
async def open_gateway(config: Config, parts: GatewayParts) -> AsyncIterator[str]:
    """Serve the gateway for the length of the block; yields its URL.

    Raises:
        ConfigError: Its address cannot be used, or is that of an origin.
    """
    # Only here: a node that lives for one command has no gateway, and need not load Prometheus.
    from mirrornode.gateway.metrics import Metrics

    numbers, uploads = parts.numbers, parts.numbers.uploads
    address = parse_address(
        config.gateway.address, "gateway.address", "127.0.0.1", DEFAULT_GATEWAY_PORT
    )
    access = _open_access(config, address.host)
    sock = bind(address, "gateway.address")
    try:
        _refuse_own_address(config, sock.getsockname())
    except ConfigError:
        sock.close()
        raise
    hub = parts.hub
    check = functools.partial(check_licence, hub.settings)
    has_rules = bool(hub.settings.licence_allow or hub.settings.licence_deny)
    note_sent = functools.partial(uploads.note_sent, face=HUB_ENDPOINT)
    ports = HubPorts(
        hub.names, hub.access, hub.files, check, note_sent=note_sent, has_licence_rules=has_rules
    )
    endpoint = HubEndpoint(ports, hub.own_name, prefix=config.gateway.hub_prefix)
    own = OwnContent(parts.shelf, gateway_addresses(sock))
    app = make_gateway(
        parts.shelf,
        address.host,
        uploads,
        endpoint,
        RoutingRoutes(RoutingAnswers(parts.swarm, parts.lookups, own)),
        names=parts.names,
        door=parts.door,
        health=HealthRoutes(parts.door, hub.catalog),
        ipns=IpnsRoutes(parts.names, allow_puts=config.ipns.allow_puts),
        metrics=Metrics(numbers),
        recorder=numbers.recorder,
        access=access,
        card=NodeCardRoute(parts.swarm),
        page=parts.page,
    )
    async with listening(app, sock) as port:
        host = f"[{address.host}]" if ":" in address.host else address.host
        yield f"http://{host}:{port}"


def _refuse_own_address(config: Config, place: Sequence[object]) -> None:
    """Refuse an origin that is plainly this gateway; others are noticed when they are asked.

    Args:
        place: Host and port that the gateway listens on.
    """
    host, port = str(place[0]), place[1]
    own = {host, "localhost"}
    if ipaddress.ip_address(host).is_unspecified or ipaddress.ip_address(host).is_loopback:
        own |= {"127.0.0.1", "::1", "0.0.0.0", "::"}
    for origin in config.origin:
        there = split_url(origin.url)[0]
        if there.scheme == "http" and there.port == port and there.host in own:
            raise ConfigError(
                f"the origin {public_url(origin.url)} is this node itself: an origin is where the "
                "node gets what it lacks, such as https://huggingface.co",
                key="origin.url",
            )


def _open_access(config: Config, host: str) -> GatewayAccess:
    """Return who may ask, out of the settings and the node's own token, made at its first start."""
    access = GatewayAccess(
        config.gateway, home=config.home, host=host, own_token=load_or_create_token(config.home)
    )
    ip = parse_ip(host)
    if not access.is_restricted and host != "localhost" and (ip is None or not ip.is_loopback):
        log.warning("gateway open to everybody who reaches it: see gateway.allow, gateway.tokens")
    return access

"""The gateway: plain HTTP for tools on this machine: content by CID, who has it, the Hub endpoint.

Loopback by default. Who may ask is up to `gateway.access`, which also checks the Host header, so
that a web page in a browser cannot reach it under a name of its own (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from mirrornode.gateway.access import GatewayAccess, guard
from mirrornode.gateway.door import ANSWER, RETRY_AFTER_S, Door
from mirrornode.gateway.health import PATHS as HEALTH_PATHS
from mirrornode.gateway.health import HealthRoutes
from mirrornode.gateway.hub_api import MAX_BODY_BYTES
from mirrornode.gateway.ipfs_routes import IpfsRoutes
from mirrornode.gateway.page import EVENTS_PATH

if TYPE_CHECKING:
    from mirrornode.gateway.hub import HubEndpoint
    from mirrornode.gateway.ipfs_names import NameResolver
    from mirrornode.gateway.metrics import Metrics
    from mirrornode.gateway.node_card import NodeCardRoute
    from mirrornode.gateway.page import Page
    from mirrornode.gateway.routing_ipns import IpnsRoutes
    from mirrornode.gateway.routing_v1 import RoutingRoutes
    from mirrornode.mirror.recording import Recorder
    from mirrornode.mirror.shelf import Shelf
    from mirrornode.transfer.pacing import Uploads

# A page that is open keeps nobody from ending, and shows until the end what is waited for.
UNCOUNTED_PATHS = frozenset({*HEALTH_PATHS, EVENTS_PATH})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_gateway(
    shelf: Shelf,
    host: str,
    uploads: Uploads,
    hub: HubEndpoint | None = None,
    routing: RoutingRoutes | None = None,
    *,
    names: NameResolver | None = None,
    ipns: IpnsRoutes | None = None,
    metrics: Metrics | None = None,
    recorder: Recorder | None = None,
    door: Door | None = None,
    health: HealthRoutes | None = None,
    access: GatewayAccess | None = None,
    card: NodeCardRoute | None = None,
    page: Page | None = None,
) -> web.Application:
    """Return the gateway's application.

    Args:
        host: The address it listens on.
        names: Resolves what is asked for under `/ipns/`; None for a gateway without.
        metrics: Answers `/metrics`; None for a gateway without.
        recorder: Counts what was asked for, and whether it was here.
        door: Tells when new requests are to be turned away; None for never.
        health: Answers supervisors; None for one that looks at the door only.
        access: Who may ask; None: everybody.
        card: Tells where the node is; None for a gateway that does not.
        page: Shows the node to people; None for a gateway without.
    """

    entrance = door or Door()

    @web.middleware
    async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in UNCOUNTED_PATHS:
            return await handler(request)
        if entrance.is_closed:
            raise web.HTTPServiceUnavailable(
                text="this node is ending; ask again later, or another one\n",
                headers={"Retry-After": str(RETRY_AFTER_S), "Connection": "close"},
            )
        with entrance.inside(ANSWER):
            return await handler(request)

    app = web.Application(middlewares=[counted], client_max_size=MAX_BODY_BYTES)
    access = access or GatewayAccess(host=host)
    guard(app, access)
    # At the top, the endpoint of the Hub has paths of its own below ours.
    otherwise = hub.answer if hub is not None and not hub.prefix else None
    IpfsRoutes(shelf, uploads, names, otherwise=otherwise, recorder=recorder).add_to(app)
    if ipns is not None:  # before whatever takes the rest of /routing/v1
        ipns.add_to(app)
    (health or HealthRoutes(entrance, None)).add_to(app)
    if routing is not None:
        routing.add_to(app)
    if metrics is not None:
        metrics.add_to(app)
    if card is not None:
        card.add_to(app)
    if page is not None:
        page.add_to(app, access, otherwise)
    if hub is not None:
        hub.add_to(app)
    return app

"""A running Hub endpoint on loopback, for tests: as the gateway has it, Host check and all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mirrornode.gateway.gateway import make_gateway
from mirrornode.gateway.hub import ANSWER_TIMEOUT_S, HubEndpoint
from mirrornode.gateway.hub_ports import HubPorts
from mirrornode.gateway.listeners import Address, bind, listening
from mirrornode.mirror.shelf import Shelf
from mirrornode.transfer.pacing import Uploads
from support.planes import LOOPBACK


@asynccontextmanager
async def open_endpoint(
    shelf: Shelf,
    ports: HubPorts,
    *,
    prefix: str = "",
    answer_timeout_s: float = ANSWER_TIMEOUT_S,
    own_name: str = "0123456789abcdef",
) -> AsyncIterator[str]:
    """Serve the endpoint; yields what HF_ENDPOINT would be."""
    hub = HubEndpoint(ports, own_name, prefix=prefix, answer_timeout_s=answer_timeout_s)
    sock = bind(Address(LOOPBACK, 0, is_default=False), "gateway.address")
    async with listening(make_gateway(shelf, LOOPBACK, Uploads(), hub), sock) as port:
        yield f"http://{LOOPBACK}:{port}{prefix}"

"""Our own HTTP faces over one catalog, in this process: gateway and peer plane."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mirrornode.content.cid import Cid
from mirrornode.gateway.certificate import load_or_create_certificate
from mirrornode.gateway.door import Door
from mirrornode.gateway.gateway import make_gateway
from mirrornode.gateway.ipfs_names import NameResolver
from mirrornode.gateway.listeners import Address, bind, listening
from mirrornode.gateway.peer_plane import TicketOffice
from mirrornode.gateway.plane_server import serving
from mirrornode.mirror.active import ActiveTransfers
from mirrornode.mirror.shelf import Shelf
from mirrornode.store.catalog import Catalog
from mirrornode.store.home import make_home
from mirrornode.transfer.pacing import Uploads
from mirrornode.wire.ticket import Ticket, decode_ticket, encode_request
from support.models import Model

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Plane:
    """A running peer plane."""

    office: TicketOffice
    port: int

    async def ticket(self, roots: Sequence[Cid] = (), peer_id: str = "12D3KooAsker") -> Ticket:
        """Return what the office hands to an asker."""
        answer = await self.office.answer(peer_id, encode_request(roots))
        assert answer is not None
        return decode_ticket(answer, roots)


@dataclass(frozen=True)
class Shared:
    """A model that a catalog shares in place."""

    catalog: Catalog
    model: Model
    path: Path


def shelf_of(catalog: Catalog, active: ActiveTransfers | None = None) -> Shelf:
    return Shelf(catalog, active or ActiveTransfers())


@asynccontextmanager
async def open_plane(
    shelf: Shelf,
    home: Path,
    *,
    hosts: Callable[[], list[str]] = lambda: [f"/ip4/{LOOPBACK}/tcp/4101"],
    plain: bool = False,
    uploads: Uploads | None = None,
    door: Door | None = None,
    on_asked: Callable[[str, Sequence[Cid]], None] = lambda peer, roots: None,
) -> AsyncIterator[Plane]:
    """Serve the peer plane of a shelf on loopback."""
    office = TicketOffice(shelf, hosts, on_asked, door=door)
    make_home(home)
    certificate = await asyncio.to_thread(load_or_create_certificate, home)
    sock = bind(Address(LOOPBACK, 0, is_default=False), "peer_plane.address")
    context = None if plain else certificate.context
    uploads = uploads or Uploads()
    async with serving(sock, shelf, office, context, uploads, door) as port:
        office.open_at("http" if plain else "https", port, b"" if plain else certificate.sha256)
        yield Plane(office, port)


@asynccontextmanager
async def open_gateway(shelf: Shelf, *, names: NameResolver | None = None) -> AsyncIterator[str]:
    """Serve the gateway of a shelf on loopback; yields its URL."""
    sock = bind(Address(LOOPBACK, 0, is_default=False), "gateway.address")
    async with listening(make_gateway(shelf, LOOPBACK, Uploads(), names=names), sock) as port:
        yield f"http://{LOOPBACK}:{port}"

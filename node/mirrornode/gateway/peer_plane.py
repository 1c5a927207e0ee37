"""Tickets: who may use the peer plane, and what there is for them.

Every request to the peer plane needs a bearer that was handed out over libp2p to the peer that uses
it. The server itself is `plane_server`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mirrornode.errors import RemoteProtocolError
from mirrornode.gateway.door import Door
from mirrornode.wire import batch
from mirrornode.wire import ticket as tickets
from mirrornode.wire.multiaddr import ip_of
from mirrornode.wire.ticket import Ticket

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.mirror.shelf import Shelf


class TicketOffice:
    """Hands out tickets over libp2p and checks their bearers on the peer plane."""

    def __init__(
        self,
        shelf: Shelf,
        addresses: Callable[[], list[str]],
        on_asked: Callable[[str, Sequence[Cid]], None],
        *,
        door: Door | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; `open_at` must be called before the first ticket.

        Args:
            addresses: The multiaddrs this node is reachable at now.
            on_asked: Told, from any thread, which peer asked for which roots.
            door: While it is closed there are no tickets; None for one that never is.
            clock: Seconds. Bearers live no longer than this process, so they need no date, and a
                date that jumps must lock nobody out.
        """
        self._shelf = shelf
        self._addresses = addresses
        self._on_asked = on_asked
        self._door = door or Door()
        self._clock = clock
        self._secret = secrets.token_bytes(32)  # a restart ends all bearers; peers ask anew
        self._scheme, self._port, self._pin = "https", 0, b""

    def open_at(self, scheme: str, port: int, pin: bytes) -> None:
        """Tell where the peer plane listens and which certificate it shows."""
        self._scheme, self._port, self._pin = scheme, port, pin

    async def answer(self, peer_id: str, request: bytes) -> bytes | None:
        """Answer one ticket request; a malformed one gets none, nor does any of an ending node."""
        if self._door.is_closed:
            return None
        try:
            roots = tickets.decode_request(request)
        except RemoteProtocolError:
            return None
        holdings = await asyncio.to_thread(self._shelf.holdings, roots)
        self._on_asked(peer_id, roots)
        expires_at = self._clock() + tickets.BEARER_LIFE_S
        return tickets.encode_ticket(
            Ticket(
                self._scheme,
                self._port,
                tuple(_hosts(self._addresses())),
                self._pin,
                tickets.make_bearer(self._secret, peer_id, expires_at),
                tickets.BEARER_LIFE_S,
                holdings,
                batch.MAX_BLOCKS,
                self._shelf.claims.arriving(roots),
            )
        )

    def have(self, peer_id: str, roots: Sequence[Cid]) -> bytes:
        """Answer `POST /mirrornode/have`; blocking, called from any thread."""
        holdings = self._shelf.holdings(roots)
        self._on_asked(peer_id, roots)
        return tickets.encode_have(holdings)

    def admits(self, authorization: str) -> str | None:
        """Return whose bearer an `Authorization` header holds, None when it is none of ours."""
        kind, _, bearer = authorization.partition(" ")
        if kind.lower() != "bearer":
            return None
        return tickets.check_bearer(self._secret, bearer.strip(), self._clock())


def _hosts(addresses: list[str]) -> list[str]:
    """Return the IP addresses of multiaddrs, each once, in their order."""
    hosts = dict.fromkeys(filter(None, map(ip_of, addresses)))
    return list(hosts)[: tickets.MAX_HOSTS]

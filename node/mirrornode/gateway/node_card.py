"""`/mirrornode/v1/node`: who this node is, and where nodes that follow it can dial it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from mirrornode.wire.pinset import CARD_PATH, NodeCard, encode_card

if TYPE_CHECKING:
    from aiohttp.web import Application


class SwarmPort(Protocol):
    """What the card needs of the swarm."""

    @property
    def peer_id(self) -> str: ...
    def addresses(self) -> Sequence[str]: ...


class NodeCardRoute:
    """The route of the gateway."""

    def __init__(self, swarm: SwarmPort) -> None:
        self._swarm = swarm

    def add_to(self, app: Application) -> None:
        """Add the route."""
        app.router.add_get(CARD_PATH, self._answer, allow_head=True)

    async def _answer(self, request: web.Request) -> web.Response:
        card = NodeCard(self._swarm.peer_id, tuple(self._swarm.addresses()))
        return web.Response(body=encode_card(card), content_type="application/json")

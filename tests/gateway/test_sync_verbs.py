"""The verb `sync` and the card of a node, as a gateway and a control socket give them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mirrornode.errors import SourceError, SourceRefused, TargetError
from mirrornode.gateway.node_card import NodeCardRoute
from mirrornode.gateway.sync_verbs import sync_order
from mirrornode.sources.node_card import fetch_card
from mirrornode.wire.pinset import CARD_PATH, NodeCard

PEER = "12D3KooWBdfaMk7HBVdKKcqxbNXEHsVmwUQrhpVyrhQmY3V76h18"
ADDRESS = f"/ip4/10.0.0.5/tcp/4101/p2p/{PEER}"


class StillSwarm:
    """A node that listens at one place."""

    peer_id = PEER

    def addresses(self) -> list[str]:
        return [ADDRESS]


async def test_card_when_asked_for_by_url_then_where_the_node_is() -> None:
    app = web.Application()
    NodeCardRoute(StillSwarm()).add_to(app)
    async with TestServer(app, host="127.0.0.1") as server:
        url = str(server.make_url("/"))
        assert await asyncio.to_thread(fetch_card, url) == NodeCard(PEER, (ADDRESS,))
    with pytest.raises(SourceError):
        await asyncio.to_thread(fetch_card, url)


@pytest.mark.parametrize(
    ("status", "body"), [(404, b""), (200, b"<html>"), (200, b"{}"), (200, b"x" * 100_000)]
)
async def test_card_when_the_server_is_no_node_then_refused(status: int, body: bytes) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    app = web.Application()
    app.router.add_get(CARD_PATH, answer)
    async with TestServer(app, host="127.0.0.1") as server:
        with pytest.raises(SourceError) as caught:
            await asyncio.to_thread(fetch_card, str(server.make_url("")))
        assert isinstance(caught.value, SourceRefused) or len(body) > 65_536


def test_order_when_fields_are_right_then_taken() -> None:
    fields = {"targets": ["hf:org/name"], "from_node": "http://a", "dry_run": True, "delete": True}
    order = sync_order({**fields, "token": "hf_x"})
    assert (order.targets, order.from_node, order.token) == (("hf:org/name",), "http://a", "hf_x")
    assert order.is_dry_run
    assert order.deletes
    assert sync_order({}).targets == ()


@pytest.mark.parametrize(
    "fields",
    [{"targets": "hf:org/name"}, {"targets": ["x"] * 1001}, {"from_node": 1}, {"token": "\n"},
     {"dry_run": "yes"}],
)  # fmt: skip
def test_order_when_a_field_is_wrong_then_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(TargetError):
        sync_order(fields)

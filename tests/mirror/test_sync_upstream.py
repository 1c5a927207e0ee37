"""The node that is followed: met again when it comes back, wherever that is."""

from __future__ import annotations

from typing import cast

import pytest

from mirrornode.mirror.sync_upstream import SwarmPort, UpstreamPorts, reach
from mirrornode.store.catalog import Catalog
from mirrornode.wire.hub import Repo
from mirrornode.wire.pinset import NodeCard
from support.virtual_swarm import VirtualNet
from support.waiting import until


async def nobody(peer_id: str, repo: Repo, revision: str) -> None:
    """Answer no question about a repo."""


@pytest.mark.parametrize("is_named_by_url", [True, False])
async def test_followed_node_when_it_restarts_then_it_is_met_again(
    *, is_named_by_url: bool
) -> None:
    net = VirtualNet()
    taker, server = net.join("taker"), net.join("server")

    def card_of(url: str) -> NodeCard:
        return NodeCard(server.peer_id, tuple(server.addresses()))

    catalog = cast("Catalog", None)  # no repo is written down here
    ports = UpstreamPorts(catalog, cast("SwarmPort", taker), nobody, card_of)
    name = "http://10.0.0.5:8090" if is_named_by_url else server.addresses()[0]
    upstream = await reach(ports, name)
    assert server.peer_id in taker.linked

    def restart(address: str) -> None:
        net.kill(server.peer_id)
        assert server.peer_id not in taker.linked
        server.listen, server.is_up = [address], True

    async with upstream.kept(look_s=0.005):
        restart(server.listen[0])
        await until(lambda: server.peer_id in taker.linked)
        if is_named_by_url:
            restart("/ip4/10.0.9.9/tcp/4201")
            await until(lambda: server.peer_id in taker.linked)

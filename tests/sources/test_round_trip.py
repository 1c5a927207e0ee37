"""Round trips, as the kernel tells them: of every lane over a network, of no other."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from mirrornode.sources.http_file import HttpFileSource
from mirrornode.sources.local import LocalSource
from mirrornode.sources.peer import PeerSource
from mirrornode.sources.ports import Source, TimedLane
from mirrornode.sources.round_trip import round_trip_s
from mirrornode.sources.trustless_gateway import GatewaySource
from support.http_files import file_server
from support.models import Model, model_of
from support.planes import Shared, open_gateway, open_plane, shelf_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel does not tell")


def check(source: Source, model: Model) -> None:
    lane = source.open_lane()
    assert isinstance(lane, TimedLane)
    assert lane.round_trip_s is None
    lane.begin(model.file, 0, 1)
    assert lane.round_trip_s is not None
    assert 0 < lane.round_trip_s < 1
    lane.abort()
    assert lane.round_trip_s is None


async def test_lanes_over_a_network_know_their_round_trip(shared: Shared, tmp_path: Path) -> None:
    shelf = shelf_of(shared.catalog)
    async with open_plane(shelf, tmp_path / "plane") as plane, open_gateway(shelf) as url:
        for source in (PeerSource("12D3KooPeer", await plane.ticket()), GatewaySource(url)):
            await asyncio.to_thread(check, source, shared.model)


def test_file_server_has_one_too_and_a_disk_has_none(shared: Shared) -> None:
    model = model_of()
    with file_server({"m.bin": model.data}) as server:
        check(HttpFileSource(f"{server.url}/m.bin"), model)
    local = LocalSource(shared.catalog.find_leaves(model.file.map.multihashes))
    assert not isinstance(local.open_lane(), TimedLane)


def test_socket_that_is_closed_or_no_tcp_has_none() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert round_trip_s(left) is None
    assert round_trip_s(left) is None
    assert round_trip_s(None) is None

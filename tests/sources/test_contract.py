"""Every source and the fake one, against one contract."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from contracts.source import check_source
from mirrornode.content.recipe import recipe_from
from mirrornode.sources.http_file import HttpFileSource
from mirrornode.sources.local import LocalSource
from mirrornode.sources.peer import PeerSource
from mirrornode.sources.trustless_gateway import GatewaySource
from support.http_files import file_server
from support.models import model_of
from support.planes import Shared, open_gateway, open_plane, shelf_of
from support.scripted_source import ScriptedSource
from support.trustless import trustless_server


def test_scripted_source_keeps_the_contract() -> None:
    model = model_of()
    check_source(ScriptedSource("x", model), model)


@pytest.mark.parametrize("behaviour", ["", "redirect", "no-range"])
def test_http_file_keeps_the_contract(behaviour: str) -> None:
    model = model_of()
    words = [behaviour] if behaviour else []
    with file_server({"models/a b.bin": model.data}, *words) as server:
        check_source(HttpFileSource(f"{server.url}/models/a b.bin"), model)


def test_local_source_keeps_the_contract(shared: Shared) -> None:
    slices = shared.catalog.find_leaves(shared.model.file.map.multihashes)
    check_source(LocalSource(slices), shared.model)


@pytest.mark.parametrize("raw_leaves", [True, False])
def test_trustless_gateway_keeps_the_contract(raw_leaves: bool) -> None:
    recipe = recipe_from(chunker="size-1000", max_links=4, raw_leaves=raw_leaves)
    model = model_of(recipe=recipe)
    with trustless_server(model) as url:
        source = GatewaySource(url)
        check_source(source, model)
        assert not source.serves_files


async def test_our_gateway_keeps_the_contract(shared: Shared) -> None:
    async with open_gateway(shelf_of(shared.catalog)) as url:
        source = GatewaySource(url)
        await asyncio.to_thread(check_source, source, shared.model)
        assert source.serves_files


@pytest.mark.parametrize("plain", [False, True])
async def test_peer_keeps_the_contract(shared: Shared, tmp_path: Path, plain: bool) -> None:
    async with open_plane(shelf_of(shared.catalog), tmp_path / "plane", plain=plain) as plane:
        source = PeerSource("12D3KooPeer", await plane.ticket())
        await asyncio.to_thread(check_source, source, shared.model)

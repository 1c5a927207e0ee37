"""Sources of a `get` as they come, go and come back, with a real session behind them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from mirrornode.content.cid import Cid
from mirrornode.events import Note
from mirrornode.mirror.block_loader import BlockLoader
from mirrornode.mirror.mirror_choice import MirrorChoice
from mirrornode.mirror.source_feed import MAX_FOUND_GATEWAYS, SourceFeed
from mirrornode.routing.find import Finder, Found, FoundBlocks
from mirrornode.sources.bitswap import BitswapSource
from mirrornode.sources.bitswap_client import Conversation
from mirrornode.store.catalog import open_catalog
from support.models import LEAF, model_of
from support.planes import open_plane, shelf_of
from support.raw_server import Visit, raw_server
from support.shared_files import SMALL_CHUNKS, record
from support.transfers import PATIENT_S, Transfer
from support.trustless import trustless_server
from support.waiting import until

MODEL = model_of(50 * LEAF)
PEER = "12D3KooPeer"
AT_ONCE_S = 0.2


class ScriptedFinder:
    """Finds what a test puts in."""

    def __init__(self) -> None:
        self.found: asyncio.Queue[Found | FoundBlocks] = asyncio.Queue()
        self.on_gateway: Callable[[str], None] | None = None

    def look_again(self, root: Cid, other: Cid) -> None:
        """Nobody had nothing: all that was put in holds the target."""

    async def find(
        self,
        roots: Sequence[Cid],
        peers: Sequence[str] = (),
        on_gateway: Callable[[str], None] | None = None,
        on_looked: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[Found | FoundBlocks, None]:
        self.on_gateway = on_gateway
        while True:
            yield await self.found.get()


@dataclasses.dataclass
class Feeding:
    """A feed that runs, and what is around it."""

    feed: SourceFeed
    finder: ScriptedFinder
    loader: BlockLoader
    notes: list[Note]


@asynccontextmanager
async def feeding(
    *mirrors: str, blocks_of: Callable[[str], BitswapSource] | None = None
) -> AsyncIterator[Feeding]:
    finder, notes = ScriptedFinder(), list[Note]()
    loader = BlockLoader(lambda cid: None, lambda blocks: None, PATIENT_S)
    feed = SourceFeed(
        cast("Finder", finder), MODEL.root, loader, notes.append, blocks_of, probe_again_s=0.01
    )
    choice = MirrorChoice.of(mirrors, {}, {}, 0.0)
    task = asyncio.create_task(feed.run([], choice))
    try:
        yield Feeding(feed, finder, loader, notes)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        loader.close()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def test_peer_when_it_comes_back_at_another_port_then_it_delivers(tmp_path: Path) -> None:
    with open_catalog(tmp_path / "seed") as catalog, open_catalog(tmp_path / "taker") as taker:
        record(catalog, MODEL.write(tmp_path), SMALL_CHUNKS)
        async with open_plane(shelf_of(catalog), tmp_path / "plane") as plane, feeding() as around:
            ticket = await plane.ticket([MODEL.root])
            left = Found(PEER, dataclasses.replace(ticket, port=closed_port()), "")
            transfer = Transfer(taker, tmp_path, MODEL)
            around.feed.attach(MODEL.manifest)
            board = transfer.session.board
            running = asyncio.create_task(transfer.session.run(around.feed.offers(), PATIENT_S))
            around.finder.found.put_nowait(left)

            def has_failed() -> bool:
                try:
                    (state,) = board.snapshot([f"peer:{PEER}"]).sources
                except KeyError:
                    return False  # not admitted yet
                return bool(state.reason)

            await until(has_failed)
            around.finder.found.put_nowait(Found(PEER, ticket, ""))
            outcome = await running
    transfer.check()
    assert outcome.sources[0].received_bytes == len(MODEL.data)


async def test_peer_that_appears_late_is_used(tmp_path: Path) -> None:
    with open_catalog(tmp_path / "seed") as catalog, open_catalog(tmp_path / "taker") as taker:
        record(catalog, MODEL.write(tmp_path), SMALL_CHUNKS)
        async with open_plane(shelf_of(catalog), tmp_path / "plane") as plane, feeding() as around:
            transfer = Transfer(taker, tmp_path, MODEL)
            around.feed.attach(MODEL.manifest)
            running = asyncio.create_task(transfer.session.run(around.feed.offers(), PATIENT_S))
            await asyncio.sleep(0)
            assert not running.done()
            around.finder.found.put_nowait(Found(PEER, await plane.ticket([MODEL.root]), ""))
            await running
    transfer.check()


async def test_mirror_when_it_does_not_answer_at_first_then_asked_until_it_does() -> None:
    def down(visit: Visit) -> None:
        visit.head()

    with trustless_server(MODEL) as url, raw_server(down) as server:
        async with feeding(f"{server.url}/", url + "/") as around:
            await until(lambda: around.loader.has_sources)
            await until(lambda: server.connections > 2)
            texts = [note.text for note in around.notes]
    # Said once, not at every try.
    assert texts == [f"mirror {server.url} closed the connection without an answer"]
    assert around.loader.failures == {
        f"gateway:{server.url}": "closed the connection without an answer"
    }


async def test_source_when_it_sent_a_wrong_block_of_the_structure_then_not_asked_for_content(
    tmp_path: Path,
) -> None:
    with open_catalog(tmp_path / "seed") as catalog:
        record(catalog, MODEL.write(tmp_path), SMALL_CHUNKS)
        async with open_plane(shelf_of(catalog), tmp_path / "plane") as plane, feeding() as around:
            around.loader.bad_sources[f"peer:{PEER}"] = "sent wrong bytes"
            ticket = await plane.ticket([MODEL.root])
            around.finder.found.put_nowait(Found(PEER, ticket, ""))
            around.finder.found.put_nowait(Found("12D3KooOther", ticket, ""))
            around.feed.attach(MODEL.manifest)
            offer = await anext(around.feed.offers())
            assert offer.source.source_id == "peer:12D3KooOther"


async def found_gateways(around: Feeding, *urls: str) -> None:
    """Tell the feed of gateways, as delegated routers name them."""
    await until(lambda: around.finder.on_gateway is not None)
    assert around.finder.on_gateway is not None
    for url in urls:
        around.finder.on_gateway(url)


async def test_gateway_that_a_router_names_then_it_delivers(tmp_path: Path) -> None:
    with open_catalog(tmp_path / "taker") as taker, trustless_server(MODEL) as gateway:
        async with feeding() as around:
            transfer = Transfer(taker, tmp_path, MODEL)
            around.feed.attach(MODEL.manifest)
            running = asyncio.create_task(transfer.session.run(around.feed.offers(), PATIENT_S))
            await found_gateways(around, gateway, gateway)
            outcome = await running
    transfer.check()
    (state,) = outcome.sources  # named twice, used once
    assert (state.source_id, state.received_bytes) == (f"gateway:{gateway}", len(MODEL.data))


async def test_gateway_that_a_router_names_when_it_leads_elsewhere_then_not_followed() -> None:
    def there(visit: Visit) -> None:
        visit.head()

    with raw_server(there) as internal:

        def redirecting(visit: Visit) -> None:
            while visit.head():
                visit.answer(status="302 Found", headers=f"Location: {internal.url}/admin\r\n")

        with raw_server(redirecting) as gateway:
            async with feeding() as around:
                await found_gateways(around, gateway.url)
                await until(lambda: bool(gateway.requests))
            assert internal.connections == 0


async def test_gateways_that_routers_name_when_very_many_then_few_are_asked() -> None:
    def behaviour(visit: Visit) -> None:
        while visit.head():
            visit.answer(status="404 Not Found")

    with contextlib.ExitStack() as stack:
        count = MAX_FOUND_GATEWAYS + 4
        servers = [stack.enter_context(raw_server(behaviour)) for _ in range(count)]
        async with feeding() as around:
            await found_gateways(around, *(server.url for server in servers))

            def asked() -> int:
                return sum(len(server.requests) for server in servers)

            await until(lambda: asked() >= MAX_FOUND_GATEWAYS)
            await found_gateways(around, *(server.url for server in servers))
        assert asked() == MAX_FOUND_GATEWAYS


def silent(peer_id: str) -> Conversation:
    raise AssertionError("nothing is asked here")


async def test_peer_that_has_blocks_is_offered_once_it_is_known_and_what_lies_is_not() -> None:
    async with feeding(blocks_of=lambda peer_id: BitswapSource(peer_id, silent)) as around:
        around.loader.bad_sources["bitswap:12D3KooLiar"] = "sent wrong bytes"
        around.finder.found.put_nowait(FoundBlocks("12D3KooLiar"))
        around.finder.found.put_nowait(FoundBlocks(PEER))
        await until(lambda: around.loader.has_sources)
        around.feed.attach(MODEL.manifest)
        offer = await anext(around.feed.offers())
        assert (offer.source.source_id, offer.available) == (f"bitswap:{PEER}", None)


async def test_peer_that_has_blocks_only_is_left_out_where_tickets_are_needed(
    tmp_path: Path,
) -> None:
    with open_catalog(tmp_path / "seed") as catalog:
        record(catalog, MODEL.write(tmp_path), SMALL_CHUNKS)
        async with open_plane(shelf_of(catalog), tmp_path / "plane") as plane, feeding() as around:
            around.finder.found.put_nowait(FoundBlocks(PEER))
            around.finder.found.put_nowait(Found(PEER, await plane.ticket([MODEL.root]), ""))
            around.feed.attach(MODEL.manifest)
            offer = await anext(around.feed.offers())
            assert offer.source.source_id == f"peer:{PEER}"

"""`/routing/v1` over real HTTP: what is told to whom, in which form, and what it may cost."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from mirrornode.content.cid import Cid
from mirrornode.errors import LocalProtocolError
from mirrornode.gateway.listeners import Address, bind
from mirrornode.gateway.routing_v1 import MAX_CLOSEST, MAX_OPEN_PER_HOST, RoutingRoutes
from mirrornode.gateway.routing_v1_answers import (
    OwnContent,
    RoutingAnswers,
    gateway_addresses,
    is_local_asker,
)
from mirrornode.gateway.routing_v1_lookups import KEPT_S, MAX_LOOKUPS, Lookups
from mirrornode.routing.find import Found
from mirrornode.routing.kad.node import ProviderRecord
from mirrornode.swarm.links import PeerLink
from mirrornode.wire.ticket import Holding, Ticket
from support.planes import Shared, shelf_of
from support.shared_files import overwrite
from support.virtual_swarm import make_peer_id
from support.waiting import until

Client = TestClient[web.Request, web.Application]

OWN = make_peer_id("own")
FRIEND = make_peer_id("friend")
STRANGER = make_peer_id("stranger")
UNKNOWN = Cid.raw_sha256(b"z" * 32)
STREAM = {"Accept": "application/x-ndjson"}
HTTP = ("/ip4/192.168.7.1/tcp/8090/http", "/ip4/127.0.0.1/tcp/8090/http")
LISTEN = ("/ip4/192.168.7.1/tcp/4101", "/ip4/127.0.0.1/tcp/4101")


@dataclass
class Around:
    """The node's surroundings, as a test wants them: swarm, DHT and connected peers in one."""

    peer_id: str = OWN
    listen: Sequence[str] = LISTEN
    links: dict[str, PeerLink] = field(default_factory=dict)
    served: set[str] = field(default_factory=set)
    holders: dict[Cid, list[str]] = field(default_factory=dict)
    dht: dict[bytes, list[ProviderRecord]] = field(default_factory=dict)
    nearest: list[ProviderRecord] = field(default_factory=list)
    where: dict[str, list[str]] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)  # the DHT's last word waits for it
    asked: int = 0
    gone: int = 0
    now: float = 0.0

    def addresses(self) -> list[str]:
        return [f"{address}/p2p/{OWN}" for address in self.listen]

    def protocols(self) -> frozenset[str]:
        return frozenset(self.served)

    def link(self, peer_id: str) -> PeerLink | None:
        return self.links.get(peer_id)

    def connect(self, peer_id: str, address: str, *listen: str, protocols: str = "") -> None:
        spoken = frozenset(protocols.split())
        self.links[peer_id] = PeerLink(peer_id, address, "agent", spoken, False, listen)

    async def ask_connected(self, roots: Sequence[Cid], timeout_s: float) -> list[Found]:
        found = []
        for peer_id in self.holders.get(roots[0], ()):
            holding = Holding(roots[0], roots[0], 5)
            ticket = Ticket("http", 1, (), b"", "t", 60.0, (holding,))
            found.append(Found(peer_id, ticket, ""))
        return found

    async def find_providers(
        self, multihash: bytes, *, count: int = 20, timeout_s: float = 30.0
    ) -> AsyncGenerator[ProviderRecord, None]:
        self.asked += 1
        try:
            for record in self.dht.get(multihash, ()):
                yield record
            await self.gate.wait()
        finally:
            self.gone += 1

    async def find_peer(self, peer_id: str, *, timeout_s: float = 10.0) -> list[str]:
        return self.where.get(peer_id, [])

    async def closest_peers(self, key: bytes) -> list[ProviderRecord]:
        return self.nearest


@pytest.fixture
def around() -> Around:
    scene = Around()
    scene.gate.set()
    return scene


@asynccontextmanager
async def serving(around: Around, shared: Shared, settle_s: float = 30.0) -> AsyncIterator[Client]:
    lookups = Lookups(around, around, around, clock=lambda: around.now)
    own = OwnContent(shelf_of(shared.catalog), lambda: HTTP)
    app = web.Application()
    RoutingRoutes(RoutingAnswers(around, lookups, own), settle_s=settle_s).add_to(app)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.fixture
async def client(around: Around, shared: Shared) -> AsyncIterator[Client]:
    async with serving(around, shared) as opened:
        yield opened


async def providers(client: Client, cid: object, query: str = "") -> list[dict[str, Any]]:
    answer = await client.get(f"/routing/v1/providers/{cid}{query}")
    assert answer.status == 200, await answer.text()
    records: list[dict[str, Any]] = (await answer.json())["Providers"]
    return records


async def test_own_content_then_our_record_with_gateway_first(
    client: Client, around: Around, shared: Shared
) -> None:
    around.served.add("/ipfs/bitswap/1.2.0")
    (record,) = await providers(client, shared.model.root)
    assert record == {
        "Schema": "peer",
        "ID": OWN,
        # Asked from this machine: its loopback first, it works whatever the interfaces do.
        "Addrs": [HTTP[1], HTTP[0], *LISTEN],
        "Protocols": ["transport-bitswap", "transport-ipfs-gateway-http"],
    }


async def test_own_content_when_bitswap_is_not_served_then_not_promised(
    client: Client, shared: Shared
) -> None:
    (record,) = await providers(client, shared.model.root)
    assert record["Protocols"] == ["transport-ipfs-gateway-http"]


async def test_own_content_then_found_by_every_block_and_by_its_sha256(
    client: Client, shared: Shared
) -> None:
    inner = shared.model.file.map.inner[0].cid
    leaf = shared.model.file.map.leaf_cid(3)
    alias = Cid.raw_sha256(hashlib.sha256(shared.model.data).digest())
    for cid in (inner, leaf, alias):
        assert [record["ID"] for record in await providers(client, cid)] == [OWN]


async def test_own_content_when_its_file_changed_then_no_leaf_of_it(
    client: Client, shared: Shared
) -> None:
    overwrite(shared.path, b"other")
    assert await providers(client, shared.model.file.map.leaf_cid(0)) == []


async def test_own_content_when_asked_from_elsewhere_then_no_loopback_address(
    around: Around, shared: Shared
) -> None:
    own = OwnContent(shelf_of(shared.catalog), lambda: HTTP)
    answers = RoutingAnswers(around, Lookups(around, around, around), own)
    (record,) = [one async for one in answers.providers(shared.model.root, is_local=False)]
    assert record.addresses == (HTTP[0], LISTEN[0])
    own = OwnContent(own.shelf, lambda: [HTTP[1]])  # a gateway for this machine alone
    answers = RoutingAnswers(around, Lookups(around, around, around), own)
    (record,) = [one async for one in answers.providers(shared.model.root, is_local=False)]
    assert (record.addresses, record.protocols) == ((LISTEN[0],), ())
    around.listen = LISTEN[1:]  # a node for this machine alone
    assert [one async for one in answers.providers(shared.model.root, is_local=False)] == []
    assert [one async for one in answers.peers(OWN, is_local=False)] == []
    await answers.close()


async def test_nobody_has_it_then_an_empty_200_for_a_short_time(client: Client) -> None:
    answer = await client.get(f"/routing/v1/providers/{UNKNOWN}")
    assert (answer.status, await answer.json()) == (200, {"Providers": []})
    assert answer.headers["Content-Type"] == "application/json"
    assert "max-age=15," in answer.headers["Cache-Control"]
    assert answer.headers["Vary"] == "Accept"
    stream = await client.get(f"/routing/v1/providers/{UNKNOWN}", headers=STREAM)
    assert (stream.status, await stream.read()) == (200, b"")
    assert stream.headers["Content-Type"] == "application/x-ndjson"


async def test_somebody_has_it_then_headers_for_caches_and_pages(
    client: Client, shared: Shared
) -> None:
    answer = await client.get(f"/routing/v1/providers/{shared.model.root}")
    # Private, because a loopback address in it is no good for who comes through a shared cache.
    assert answer.headers["Cache-Control"] == (
        "private, max-age=300, stale-while-revalidate=172800, stale-if-error=172800"
    )
    assert answer.headers["Last-Modified"].endswith("GMT")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    options = await client.options("/routing/v1/providers/x")
    assert options.status == 204
    assert options.headers["Access-Control-Allow-Methods"] == "GET, OPTIONS"


async def test_connected_peer_that_has_it_then_its_own_words(
    client: Client, around: Around
) -> None:
    around.holders[UNKNOWN] = [FRIEND]
    around.connect(
        FRIEND,
        "/ip4/192.168.7.9/tcp/50505",
        "/ip4/192.168.7.9/tcp/4101",
        "/ip4/127.0.0.1/tcp/4101",  # its loopback, not ours
        f"/ip4/10.9.9.9/tcp/1/p2p/{STRANGER}",
        protocols="/ipfs/bitswap/1.2.0",
    )
    (record,) = await providers(client, UNKNOWN)
    assert (record["ID"], record["Addrs"]) == (FRIEND, ["/ip4/192.168.7.9/tcp/4101"])
    assert record["Protocols"] == ["transport-bitswap"]


async def test_dht_then_each_peer_once_and_with_what_is_known_of_it(
    client: Client, around: Around
) -> None:
    around.holders[UNKNOWN] = [FRIEND]
    around.connect(FRIEND, "/ip4/127.0.0.1/tcp/5", "/ip4/127.0.0.1/tcp/4101")
    around.dht[UNKNOWN.multihash] = [
        ProviderRecord(FRIEND, ("/ip4/10.0.0.5/tcp/1",)),
        ProviderRecord(STRANGER, ("/ip4/10.0.0.6/tcp/1",)),
    ]
    found = {record["ID"]: record["Addrs"] for record in await providers(client, UNKNOWN)}
    assert found == {FRIEND: ["/ip4/127.0.0.1/tcp/4101"], STRANGER: ["/ip4/10.0.0.6/tcp/1"]}


async def test_dht_that_fails_then_the_others_are_told(around: Around, shared: Shared) -> None:
    class Failing(Around):
        async def find_providers(
            self, multihash: bytes, *, count: int = 20, timeout_s: float = 30.0
        ) -> AsyncGenerator[ProviderRecord, None]:
            raise LocalProtocolError("not ready")
            yield

    failing = Failing()
    async with serving(failing, shared) as client:
        assert len(await providers(client, shared.model.root)) == 1


async def test_filters_then_applied_to_what_is_told(client: Client, shared: Shared) -> None:
    (record,) = await providers(client, shared.model.root, "?filter-addrs=HTTP")
    assert record["Addrs"] == [HTTP[1], HTTP[0]]
    kubo = "?filter-protocols=unknown,transport-bitswap,transport-ipfs-gateway-http"
    assert len(await providers(client, shared.model.root, kubo)) == 1
    assert await providers(client, shared.model.root, "?filter-protocols=transport-bitswap") == []
    assert await providers(client, shared.model.root, "?filter-addrs=!tcp") == []


async def test_stream_then_a_record_comes_before_the_look_up_ends(
    client: Client, around: Around, shared: Shared
) -> None:
    around.gate.clear()
    root = shared.model.root
    around.dht[root.multihash] = [ProviderRecord(STRANGER, ("/ip4/10.0.0.6/tcp/1",))]
    answer = await client.get(f"/routing/v1/providers/{root}", headers=STREAM)
    assert json.loads(await answer.content.readline())["ID"] == OWN
    assert json.loads(await answer.content.readline())["ID"] == STRANGER
    around.gate.set()
    assert await answer.content.readline() == b""


async def test_list_when_something_is_known_then_not_all_is_waited_for(
    around: Around, shared: Shared
) -> None:
    around.gate.clear()
    async with serving(around, shared, settle_s=0.0) as client:
        assert len(await providers(client, shared.model.root)) == 1


async def test_look_up_when_many_ask_then_one_and_kept_for_a_while(
    client: Client, around: Around
) -> None:
    around.gate.clear()
    asking = [asyncio.create_task(providers(client, UNKNOWN)) for _ in range(5)]
    await until(lambda: around.asked == 1)
    around.gate.set()
    assert await asyncio.gather(*asking) == [[]] * 5
    await providers(client, UNKNOWN)
    assert around.asked == 1
    around.now += KEPT_S
    await providers(client, UNKNOWN)
    assert around.asked == 2


async def test_look_up_when_all_who_asked_have_left_then_it_ends(
    client: Client, around: Around
) -> None:
    around.gate.clear()
    around.dht[UNKNOWN.multihash] = [ProviderRecord(STRANGER, ("/ip4/10.0.0.6/tcp/1",))]
    answer = await client.get(f"/routing/v1/providers/{UNKNOWN}", headers=STREAM)
    await answer.content.readline()
    answer.close()
    await until(lambda: around.gone == 1)
    around.gate.set()
    assert len(await providers(client, UNKNOWN)) == 1  # and is begun anew


async def test_look_up_when_begun_right_after_another_was_left_then_it_is_whole(
    around: Around,
) -> None:
    around.gate.clear()
    around.dht[UNKNOWN.multihash] = [ProviderRecord(STRANGER, ("/ip4/10.0.0.6/tcp/1",))]
    lookups = Lookups(around, around, around)
    left = lookups.providers(UNKNOWN)
    await anext(left)
    await left.aclose()  # the look-up is told to end, and has not ended yet
    again = lookups.providers(UNKNOWN)
    assert (await anext(again)).peer_id == STRANGER
    around.gate.set()
    assert [record async for record in again] == []
    assert around.asked == 2
    await lookups.close()


async def test_look_ups_when_too_many_run_then_busy_but_own_content_is_told(
    around: Around, shared: Shared
) -> None:
    around.gate.clear()
    lookups = Lookups(around, around, around)
    answers = RoutingAnswers(around, lookups, OwnContent(shelf_of(shared.catalog), lambda: HTTP))
    others = [lookups.providers(Cid.raw_sha256(bytes([n]) * 32)) for n in range(MAX_LOOKUPS)]
    waiting = [asyncio.create_task(anext(other, None)) for other in others]
    await until(lambda: around.asked == MAX_LOOKUPS)
    app = web.Application()
    RoutingRoutes(answers).add_to(app)
    async with TestClient(TestServer(app)) as client:
        busy = await client.get(f"/routing/v1/providers/{UNKNOWN}")
        assert (busy.status, busy.headers["Retry-After"]) == (429, "1")
        assert (await client.get(f"/routing/v1/peers/{STRANGER}")).status == 429
        assert (await client.get(f"/routing/v1/dht/closest/peers/{UNKNOWN}")).status == 429
        assert len(await providers(client, shared.model.root)) == 1
    await asyncio.gather(*waiting)


async def test_questions_of_one_host_when_too_many_are_open_then_429(
    client: Client, around: Around
) -> None:
    around.gate.clear()
    around.dht[UNKNOWN.multihash] = [ProviderRecord(STRANGER, ("/ip4/10.0.0.6/tcp/1",))]
    path = f"/routing/v1/providers/{UNKNOWN}"
    open_ = [await client.get(path, headers=STREAM) for _ in range(MAX_OPEN_PER_HOST)]
    assert (await client.get(path)).status == 429
    around.gate.set()
    for answer in open_:
        await answer.read()
    assert len(await providers(client, UNKNOWN)) == 1


async def test_peer_then_its_addresses(client: Client, around: Around) -> None:
    around.connect(FRIEND, "/ip4/192.168.7.9/tcp/5", "/ip4/192.168.7.9/tcp/4101")
    around.where[STRANGER] = ["/ip4/10.0.0.6/tcp/1"]

    async def addresses(text: str) -> list[list[str]]:
        answer = await client.get(f"/routing/v1/peers/{text}")
        assert answer.status == 200
        return [record["Addrs"] for record in (await answer.json())["Peers"]]

    assert await addresses(OWN) == [[HTTP[1], HTTP[0], *LISTEN]]
    assert await addresses(FRIEND) == [["/ip4/192.168.7.9/tcp/4101"]]
    assert await addresses(STRANGER) == [["/ip4/10.0.0.6/tcp/1"]]
    assert await addresses(make_peer_id("nobody")) == []


async def test_closest_then_in_the_order_of_the_dht_and_at_most_20(
    client: Client, around: Around
) -> None:
    names = [make_peer_id(f"server {n}") for n in range(30)]
    around.nearest = [ProviderRecord(name, ("/ip4/10.0.0.6/tcp/1",)) for name in names]
    around.nearest.insert(0, ProviderRecord(STRANGER, ()))  # nobody knows where
    for key in (UNKNOWN, OWN):
        answer = await client.get(f"/routing/v1/dht/closest/peers/{key}")
        found = [record["ID"] for record in (await answer.json())["Peers"]]
        assert found == names[:MAX_CLOSEST]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("providers/nonsense", 422, "not a CID"),
        ("providers/" + "b" * 2000, 422, "512 characters"),
        (f"providers/{UNKNOWN}?filter-addrs={'x' * 64}", 422, "63 characters"),
        (f"providers/{UNKNOWN}?filter-protocols={'x,' * 3}{'y' * 64}", 422, "63 characters"),
        ("peers/nonsense", 422, "is not a peer id"),
        ("dht/closest/peers/nonsense", 422, "neither a CID nor a peer id"),
        ("providers", 400, "no question of this API"),
        ("everything/else", 400, "no question of this API"),
    ],
)
async def test_question_when_it_is_wrong_then_said_in_words(
    client: Client, path: str, status: int, words: str
) -> None:
    answer = await client.get(f"/routing/v1/{path}")
    assert answer.status == status
    assert words in await answer.text()
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "HEAD"])
async def test_method_that_would_write_then_405(client: Client, method: str) -> None:
    answer = await client.request(method, f"/routing/v1/providers/{UNKNOWN}")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, OPTIONS")


async def test_route_of_another_part_then_not_swallowed(around: Around, shared: Shared) -> None:
    async def ipns(request: web.Request) -> web.Response:
        return web.Response(text="ipns")

    app = web.Application()
    lookups = Lookups(around, around, around)
    RoutingRoutes(RoutingAnswers(around, lookups)).add_to(app)
    app.router.add_get("/routing/v1/ipns/{name}", ipns)
    app.router.add_put("/routing/v1/ipns/{name}", ipns)
    async with TestClient(TestServer(app)) as client:
        assert await (await client.get("/routing/v1/ipns/k51")).text() == "ipns"
        assert await (await client.put("/routing/v1/ipns/k51")).text() == "ipns"
        # A node that keeps no content tells of others only.
        assert await providers(client, shared.model.root) == []


async def test_identity_cid_then_nobody_is_asked(client: Client, around: Around) -> None:
    assert await providers(client, "bafkqaaa") == []
    assert around.asked == 0


def test_gateway_addresses_then_concrete_ones_never_the_wildcard() -> None:
    with bind(Address("0.0.0.0", 0, is_default=False), "gateway.address") as sock:
        port = sock.getsockname()[1]
        found = gateway_addresses(sock)()
        assert f"/ip4/127.0.0.1/tcp/{port}/http" == found[-1]
        assert not any("/0.0.0.0/" in address for address in found)
    with bind(Address("127.0.0.1", 0, is_default=False), "gateway.address") as sock:
        assert gateway_addresses(sock)() == [f"/ip4/127.0.0.1/tcp/{sock.getsockname()[1]}/http"]


@pytest.mark.parametrize(
    ("host", "is_local"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("::ffff:127.0.0.1", True),
     ("192.168.1.5", False), ("fd00::1", False), ("", False)],
)  # fmt: skip
def test_is_local_asker(host: str, is_local: bool) -> None:
    assert is_local_asker(host) is is_local

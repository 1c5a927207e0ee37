"""`/routing/v1/ipns`: records out and in, and our own client of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from mirrornode.errors import RemoteProtocolError, SourceGone, SourceRefused
from mirrornode.gateway.routing_ipns import CORS, IpnsRoutes
from mirrornode.sources.router_names import NameRouter
from mirrornode.wire.ipns import (
    MAX_RECORD_BYTES,
    MEDIA_TYPE,
    name_of_seed,
    name_to_bytes,
    name_to_text,
    verify_record,
)
from support.names import record_of, seed_of

NOW = time.time()
NAME = name_to_text(name_of_seed(seed_of("ann")))
RECORD = record_of("ann", sequence=3, expires_at=NOW + 1000, ttl_s=60)
TYPED = {"Content-Type": MEDIA_TYPE}


@dataclass
class FakeRecords:
    """Records by name; takes what is signed."""

    kept: dict[str, bytes] = field(default_factory=dict)
    is_broken: bool = False

    async def get_record(self, name_text: str) -> bytes | None:
        if self.is_broken:
            raise SourceGone("the network is away")
        return self.kept.get(name_to_text(name_to_bytes(name_text)))

    async def put_record(self, name_text: str, binary: bytes) -> int:
        name = name_to_bytes(name_text)
        verify_record(name, binary, NOW)
        known = self.kept.setdefault(name_to_text(name), binary)
        if known != binary:
            raise RemoteProtocolError("older")
        return 1


Client = TestClient[web.Request, web.Application]


@pytest.fixture
def records() -> FakeRecords:
    return FakeRecords({NAME: RECORD.binary})


@pytest.fixture
async def client(records: FakeRecords) -> AsyncIterator[Client]:
    app = web.Application()
    IpnsRoutes(records, clock=lambda: NOW).add_to(app)
    async with TestClient(TestServer(app)) as opened:
        yield opened


async def test_get_gives_the_record_and_how_long_it_may_be_kept(client: Client) -> None:
    answer = await client.get(f"/routing/v1/ipns/{NAME}", headers={"Accept": MEDIA_TYPE})
    assert answer.status == 200
    assert await answer.read() == RECORD.binary
    assert answer.headers["Content-Type"] == MEDIA_TYPE
    assert "max-age=60," in answer.headers["Cache-Control"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Vary"] == "Accept"


async def test_get_takes_other_texts_of_the_name(client: Client) -> None:
    from mirrornode.wire.peer_id import peer_id_to_text

    base58 = peer_id_to_text(name_to_bytes(NAME))
    for accept in ({}, {"Accept": "*/*"}, {"Accept": f"text/html, {MEDIA_TYPE};q=0.5"}):
        answer = await client.get(f"/routing/v1/ipns/{base58}", headers=accept)
        assert await answer.read() == RECORD.binary


async def test_get_when_there_is_none_then_200_of_another_type(client: Client) -> None:
    other = name_to_text(name_of_seed(seed_of("bob")))
    answer = await client.get(f"/routing/v1/ipns/{other}")
    assert answer.status == 200
    assert answer.content_type == "text/plain"
    assert "max-age=15," in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("name", "accept", "status"),
    [("junk", MEDIA_TYPE, 400), ("k" * 300, MEDIA_TYPE, 400), (NAME, "application/json", 406)],
)
async def test_get_of_what_cannot_be_is_refused(
    client: Client, name: str, accept: str, status: int
) -> None:
    answer = await client.get(f"/routing/v1/ipns/{name}", headers={"Accept": accept})
    assert answer.status == status


async def test_get_when_the_network_fails_then_502(client: Client, records: FakeRecords) -> None:
    records.is_broken = True
    assert (await client.get(f"/routing/v1/ipns/{NAME}")).status == 502


async def test_put_takes_what_is_signed(client: Client, records: FakeRecords) -> None:
    records.kept.clear()
    path = f"/routing/v1/ipns/{NAME}"
    assert (await client.put(path, data=RECORD.binary, headers=TYPED)).status == 200
    assert records.kept == {NAME: RECORD.binary}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [(b"junk", TYPED, 400), (b"", TYPED, 400), (bytes(MAX_RECORD_BYTES + 1), TYPED, 400),
     (bytes(1 << 20), TYPED, 400), (RECORD.binary, {"Content-Type": "text/plain"}, 406),
     (record_of("eve").binary, TYPED, 400),
     (record_of("ann", expires_at=NOW - 1).binary, TYPED, 400)],
)  # fmt: skip
async def test_put_of_anything_else_is_refused(
    client: Client, records: FakeRecords, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await client.put(f"/routing/v1/ipns/{NAME}", data=body, headers=headers)
    assert answer.status == status
    assert records.kept == {NAME: RECORD.binary}


async def test_put_from_another_machine_is_refused_unless_allowed(records: FakeRecords) -> None:
    for is_allowed, status in ((False, 403), (True, 200)):
        app = web.Application()
        routes = IpnsRoutes(records, allow_puts=is_allowed)

        async def put(request: web.Request, routes: IpnsRoutes = routes) -> web.Response:
            return await routes.put(request.clone(remote="192.0.2.7"))

        app.router.add_put("/routing/v1/ipns/{name}", put)
        async with TestClient(TestServer(app)) as client:
            path = f"/routing/v1/ipns/{NAME}"
            answer = await client.put(path, data=RECORD.binary, headers=TYPED)
            assert answer.status == status


async def test_pages_of_others_may_read_and_not_put(client: Client) -> None:
    answer = await client.options(f"/routing/v1/ipns/{NAME}")
    assert answer.status == 204
    assert "PUT" not in answer.headers["Access-Control-Allow-Methods"]
    assert dict(CORS).items() <= dict(answer.headers).items()


@pytest.mark.parametrize("suffix", ["", "/", "/routing/v1", "/routing/v1/"])
async def test_our_client_reads_what_we_answer(client: Client, suffix: str) -> None:
    router = NameRouter(str(client.make_url("")).rstrip("/") + suffix)
    assert await router.ipns_record(NAME) == RECORD.binary
    assert await router.ipns_record(name_to_text(name_of_seed(seed_of("bob")))) is None
    with pytest.raises(SourceRefused):
        await router.ipns_record("junk")


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [(302, {"Location": "http://192.0.2.1/"}, b""), (500, {}, b""), (429, {}, b""),
     (200, TYPED, bytes(MAX_RECORD_BYTES + 1))],
)  # fmt: skip
async def test_our_client_follows_and_believes_no_router(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers, body=body)

    app = web.Application()
    app.router.add_get("/routing/v1/ipns/{name}", answer)
    async with TestServer(app) as server:
        with pytest.raises((SourceRefused, SourceGone)):
            await NameRouter(str(server.make_url(""))).ipns_record(NAME)


async def test_our_client_when_a_router_has_404_then_none() -> None:
    async with TestServer(web.Application()) as server:
        assert await NameRouter(str(server.make_url(""))).ipns_record(NAME) is None

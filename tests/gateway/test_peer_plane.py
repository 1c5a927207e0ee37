"""The peer plane admits ticket holders only; tickets say where it is and what is here."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest

from mirrornode.content.cid import Cid
from mirrornode.gateway.certificate import FILE_NAME, load_or_create_certificate
from mirrornode.gateway.peer_plane import TicketOffice
from mirrornode.sources.http_client import Endpoint, HttpConnection
from mirrornode.sources.peer import PeerSource
from mirrornode.sources.sealed_stream import SealedStream
from mirrornode.store.catalog import open_catalog
from mirrornode.transfer.pacing import Uploads
from mirrornode.wire import batch, sealed
from mirrornode.wire.ticket import (
    BEARER_LIFE_S,
    HAVE_PATH,
    Holding,
    decode_ticket,
    encode_request,
)
from support.models import LEAF, folder_of, model_of
from support.planes import Shared, open_plane, shelf_of
from support.shared_files import SMALL_CHUNKS, record


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401), ("", 401), ("Bearer", 401), ("Bearer x.9999999999.y", 401),
        ("Basic {}", 401), ("{}", 401), ("Bearer {}x", 401), ("Bearer \u00e9\u00ff", 401),
        ("Bearer {}", 200), ("bearer {}", 200),
    ],
)  # fmt: skip
async def test_plane_admits_only_its_own_bearers(
    shared: Shared, tmp_path: Path, authorization: str | None, status: int
) -> None:
    async with open_plane(shelf_of(shared.catalog), tmp_path / "plane", plain=True) as plane:
        bearer = (await plane.ticket()).bearer
        headers = {} if authorization is None else {"Authorization": authorization.format(bearer)}
        async with aiohttp.ClientSession() as http:
            for path in (f"/ipfs/{shared.model.root}", "/ipfs/bafkqaaa?format=raw", "/other"):
                url = f"http://127.0.0.1:{plane.port}{path}"
                async with http.get(url, headers=headers) as answer:
                    assert answer.status == (404 if status == 200 and path == "/other" else status)
                    if status == 401:
                        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_plane_speaks_tls_1_3_only(shared: Shared, tmp_path: Path) -> None:
    async with open_plane(shelf_of(shared.catalog), tmp_path / "plane") as plane:
        old = trusting()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        url = f"https://127.0.0.1:{plane.port}/ipfs/bafkqaaa?format=raw"
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.ClientConnectorError):
                await http.get(url, ssl=old)
            async with http.get(url, ssl=trusting()) as answer:
                assert answer.status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upgrade": sealed.PROTOCOL}, 400),
        ({"Upgrade": sealed.PROTOCOL, sealed.SECRET_HEADER: "A" * 44}, 400),
        ({"Upgrade": "h2c", sealed.SECRET_HEADER: sealed.encode_secret(bytes(32))}, 426),
        ({}, 426),
    ],
)
async def test_plane_when_asked_to_seal_as_nobody_should_then_refused_and_tls_goes_on(
    shared: Shared, tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async with open_plane(shelf_of(shared.catalog), tmp_path / "plane") as plane:
        bearer = {"Authorization": f"Bearer {(await plane.ticket()).bearer}"}
        base = f"https://127.0.0.1:{plane.port}"
        async with aiohttp.ClientSession() as http:
            async with http.get(base + sealed.PATH, headers=headers, ssl=trusting()) as answer:
                assert answer.status == 401
            all_headers = headers | bearer
            async with http.get(base + sealed.PATH, headers=all_headers, ssl=trusting()) as answer:
                assert answer.status == status
            async with http.post(base + sealed.PATH, headers=all_headers, ssl=trusting()) as answer:
                assert answer.status == 404
            async with http.head(base + sealed.PATH, headers=all_headers, ssl=trusting()) as answer:
                assert answer.status == 426
                assert answer.headers["Upgrade"] == sealed.PROTOCOL
            url = f"{base}/ipfs/{shared.model.root}"
            async with http.get(url, headers=bearer, ssl=trusting()) as answer:
                assert await answer.read() == shared.model.data


async def test_plane_when_it_is_plain_then_nothing_can_be_sealed(
    shared: Shared, tmp_path: Path
) -> None:
    async with open_plane(shelf_of(shared.catalog), tmp_path / "plane", plain=True) as plane:
        headers = {
            "Authorization": f"Bearer {(await plane.ticket()).bearer}",
            "Upgrade": sealed.PROTOCOL,
            sealed.SECRET_HEADER: sealed.encode_secret(bytes(32)),
        }
        url = f"http://127.0.0.1:{plane.port}{sealed.PATH}"
        async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
            assert answer.status == 404


async def test_sealed_connection_answers_all_that_tls_did(shared: Shared, tmp_path: Path) -> None:
    """Files, heads, batches, have-maps and errors, one after the other on one connection."""
    async with open_plane(shelf_of(shared.catalog), tmp_path / "plane") as plane:
        ticket = await plane.ticket()
        endpoint = Endpoint("https", "127.0.0.1", plane.port, pin=ticket.cert_sha256)
        bearer = {"Authorization": f"Bearer {ticket.bearer}"}
        model = shared.model
        leaves = [model.file.map.leaf_cid(number) for number in range(3)]

        def ask() -> None:
            connection = HttpConnection(endpoint, "peer:test")
            statuses = []
            for target, method, body in (
                (f"/ipfs/{model.root}", "GET", b""),
                (f"/ipfs/{model.root}", "HEAD", b""),
                ("/nothing", "GET", b""),
                (sealed.PATH, "GET", b""),  # it is sealed already
                (batch.PATH, "POST", batch.encode_request(leaves)),
                (HAVE_PATH, "POST", encode_request([model.root])),
            ):
                answer = connection.request(target, bearer, method=method, body=body)
                assert isinstance(connection._stream, SealedStream)
                content = connection.read_all(1 << 22)
                statuses.append(answer.status)
                if target.startswith("/ipfs/"):
                    assert content == (model.data if method == "GET" else b"")
                if target == batch.PATH:
                    assert model.data[:LEAF] in content
                if target == HAVE_PATH:
                    assert str(model.root).encode() in content
            assert statuses == [200, 200, 404, 404, 200, 200]
            connection.abort()

        await asyncio.to_thread(ask)


async def test_ticket_tells_address_certificate_and_holdings(
    shared: Shared, tmp_path: Path
) -> None:
    addresses = [
        "/ip4/192.168.1.5/tcp/4101/p2p/12D3KooX", "/ip4/192.168.1.5/tcp/4001", "/ip6/::1/tcp/1",
        "/dns4/example.com/tcp/1", "/ip4/nonsense/tcp/1", "",
    ]  # fmt: skip
    home = tmp_path / "plane"
    unknown = Cid.raw_sha256(b"z" * 32)
    async with open_plane(shelf_of(shared.catalog), home, hosts=lambda: addresses) as plane:
        ticket = await plane.ticket([unknown, shared.model.root])
        assert (ticket.scheme, ticket.port) == ("https", plane.port)
        assert ticket.hosts == ("192.168.1.5", "::1")
        assert ticket.cert_sha256 == load_or_create_certificate(home).sha256
        assert ticket.holdings == (
            Holding(shared.model.root, shared.model.root, len(shared.model.data)),
        )


async def test_office_when_the_request_is_malformed_then_no_answer(
    shared: Shared, tmp_path: Path
) -> None:
    async with open_plane(shelf_of(shared.catalog), tmp_path / "plane") as plane:
        assert await plane.office.answer("12D3KooX", b"nonsense") is None
        answer = await plane.office.answer("12D3KooX", encode_request([]))
        assert answer is not None
        assert decode_ticket(answer, []).holdings == ()


async def test_bearers_of_another_run_are_refused(shared: Shared, tmp_path: Path) -> None:
    shelf = shelf_of(shared.catalog)
    async with open_plane(shelf, tmp_path / "plane") as first:
        old = (await first.ticket()).bearer
        async with open_plane(shelf, tmp_path / "plane") as second:
            assert first.office.admits(f"Bearer {old}")
            assert not second.office.admits(f"Bearer {old}")


def office_bearer(answer: bytes | None) -> str:
    assert answer is not None
    return f"Bearer {decode_ticket(answer, []).bearer}"


@pytest.mark.parametrize("jump_s", [-365 * 86_400, 365 * 86_400])
async def test_bearer_when_the_date_jumps_then_still_admitted(
    shared: Shared, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    office = TicketOffice(shelf_of(shared.catalog), list, lambda *_: None)
    office.open_at("http", 1, b"")
    bearer = office_bearer(await office.answer("12D3KooX", encode_request([])))
    date = time.time()
    monkeypatch.setattr(time, "time", lambda: date + jump_s)
    assert office.admits(bearer)
    assert office.admits(office_bearer(await office.answer("12D3KooX", encode_request([]))))


async def test_bearer_when_its_life_is_over_then_refused(shared: Shared) -> None:
    now = [1000.0]
    office = TicketOffice(shelf_of(shared.catalog), list, lambda *_: None, clock=lambda: now[0])
    office.open_at("http", 1, b"")
    bearer = office_bearer(await office.answer("12D3KooX", encode_request([])))
    now[0] += BEARER_LIFE_S - 2
    assert office.admits(bearer)
    now[0] += 3
    assert not office.admits(bearer)


def test_certificate_is_kept_and_private(tmp_path: Path) -> None:
    first = load_or_create_certificate(tmp_path)
    assert load_or_create_certificate(tmp_path).sha256 == first.sha256
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["empty", "cut", "another key", "no key"])
def test_certificate_when_damaged_then_made_anew(tmp_path: Path, damage: str) -> None:
    first = load_or_create_certificate(tmp_path)
    path = tmp_path / FILE_NAME
    pem = path.read_bytes()
    key_end = pem.index(b"-----BEGIN CERTIFICATE")
    (tmp_path / "other").mkdir()
    load_or_create_certificate(tmp_path / "other")
    other_key = (tmp_path / "other" / FILE_NAME).read_bytes()[:key_end]
    path.write_bytes(
        {
            "empty": b"",
            "cut": pem[: len(pem) // 2],
            "another key": other_key + pem[key_end:],
            "no key": pem[key_end:],
        }[damage]
    )
    fresh = load_or_create_certificate(tmp_path)
    assert fresh.sha256 != first.sha256
    assert load_or_create_certificate(tmp_path).sha256 == fresh.sha256


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("rate", [0, 4_000_000])
async def test_plane_when_limited_or_not_then_same_bytes_and_all_are_counted(
    tmp_path: Path, plain: bool, rate: int
) -> None:
    model = model_of(700_001)
    path = model.write(tmp_path)
    with open_catalog(tmp_path / "home") as catalog, Uploads(rate).pacing() as uploads:
        record(catalog, path, SMALL_CHUNKS)
        shelf = shelf_of(catalog)
        async with open_plane(shelf, tmp_path / "plane", plain=plain, uploads=uploads) as plane:
            headers = {"Authorization": f"Bearer {(await plane.ticket()).bearer}"}
            base = f"{'http' if plain else 'https'}://127.0.0.1:{plane.port}"
            leaves = [model.manifest.files[0].map.leaf_cid(number) for number in range(3)]
            async with aiohttp.ClientSession(headers=headers) as http:
                tls = trusting()
                async with http.get(f"{base}/ipfs/{model.root}", ssl=tls) as answer:
                    assert await answer.read() == model.data
                asked = {**headers, "Range": "bytes=5-300004"}
                url = f"{base}/ipfs/{model.root}"
                async with http.get(url, ssl=tls, headers=asked) as answer:
                    assert await answer.read() == model.data[5:300_005]
                url = f"{base}/ipfs/{leaves[0]}?format=raw"
                async with http.get(url, ssl=tls) as answer:
                    assert await answer.read() == model.data[:1000]
                body = batch.encode_request(leaves)
                async with http.post(base + batch.PATH, ssl=tls, data=body) as answer:
                    assert model.data[2000:3000] in await answer.read()
            assert 1_004_001 <= uploads.sent_bytes <= 1_004_001 + 500


async def test_plane_when_limited_then_peers_share_evenly_whatever_their_connections(
    tmp_path: Path,
) -> None:
    model = model_of(1 << 20)
    path = model.write(tmp_path)
    got: Counter[str] = Counter()
    with open_catalog(tmp_path / "home") as catalog, Uploads(10e6).pacing() as uploads:
        record(catalog, path, SMALL_CHUNKS)
        shelf = shelf_of(catalog)
        async with open_plane(shelf, tmp_path / "plane", plain=True, uploads=uploads) as plane:
            url = f"http://127.0.0.1:{plane.port}/ipfs/{model.root}"
            enough = asyncio.Event()

            async def take(http: aiohttp.ClientSession, peer: str) -> None:
                bearer = (await plane.ticket(peer_id=peer)).bearer
                while True:
                    headers = {"Authorization": f"Bearer {bearer}"}
                    async with http.get(url, headers=headers) as answer:
                        async for piece in answer.content.iter_any():
                            got[peer] += len(piece)
                            if min(got["few"], got["many"]) > 5e6:
                                enough.set()

            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector, read_bufsize=4096) as http:
                peers = ["few"] * 2 + ["many"] * 12
                takers = [asyncio.create_task(take(http, peer)) for peer in peers]
                await enough.wait()
                for taker in takers:
                    taker.cancel()
                await asyncio.gather(*takers, return_exceptions=True)
    # What lies in the buffers of twelve connections is not evened out; without turns it is 6 to 1.
    assert got["many"] < 1.6 * got["few"]
    assert got["few"] < 1.6 * got["many"]


async def test_have_when_asked_over_the_plane_then_holdings_and_the_asker_is_noted(
    shared: Shared, tmp_path: Path
) -> None:
    asked: list[tuple[str, Sequence[Cid]]] = []
    roots = [Cid.raw_sha256(b"z" * 32), shared.model.root]
    async with open_plane(
        shelf_of(shared.catalog), tmp_path, on_asked=lambda *told: asked.append(told)
    ) as plane:
        ticket = await plane.ticket()
        source = PeerSource("12D3KooAsker", ticket, near_host="127.0.0.1")
        lane = source.open_lane()
        try:
            found = await asyncio.to_thread(source.ask_have, roots, lane)
        finally:
            lane.abort()
        assert found == (Holding(shared.model.root, shared.model.root, len(shared.model.data)),)
        assert asked == [("12D3KooAsker", []), ("12D3KooAsker", roots)]
        headers = {"Authorization": f"Bearer {ticket.bearer}"}
        async with aiohttp.ClientSession(headers=headers) as http:
            url = f"https://127.0.0.1:{plane.port}{HAVE_PATH}"
            for body in (b"nonsense", b"[" * 10_000, b'{"v":1,"roots":["x"]}'):
                async with http.post(url, data=body, ssl=trusting()) as answer:
                    assert answer.status == 400


async def test_holding_when_only_the_structure_is_here_then_no_claim_of_its_bytes(
    tmp_path: Path,
) -> None:
    """A `get` that has read the structure has the root's block, and nothing else yet."""
    file, folder = model_of(), folder_of({"a": b"x" * 2000, "b": b"y"})
    with open_catalog(tmp_path / "home") as catalog:
        shelf = shelf_of(catalog)
        catalog.put_blocks([*file.file.map.inner, *folder.blocks])
        assert shelf.holdings([file.root]) == (
            Holding(file.root, file.root, 0, (), is_complete=False),
        )
        assert shelf.holdings([folder.root]) == (
            Holding(folder.root, folder.root, 0, None, is_complete=False),
        )

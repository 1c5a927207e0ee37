"""The door of a node that ends: who is turned away, who may finish, what is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import aiohttp
import pytest

from mirrornode.errors import NodeEnding
from mirrornode.gateway.control import bind_control, make_control
from mirrornode.gateway.door import (
    ANSWER,
    ENDING,
    QUIET_S,
    REGULAR_S,
    SERVING,
    STARTING,
    UPLOAD,
    Door,
    drain,
)
from mirrornode.gateway.gateway import make_gateway
from mirrornode.gateway.health import HealthRoutes
from mirrornode.gateway.listeners import Address, bind, listening
from mirrornode.gateway.peer_plane import TicketOffice
from mirrornode.store.catalog import CATALOG_NAME, open_catalog
from mirrornode.store.home import make_home
from mirrornode.transfer.pacing import Uploads
from mirrornode.wire.control import decode_line, to_exception
from mirrornode.wire.ticket import encode_request
from support.planes import LOOPBACK, Shared, open_plane, shelf_of
from support.waiting import until


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_door_goes_from_starting_to_serving_to_ending_and_never_back() -> None:
    door = Door()
    assert door.state == STARTING
    assert door.why_not_ready()
    door.open()
    assert (door.state, door.why_not_ready()) == (SERVING, [])
    door.close()
    door.open()
    assert door.state == ENDING
    assert door.is_closed
    assert door.why_not_ready()


def test_door_when_a_part_is_in_trouble_then_not_ready_until_it_works_again() -> None:
    door = Door()
    door.open()
    door.set_trouble("share", "no shares")
    assert door.why_not_ready() == ["no shares"]
    door.set_trouble("share", "")
    assert door.why_not_ready() == []


def test_door_when_closed_then_only_peers_in_the_middle_of_a_download_are_admitted() -> None:
    clock = Clock()
    door = Door(clock=clock)
    with door.fetching("long-ago"):
        assert door.admits("anybody")
    clock.now += REGULAR_S + 1
    with door.fetching("just-now"):
        pass
    with door.fetching("inside"):
        door.close()
    assert door.admits("inside")
    assert door.admits("just-now")
    assert not door.admits("long-ago")
    assert not door.admits("stranger")


def test_door_counts_a_peer_as_an_upload_until_it_is_quiet() -> None:
    clock = Clock()
    door = Door(clock=clock)
    with door.fetching("peer"), door.fetching("peer"), door.inside(ANSWER):
        assert door.counts() == {ANSWER: 1, UPLOAD: 1}
    clock.now += QUIET_S / 2
    assert door.counts() == {UPLOAD: 1}
    clock.now += QUIET_S
    assert door.counts() == {}


def test_door_forgets_peers_that_left() -> None:
    clock = Clock()
    door = Door(clock=clock)
    for number in range(10_000):
        clock.now += 1
        with door.fetching(f"peer-{number}"):
            pass
    door.close()
    assert not door.admits("peer-1")
    assert door.admits("peer-9999")


async def test_drain_waits_for_what_is_inside_then_says_all_is_finished() -> None:
    door, told, withdrawn = Door(), list[str](), asyncio.Event()

    async def withdraw() -> None:
        assert door.is_closed
        withdrawn.set()

    with door.inside(ANSWER):
        work = asyncio.create_task(
            drain(
                door,
                lambda: 0,
                withdraw,
                limit_s=100.0,
                at_once=asyncio.Event(),
                tell=told.append,
            )
        )
        await until(lambda: bool(told))
        assert withdrawn.is_set()
    assert await work is True
    assert told == ["ending; waiting up to 100 s for 1 answer over HTTP"]


@pytest.mark.parametrize("limit_s", [0.0, 100.0])
async def test_drain_when_asked_to_end_at_once_or_without_patience_then_does_not_wait(
    limit_s: float,
) -> None:
    at_once, told = asyncio.Event(), list[str]()

    async def withdraw() -> None:
        if limit_s:
            at_once.set()

    finished = await drain(
        Door(), lambda: 2, withdraw, limit_s=limit_s, at_once=at_once, tell=told.append
    )
    assert finished is False
    assert told == ["ending now; broken off: 2 downloads. What arrived so far is kept"]


async def test_gateway_when_the_door_is_closed_then_503_but_health_is_told(
    shared: Shared, tmp_path: Path
) -> None:
    door = Door()
    app = make_gateway(
        shelf_of(shared.catalog),
        LOOPBACK,
        Uploads(),
        door=door,
        health=HealthRoutes(door, shared.catalog),
    )
    sock = bind(Address(LOOPBACK, 0, is_default=False), "gateway.address")
    async with listening(app, sock) as port, aiohttp.ClientSession() as http:
        base = f"http://{LOOPBACK}:{port}"

        async def ask(path: str) -> tuple[int, str, str]:
            async with http.get(base + path) as answer:
                text = await answer.text("latin-1")
                return answer.status, text, answer.headers.get("Retry-After", "")

        status, text, later = await ask("/readyz")
        assert (status, "starting" in text, later) == (503, True, "10")
        assert (await ask("/healthz"))[:2] == (200, "ok\n")
        door.open()
        assert (await ask("/readyz"))[:2] == (200, "ok\n")
        content = f"/ipfs/{shared.model.root}?format=raw"
        assert (await ask(content))[0] == 200
        door.close()
        status, text, later = await ask(content)
        assert (status, later) == (503, "10")
        assert (await ask("/readyz"))[0] == 503
        assert (await ask("/healthz"))[0] == 200
        assert door.counts() == {}


async def test_healthz_when_the_catalog_is_gone_then_503_with_the_reason(tmp_path: Path) -> None:
    door = Door()
    door.open()
    with open_catalog(tmp_path / "home") as catalog:
        shelf = shelf_of(catalog)
        app = make_gateway(
            shelf, LOOPBACK, Uploads(), door=door, health=HealthRoutes(door, catalog)
        )
        catalog.close()
        sock = bind(Address(LOOPBACK, 0, is_default=False), "gateway.address")
        async with listening(app, sock) as port, aiohttp.ClientSession() as http:
            for path in ("/healthz", "/readyz"):
                async with http.get(f"http://{LOOPBACK}:{port}{path}") as answer:
                    assert answer.status == 503
                    assert "closed" in await answer.text()


async def test_readyz_when_another_program_holds_the_catalog_then_503_and_healthz_200(
    tmp_path: Path,
) -> None:
    door = Door()
    door.open()
    with open_catalog(tmp_path / "home") as catalog:
        health = HealthRoutes(door, catalog, patience_s=0.2)
        app = make_gateway(shelf_of(catalog), LOOPBACK, Uploads(), door=door, health=health)
        sock = bind(Address(LOOPBACK, 0, is_default=False), "gateway.address")
        async with listening(app, sock) as port, aiohttp.ClientSession() as http:

            async def status_of(path: str) -> int:
                async with http.get(f"http://{LOOPBACK}:{port}{path}") as answer:
                    return answer.status

            other = sqlite3.connect(tmp_path / "home" / CATALOG_NAME, isolation_level=None)
            with contextlib.closing(other):
                other.execute("BEGIN IMMEDIATE")
                assert await status_of("/readyz") == 503
                assert await status_of("/healthz") == 200
            while await status_of("/readyz") != 200:  # the look that waits comes back
                pass


async def test_plane_when_the_door_is_closed_then_503_for_strangers_and_no_tickets(
    shared: Shared, tmp_path: Path
) -> None:
    door = Door()
    async with (
        open_plane(shelf_of(shared.catalog), tmp_path / "plane", plain=True, door=door) as plane,
        aiohttp.ClientSession() as http,
    ):
        regular, stranger = [
            {"Authorization": f"Bearer {(await plane.ticket(peer_id=peer)).bearer}"}
            for peer in ("12D3KooRegular", "12D3KooStranger")
        ]
        url = f"http://127.0.0.1:{plane.port}/ipfs/{shared.model.root}"

        async def status_of(headers: dict[str, str]) -> int:
            async with http.get(url, headers=headers) as answer:
                await answer.read()
                return answer.status

        assert await status_of(regular) == 200
        assert door.counts() == {UPLOAD: 1}
        door.close()
        assert await status_of(regular) == 200
        assert await status_of(stranger) == 503
        assert await status_of({}) == 401
        assert await plane.office.answer("12D3KooRegular", encode_request(())) is None


def test_office_without_a_door_always_hands_out_tickets(shared: Shared) -> None:
    office = TicketOffice(shelf_of(shared.catalog), list, lambda *_: None)
    assert asyncio.run(office.answer("12D3KooAsker", encode_request(()))) is not None


async def test_control_when_the_door_is_closed_then_looks_are_answered_and_work_is_refused(
    tmp_path: Path,
) -> None:
    door = Door()

    async def verb(fields: object, emit: object) -> object:
        return door.counts()

    make_home(tmp_path / "h")
    sock = bind_control(tmp_path / "h")
    path = sock.getsockname()
    app = make_control({"get": verb, "status": verb}, door)
    async with (
        listening(app, sock),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as http,
    ):

        async def ask(name: str) -> dict[str, object]:
            async with http.post(f"http://localhost/v1/{name}", json={}) as answer:
                return decode_line(await answer.read())

        assert await ask("get") == {"result": {"command": 1}}
        door.close()
        assert await ask("status") == {"result": {}}
        assert isinstance(to_exception((await ask("get"))["error"]), NodeEnding)

"""Delegated routers: asked together, rested after failures, followed only so far."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from mirrornode.content.cid import Cid
from mirrornode.errors import MirrorError, RemoteProtocolError, SourceGone, SourceRefused
from mirrornode.routing.delegated import (
    MAX_ADDRESSES,
    MAX_GATEWAYS,
    MAX_PROVIDERS,
    MAX_REST_S,
    PEER_KEPT_S,
    REST_S,
    DelegatedRouters,
    Provider,
)
from mirrornode.wire.routing_v1 import RoutingRecord
from support.virtual_swarm import make_peer_id
from support.virtual_time import run_virtual

ROOT = Cid.raw_sha256(b"r" * 32)
ANNA, BERT = make_peer_id("anna"), make_peer_id("bert")
NEAR = "http://192.168.1.2:8090"
FAR = "https://router.example.com"


@dataclass
class ScriptedHttp:
    """Routers by URL: records to tell, an error to end with; `asked` are the paths in order."""

    records: dict[str, list[RoutingRecord]] = field(default_factory=dict)
    errors: dict[str, MirrorError] = field(default_factory=dict)
    delay_s: dict[str, float] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    left: int = 0

    async def ask(self, url: str, path: str, key: str) -> AsyncGenerator[RoutingRecord, None]:
        self.asked.append((url, path))
        try:
            await asyncio.sleep(self.delay_s.get(url, 0))
            for record in self.records.get(url, ()):
                yield record
            if url in self.errors:
                raise self.errors[url]
        finally:
            self.left += 1


class Scene:
    """Some routers, and a clock that a test moves."""

    def __init__(self, *urls: str) -> None:
        self.http = ScriptedHttp()
        self.now = 100.0
        self.routers = DelegatedRouters(urls, self.http, clock=lambda: self.now)

    def find(self) -> list[Provider]:
        async def collected() -> list[Provider]:
            return [found async for found in self.routers.find_providers(ROOT)]

        return run_virtual(collected())


def followed(*addresses: str, url: str = NEAR) -> list[Provider]:
    scene = Scene(url)
    scene.http.records[url] = [RoutingRecord(ANNA, addresses)]
    return scene.find()


def test_providers_of_all_routers_come_as_they_are_told_and_each_word_once() -> None:
    scene = Scene(FAR, NEAR)
    scene.http.delay_s[FAR] = 5
    scene.http.records = {
        FAR: [RoutingRecord(ANNA, ("/ip4/10.0.0.1/tcp/1",)), RoutingRecord(BERT)],
        NEAR: [RoutingRecord(ANNA, ("/ip4/10.0.0.1/tcp/1",))],
    }
    assert scene.find() == [Provider(ANNA, ("/ip4/10.0.0.1/tcp/1",)), Provider(BERT)]
    path = scene.http.asked[0][1]
    assert path.startswith(f"/routing/v1/providers/{ROOT}?filter-protocols=unknown,")


def test_urls_then_with_or_without_the_path_and_each_once() -> None:
    scene = Scene(f"{NEAR}/", f"{NEAR}/routing/v1", f"{NEAR}/routing/v1/", NEAR)
    scene.find()
    assert [url for url, _ in scene.http.asked] == [NEAR]


def test_gateways_and_addresses_of_one_peer_are_told_apart() -> None:
    assert followed(
        "/ip4/192.168.1.5/tcp/8090/http",
        "/ip4/192.168.1.5/tcp/4101",
        "/dns4/gateway.example.com/tcp/443/https",
        "/ip4/192.168.1.5/udp/4001/quic-v1",
    ) == [
        Provider(
            ANNA,
            ("/ip4/192.168.1.5/tcp/4101", "/ip4/192.168.1.5/udp/4001/quic-v1"),
            ("http://192.168.1.5:8090", "https://gateway.example.com"),
        )
    ]


@pytest.mark.parametrize(
    "address",
    [
        "/ip4/127.0.0.1/tcp/22",
        "/ip6/::1/tcp/22",
        "/ip4/127.0.0.1/tcp/8090/http",
        "/ip4/169.254.169.254/tcp/80",
        "/ip4/169.254.169.254/tcp/80/http",
        "/ip6/fe80::1/tcp/80",
        "/ip6zone/eth0/ip6/fe80::1/tcp/80",
        "/ip4/0.0.0.0/tcp/80",
        "/ip4/224.0.0.1/tcp/80",
        "/dns4/internal.example.com/tcp/4001",
        "/dnsaddr/example.com",
        "/ip4/93.184.216.34/tcp/80/http",
    ],
)
def test_address_that_a_router_may_not_send_us_to_then_not_followed(address: str) -> None:
    assert followed(address) == []


def test_loopback_when_the_router_is_on_this_machine_then_followed() -> None:
    for url in ("http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"):
        assert followed("/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/tcp/8080/http", url=url) == [
            Provider(ANNA, ("/ip4/127.0.0.1/tcp/4001",), ("http://127.0.0.1:8080",))
        ]


def test_peer_without_addresses_then_told_for_others_to_look_up() -> None:
    assert followed() == [Provider(ANNA)]


def test_peer_with_very_many_addresses_then_few_are_followed() -> None:
    (found,) = followed(
        *(f"/ip4/10.0.0.{n}/tcp/80" for n in range(1, 20)),
        *(f"/ip4/10.0.1.{n}/tcp/80/http" for n in range(1, 20)),
    )
    assert (len(found.addresses), len(found.gateways)) == (MAX_ADDRESSES, MAX_GATEWAYS)


def test_router_that_names_everybody_then_so_many_and_no_more() -> None:
    scene = Scene(NEAR)
    names = (make_peer_id(str(n)) for n in range(3 * MAX_PROVIDERS))
    scene.http.records[NEAR] = [RoutingRecord(name) for name in names]
    assert len(scene.find()) == MAX_PROVIDERS


@pytest.mark.parametrize(
    "error", [SourceGone("refuses connections"), RemoteProtocolError("answers what is not JSON")]
)
def test_router_that_fails_then_rests_longer_each_time(error: MirrorError) -> None:
    scene = Scene(NEAR, FAR)
    scene.http.records = {FAR: [RoutingRecord(BERT)], NEAR: [RoutingRecord(ANNA)]}
    scene.http.errors[NEAR] = error
    assert {one.peer_id for one in scene.find()} == {ANNA, BERT}  # what came before counts
    rest_s = REST_S
    for _ in range(8):
        assert [one.peer_id for one in scene.find()] == [BERT]
        scene.now += rest_s
        assert {one.peer_id for one in scene.find()} == {ANNA, BERT}
        rest_s = min(2 * rest_s, MAX_REST_S)
    scene.now += MAX_REST_S
    del scene.http.errors[NEAR]
    scene.find()
    scene.http.errors[NEAR] = error
    scene.find()  # it was well for once: the next rest is short again
    scene.now += REST_S
    assert {one.peer_id for one in scene.find()} == {ANNA, BERT}


def test_router_that_asks_to_wait_then_is_left_alone_so_long_but_not_for_ever() -> None:
    scene = Scene(NEAR)
    scene.http.errors[NEAR] = SourceRefused("answered 429", status=429, retry_after_s=60)
    scene.find()
    scene.now += 59
    scene.find()
    assert len(scene.http.asked) == 1
    scene.now += 1
    scene.http.errors[NEAR] = SourceRefused("answered 503", status=503, retry_after_s=1e9)
    scene.find()
    scene.now += MAX_REST_S
    scene.find()
    assert len(scene.http.asked) == 3


def test_search_that_is_closed_early_then_all_questions_end() -> None:
    scene = Scene(NEAR, FAR)
    scene.http.records[NEAR] = [RoutingRecord(ANNA)]
    scene.http.delay_s[FAR] = 1e6

    async def first() -> Provider:
        async with aclosing(scene.routers.find_providers(ROOT)) as found:
            return await anext(found)

    assert run_virtual(first()).peer_id == ANNA
    assert scene.http.left == 2


def test_peer_then_its_addresses_by_the_first_who_knows_and_kept_for_a_while() -> None:
    scene = Scene(NEAR, FAR)
    scene.http.delay_s[FAR] = 1
    scene.http.records[NEAR] = [RoutingRecord(BERT, ("/ip4/10.0.0.9/tcp/1",)), RoutingRecord(ANNA)]
    scene.http.records[FAR] = [RoutingRecord(ANNA, ("/ip4/10.0.0.1/tcp/1",))]
    assert run_virtual(scene.routers.find_peer(ANNA)) == ("/ip4/10.0.0.1/tcp/1",)
    assert scene.http.asked[0] == (NEAR, f"/routing/v1/peers/{ANNA}")
    assert run_virtual(scene.routers.find_peer(ANNA)) == ("/ip4/10.0.0.1/tcp/1",)
    assert len(scene.http.asked) == 2
    scene.now += PEER_KEPT_S
    run_virtual(scene.routers.find_peer(ANNA))
    assert len(scene.http.asked) == 4

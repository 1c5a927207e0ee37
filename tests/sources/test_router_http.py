"""Asking routers over real HTTP: honest ones, old ones, and those that mean us harm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from urllib.parse import urlsplit

import pytest

from mirrornode.errors import (
    MirrorError,
    RemoteProtocolError,
    SourceGone,
    SourceRefused,
    SourceTooSlow,
)
from mirrornode.sources.router_http import open_router_http
from mirrornode.wire.routing_v1 import MAX_RECORDS, RoutingRecord, record_to_json
from support.raw_server import Behaviour, RawServer, Visit, raw_server
from support.stand_in_proxy import stand_in_proxy
from support.virtual_swarm import make_peer_id

PATH = "/routing/v1/providers/bafkqaaa?filter-protocols=unknown"
RECORD = RoutingRecord(make_peer_id("anna"), ("/ip4/10.0.0.1/tcp/4001",), ("transport-bitswap",))
LINE = json.dumps(record_to_json(RECORD)).encode() + b"\n"
STREAM = "Content-Type: application/x-ndjson\r\n"
PLAIN = "Content-Type: application/json\r\n"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
)


async def ask(url: str, *, answer_s: float = 30.0) -> list[RoutingRecord]:
    with open_router_http(answer_s=answer_s) as http:
        async with aclosing(http.ask(url, PATH, "Providers")) as records:
            return [record async for record in records]


def answering(body: bytes, headers: str = STREAM, status: str = "200 OK") -> Behaviour:
    def behaviour(visit: Visit) -> None:
        visit.head()
        visit.answer(body, status=status, headers=headers)

    return behaviour


@contextmanager
def router(body: bytes, headers: str = STREAM, status: str = "200 OK") -> Iterator[RawServer]:
    with raw_server(answering(body, headers, status)) as server:
        yield server


async def test_stream_then_its_records_and_the_question_as_routers_know_it() -> None:
    with router(LINE + LINE) as server:
        assert await ask(f"{server.url}/base/") == [RECORD, RECORD]
    (head,) = server.requests
    assert head.startswith(f"GET /base{PATH} HTTP/1.1\r\n")
    lines = head.split("\r\n")
    assert "Accept: application/x-ndjson, application/json;q=0.9" in lines
    assert "Accept-Encoding: identity" in lines


async def test_document_then_its_records() -> None:
    body = json.dumps({"Providers": [record_to_json(RECORD)]}).encode()
    with router(body, PLAIN) as server:
        assert await ask(server.url) == [RECORD]


async def test_not_found_then_nobody() -> None:
    with router(b"routing: not found", "", "404 Not Found") as server:
        assert await ask(server.url) == []


async def test_record_then_told_before_the_stream_ends() -> None:
    def behaviour(visit: Visit) -> None:
        visit.head()
        visit.send(CHUNKED + f"{len(LINE):x}\r\n".encode() + LINE + b"\r\n")
        visit.hang()

    with raw_server(behaviour) as server, open_router_http() as http:
        async with aclosing(http.ask(server.url, PATH, "Providers")) as records:
            assert await anext(records) == RECORD


@pytest.mark.parametrize(
    ("body", "headers", "status", "error", "words"),
    [
        (b"<html>", PLAIN, "200 OK", RemoteProtocolError, "not JSON"),
        (b'{"Providers":{}}', PLAIN, "200 OK", RemoteProtocolError, "list of Providers"),
        (b'{"Schema":"peer"}\n', STREAM, "200 OK", RemoteProtocolError, "names no peer"),
        (b'"peer"\n', STREAM, "200 OK", RemoteProtocolError, "no object"),
        (b"x" * 70_000, STREAM, "200 OK", RemoteProtocolError, "line of more"),
        (b" " * 1_100_000, PLAIN, "200 OK", RemoteProtocolError, "more than 1048576 bytes"),
        (b"", "Location: http://10.0.0.1/\r\n", "302 Found", SourceRefused, "redirects elsewhere"),
        (b"", "Retry-After: 7\r\n", "429 Slow Down", SourceRefused, "wait 7 s"),
        (b"", "", "501 Not Implemented", SourceRefused, "answered 501"),
    ],
)
async def test_answer_that_is_no_use_then_said_in_words(
    body: bytes, headers: str, status: str, error: type[MirrorError], words: str
) -> None:
    with router(body, headers, status) as server:
        with pytest.raises(error, match=words):
            await ask(server.url)
        assert server.connections == 1


async def test_endless_stream_of_records_then_left_after_so_many() -> None:
    def behaviour(visit: Visit) -> None:
        visit.head()
        visit.send(CHUNKED)
        chunk = f"{len(LINE):x}\r\n".encode() + LINE + b"\r\n"
        while True:
            visit.sock.sendall(chunk * 100)  # ends with an OSError when the asker has left

    with raw_server(behaviour) as server:
        assert len(await ask(server.url)) == MAX_RECORDS


async def test_endless_stream_of_blank_lines_then_refused_within_bounds() -> None:
    def behaviour(visit: Visit) -> None:
        visit.head()
        visit.send(CHUNKED)
        while True:
            visit.sock.sendall(b"1000\r\n" + b"\n" * 4096 + b"\r\n")

    with raw_server(behaviour) as server, pytest.raises(RemoteProtocolError, match="more than"):
        await ask(server.url)


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndj", CHUNKED]
)
async def test_router_that_falls_silent_then_too_slow(sent: bytes) -> None:
    def behaviour(visit: Visit) -> None:
        visit.head()
        visit.send(sent)
        visit.hang()

    with raw_server(behaviour) as server, pytest.raises(SourceTooSlow):
        await ask(server.url, answer_s=0.1)


async def test_answer_that_breaks_off_then_what_came_counts() -> None:
    def behaviour(visit: Visit) -> None:
        visit.head()
        visit.answer(LINE, headers=STREAM, length=10_000)

    with raw_server(behaviour) as server, open_router_http() as http:
        async with aclosing(http.ask(server.url, PATH, "Providers")) as records:
            assert await anext(records) == RECORD
            with pytest.raises(SourceGone, match="sent less"):
                await anext(records)


async def test_router_when_left_early_then_the_connection_is_broken_off() -> None:
    left: list[bytes] = []

    def behaviour(visit: Visit) -> None:
        visit.head()
        visit.send(CHUNKED + f"{len(LINE):x}\r\n".encode() + LINE + b"\r\n")
        left.append(visit.sock.recv(1))

    with raw_server(behaviour) as server, open_router_http() as http:
        async with aclosing(http.ask(server.url, PATH, "Providers")) as records:
            await anext(records)
    assert left == [b""]


async def test_login_of_the_url_then_sent() -> None:
    with router(LINE) as server:
        await ask(server.url.replace("//", "//user:pass@"))
    assert "Authorization: Basic dXNlcjpwYXNz" in server.requests[0].split("\r\n")


async def test_proxy_of_the_environment_then_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with router(LINE) as server, stand_in_proxy(server.port) as proxy:
        for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "HTTP_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        assert await ask("http://router.example.com:8090") == [RECORD]
    assert [urlsplit(place).netloc for place in proxy.places] == ["router.example.com:8090"]

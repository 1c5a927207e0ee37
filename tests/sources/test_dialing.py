"""Connecting to the first address that answers, whatever the others do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

import pytest

from mirrornode.errors import SourceError, SourceGone, SourceTooSlow
from mirrornode.sources.dialing import MAX_ADDRESSES, Address, Dial, in_turn, look_up
from mirrornode.sources.http_client import Endpoint, HttpConnection
from support.deaf_listener import address_of, deaf_address
from support.raw_server import Visit, raw_server

SHORT_S = 0.1


def hello(visit: Visit) -> None:
    while visit.head():
        visit.answer(b"hello")


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def connection(*addresses: Address, connect_timeout_s: float = 8.0) -> HttpConnection:
    return HttpConnection(
        Endpoint("http", "models.test", 80),
        "http:test",
        connect_timeout_s=connect_timeout_s,
        resolve=lambda host, port: addresses,
    )


def body_from(*addresses: Address) -> bytes:
    asking = connection(*addresses)
    try:
        asking.request("/", {})
        return asking.read_all(100)
    finally:
        asking.abort()


@pytest.mark.parametrize("deaf_host", ["127.0.0.1", "::1"])
def test_first_address_when_it_is_a_black_hole_then_the_next_answers(deaf_host: str) -> None:
    with deaf_address(deaf_host) as deaf, raw_server(hello) as server:
        # Well within the time that the first alone would take.
        asking = connection(deaf, deaf, address_of(server.port), connect_timeout_s=8.0)
        asking.request("/", {})
        assert asking.read_all(100) == b"hello"
        asking.abort()


def test_first_address_when_it_refuses_then_the_next_answers_at_once() -> None:
    with raw_server(hello) as server:
        assert body_from(address_of(closed_port()), address_of(server.port)) == b"hello"


def test_family_when_this_machine_cannot_use_it_then_the_next_answers() -> None:
    unknown: Address = (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", "/nonexistent/socket")
    with raw_server(hello) as server:
        assert body_from(unknown, address_of(server.port)) == b"hello"


def test_all_addresses_when_they_refuse_then_source_gone() -> None:
    with pytest.raises(SourceGone, match="refuses connections"):
        body_from(address_of(closed_port()), address_of(closed_port(), "127.0.0.2"))


def test_all_addresses_when_they_are_black_holes_then_too_slow_after_one_timeout() -> None:
    with deaf_address() as one, deaf_address() as two, pytest.raises(SourceTooSlow, match="accept"):
        connection(one, two, connect_timeout_s=SHORT_S).request("/", {})


@pytest.mark.parametrize("deaf_count", [1, 3])
def test_abort_reaches_every_socket_of_the_race(deaf_count: int) -> None:
    with deaf_address() as deaf:
        asking = connection(*[deaf] * deaf_count)
        failures: list[SourceError] = []

        def work() -> None:
            try:
                asking.request("/", {})
            except SourceError as exc:
                failures.append(exc)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        while thread.is_alive():
            asking.abort()
            thread.join(0.01)
        assert [str(failure) for failure in failures] == ["broken off"]


def test_abort_wakes_a_look_up_that_hangs() -> None:
    asked, over = threading.Event(), threading.Event()

    def hanging(host: str, port: int) -> Sequence[Address]:
        asked.set()
        over.wait()
        return []

    asking = HttpConnection(Endpoint("http", "models.test", 80), "http:test", resolve=hanging)
    failures: list[SourceError] = []

    def work() -> None:
        try:
            asking.request("/", {})
        except SourceError as exc:
            failures.append(exc)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    asked.wait()
    asking.abort()
    thread.join()
    over.set()
    assert [str(failure) for failure in failures] == ["broken off"]


def test_look_up_when_it_takes_too_long_or_finds_nothing_then_said() -> None:
    over = threading.Event()

    def hanging(host: str, port: int) -> Sequence[Address]:
        over.wait()
        return []

    with pytest.raises(socket.gaierror, match="name servers do not answer"):
        Dial(hanging).connect("models.test", 80, SHORT_S)
    over.set()
    with pytest.raises(SourceGone, match=r"models\.test has no address"):
        body_from()


def test_literal_address_needs_no_look_up_thread() -> None:
    before = threading.active_count()

    def counting(host: str, port: int) -> Sequence[Address]:
        assert threading.active_count() == before
        return look_up(host, port)

    with socket.create_server(("127.0.0.1", 0)) as server:
        Dial(counting).connect("127.0.0.1", server.getsockname()[1], 5.0).close()


def test_families_take_turns_and_long_lists_are_cut() -> None:
    six = [address_of(port, "::1") for port in (1, 2, 3)]
    four = [address_of(port) for port in (4, 5)]
    assert [a[4][1] for a in in_turn([*six, *four])] == [1, 4, 2, 5, 3]
    assert in_turn([]) == []
    assert len(in_turn([address_of(port) for port in range(1, 99)])) == MAX_ADDRESSES

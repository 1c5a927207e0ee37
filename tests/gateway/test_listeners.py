"""Ports: a default one gives way, a named one is an error."""

from __future__ import annotations

import socket

import pytest

from mirrornode.errors import ConfigError
from mirrornode.gateway import listeners
from mirrornode.gateway.listeners import Address, bind, parse_address


def test_address_when_not_given_then_the_default() -> None:
    assert parse_address("", "k", "0.0.0.0", 4102) == Address("0.0.0.0", 4102, is_default=True)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[::1]:80", "::1", 80),
        ("nas.local:65535", "nas.local", 65535),
    ],
)
def test_address_when_given_then_parsed(text: str, host: str, port: int) -> None:
    assert parse_address(text, "k", "x", 1) == Address(host, port, is_default=False)


@pytest.mark.parametrize(
    "text", ["8090", ":8090", "h:", "h:x", "h:65536", "h:-1", "h:\u00b2", "[]:1"]
)
def test_address_when_malformed_then_config_error(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(text, "gateway.address", "x", 1)
    assert caught.value.key == "gateway.address"


def test_port_when_the_default_is_taken_then_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with bind(Address("127.0.0.1", port, is_default=True), "k") as sock:
            assert sock.getsockname()[1] not in (0, port)


def test_port_when_a_named_one_is_taken_then_config_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1], is_default=False)
        with pytest.raises(ConfigError, match=r"127\.0\.0\.1"):
            bind(address, "gateway.address")


def test_port_is_owned_from_the_moment_it_is_bound() -> None:
    # Both could bind one port, and the second would fail only later, when it begins to listen.
    with bind(Address("127.0.0.1", 0, is_default=False), "k") as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError):
            bind(Address("127.0.0.1", port, is_default=False), "k")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.7", "a..b", "x" * 300])
@pytest.mark.parametrize("is_default", [True, False])
def test_host_when_it_is_not_ours_then_config_error(host: str, is_default: bool) -> None:
    with pytest.raises(ConfigError):
        bind(Address(host, 4102, is_default=is_default), "peer_plane.address")


@pytest.mark.skipif(not hasattr(socket, "TCP_CONGESTION"), reason="Linux only")
@pytest.mark.parametrize(("limit_s", "is_tuned"), [(60.0, True), (0.0, False)])
def test_accepted_connection_is_tuned_only_when_the_round_trip_is_short(
    monkeypatch: pytest.MonkeyPatch, limit_s: float, is_tuned: bool
) -> None:
    monkeypatch.setattr(listeners, "LAN_ROUND_TRIP_S", limit_s)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()),
        server.accept()[0] as accepted,
    ):
        before = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        listeners.tune_for_lan(accepted)
        after = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    assert after.rstrip(b"\0") in ((b"cubic", b"reno") if is_tuned else (before.rstrip(b"\0"),))

"""HTTP multiaddrs: which become URLs, and which strangers may not send us to."""

from __future__ import annotations

import pytest

from mirrornode.wire.http_address import gateway_url, http_address, is_http
from mirrornode.wire.multiaddr import multiaddr_to_bytes


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("/ip4/192.168.1.5/tcp/8080/http", "http://192.168.1.5:8080"),
        ("/ip4/10.1.2.3/tcp/80/http", "http://10.1.2.3"),
        ("/ip4/172.31.0.1/tcp/81/http/p2p/12D3KooWLU2znyJMtDiHArqAGbZn8CgUGp92kxDBtefftEEaHSZS",
         "http://172.31.0.1:81"),
        ("/ip6/fd00::1/tcp/8090/http", "http://[fd00::1]:8090"),
        ("/dns4/gateway.example.com/tcp/443/https", "https://gateway.example.com"),
        ("/dns/gateway.example.com/tcp/8443/tls/http", "https://gateway.example.com:8443"),
        ("/dns4/h.example.com/tcp/443/tls/sni/h.example.com/http", "https://h.example.com"),
        ("/ip4/93.184.216.34/tcp/443/tls/http", "https://93.184.216.34"),
    ],
)  # fmt: skip
def test_gateway_url_when_it_may_be_asked_then_given(address: str, url: str) -> None:
    assert gateway_url(address, allow_loopback=False) == url
    assert is_http(address)


@pytest.mark.parametrize(
    "address",
    [
        "/ip4/127.0.0.1/tcp/8080/http",
        "/ip6/::1/tcp/8080/http",
        "/ip4/127.0.0.1/tcp/443/https",
        "/ip4/93.184.216.34/tcp/80/http",  # plain on a public address
        "/dns4/gateway.example.com/tcp/80/http",  # plain on a name
        "/ip4/169.254.169.254/tcp/80/http",  # the metadata service of a cloud
        "/ip4/169.254.169.254/tcp/443/https",
        "/ip4/100.64.0.1/tcp/80/http",
        "/ip4/0.0.0.0/tcp/80/http",
        "/ip4/224.0.0.1/tcp/443/https",
        "/ip6/fe80::1/tcp/80/http",
        "/ip6/::ffff:10.0.0.1/tcp/80/http",
        "/ip6zone/eth0/ip6/fe80::1/tcp/80/http",
        "/dns4/localhost/tcp/443/https",
        "/dns4/router.local/tcp/443/https",
        "/dns4/intranet/tcp/443/https",
        "/dns4/u:p@h.example.com/tcp/443/https",
        "/dns4/h.example.com?x/tcp/443/https",
        "/dns4/front.example.com/tcp/443/tls/sni/other.example.com/http",
        "/ip4/192.168.1.5/tcp/8080/http/http-path/a",
        "/ip4/192.168.1.5/udp/8080/quic-v1/http",
        "/ip4/192.168.1.5/tcp/8080",
        "/ip4/192.168.1.5/tcp/8080/ws",
        "nonsense",
        "",
    ],
)
def test_gateway_url_when_it_may_not_be_asked_then_none(address: str) -> None:
    assert gateway_url(address, allow_loopback=False) is None


def test_gateway_url_when_named_from_this_machine_then_loopback_too() -> None:
    assert gateway_url("/ip4/127.0.0.1/tcp/80/http", allow_loopback=True) == "http://127.0.0.1"
    assert gateway_url("/ip4/169.254.169.254/tcp/80/http", allow_loopback=True) is None


def test_http_address_then_the_bytes_others_write() -> None:
    # SOURCE: multiaddr table; the binary form as go-multiaddr encodes it.
    assert http_address("127.0.0.1", 8080) == "/ip4/127.0.0.1/tcp/8080/http"
    binary = multiaddr_to_bytes(http_address("127.0.0.1", 8080))
    assert binary.hex() == "047f000001061f90e003"
    assert http_address("fd00::1", 80) == "/ip6/fd00::1/tcp/80/http"
    assert not is_http(
        "/ip4/127.0.0.1/tcp/8080/p2p/12D3KooWLU2znyJMtDiHArqAGbZn8CgUGp92kxDBtefftEEaHSZS"
    )

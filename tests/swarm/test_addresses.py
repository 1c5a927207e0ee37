"""Multiaddrs in and out, and what is announced for a wildcard listener."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.errors import ConfigError
from mirrornode.swarm.addresses import (
    CACHE_S,
    AnnouncedAddresses,
    InterfaceAddress,
    TcpAddress,
    concrete_addresses,
    dialable,
    interface_addresses,
)
from mirrornode.swarm.settings import parse_bootstrap, parse_listen

# SOURCE: libp2p/specs peer-ids/peer-ids.md, test vectors
PEER = "12D3KooWLU2znyJMtDiHArqAGbZn8CgUGp92kxDBtefftEEaHSZS"
PEER_CID = "bafzaajaiaejcbhr3im6l2mocxctoxpoktgf5b5gccqojzgxviixjoycrwhtdv4kn"


def interface(name: str, address: str) -> InterfaceAddress:
    network = ipaddress.ip_interface(address)
    return InterfaceAddress(name, network.ip, network.network.prefixlen)


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/192.168.1.5/tcp/4101",
        "/ip6/fd00::1/tcp/65535",
        "/dns4/boot.example.org/tcp/4001",
        f"/dns/boot/tcp/4001/p2p/{PEER}",
    ],
)
def test_parse_when_dialable_form_then_text_comes_back(text: str) -> None:
    assert str(TcpAddress.parse(text)) == text


def test_parse_when_other_spellings_then_normal_form() -> None:
    assert str(TcpAddress.parse("/ip6/FD00:0:0::1/tcp/1")) == "/ip6/fd00::1/tcp/1"
    text = f"/ip4/1.2.3.4/tcp/1/ipfs/{PEER_CID}"
    assert str(TcpAddress.parse(text)) == f"/ip4/1.2.3.4/tcp/1/p2p/{PEER}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "192.168.1.5:4101",
        "/ip4/192.168.1.5",
        "/ip4/192.168.1.500/tcp/1",
        "/ip4/1.2.3.4/udp/4001/quic-v1",
        "/ip4/1.2.3.4/tcp/4001/ws",
        "/ip4/1.2.3.4/tcp/65536",
        "/ip4/1.2.3.4/tcp/-1",
        "/ip4/1.2.3.4/tcp/٣",
        "/ip4/1.2.3.4/tcp/1/p2p/nobody",
        "/ip6/fe80::1%eth0/tcp/1",
        "/dns4/a b/tcp/1",
        "/dns4/-x/tcp/1",
        f"/ip4/1.2.3.4/tcp/1/p2p/{PEER}/p2p-circuit",
        "/" * 600,
    ],
)
def test_parse_when_not_dialable_then_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):  # every form has its own message
        TcpAddress.parse(text)


@given(st.text(max_size=60))
def test_parse_when_anything_then_value_error_or_address(text: str) -> None:
    try:
        TcpAddress.parse("/" + text)
    except ValueError:
        return


def test_of_socket_when_mapped_ipv4_then_ip4() -> None:
    assert str(TcpAddress.of_socket("::ffff:10.0.0.1", 7)) == "/ip4/10.0.0.1/tcp/7"
    assert str(TcpAddress.of_socket("fe80::1%eth0", 7)) == "/ip6/fe80::1/tcp/7"


def test_dialable_when_mixed_then_keeps_order_and_drops_the_rest() -> None:
    texts = [
        "/ip4/10.0.0.1/udp/1/quic-v1",
        f"/ip4/10.0.0.1/tcp/1/p2p/{PEER}",
        "/ip4/10.0.0.1/tcp/1",  # the same endpoint
        "/ip4/0.0.0.0/tcp/1",
        "/ip4/10.0.0.2/tcp/0",
        "/ip4/10.0.0.3/tcp/1/p2p/12D3KooWM6CgA9iBFZmcYAHA6A2qvbAxqfkmrYiRQuz3XEsk4Ksv",
        "/ip4/224.0.0.1/tcp/1",
        "/ip4/10.0.0.4/tcp/1",
        "/ip4/10.0.0.5/tcp/1",
    ]
    found = dialable(texts, PEER, limit=2)
    assert [each.host for each in found] == ["10.0.0.1", "10.0.0.4"]


LAN = interface("eth0", "192.168.1.5/24")
LOOPBACK = interface("lo", "127.0.0.1/8")
DOCKER = interface("docker0", "172.17.0.1/16")
V6 = [
    interface("lo", "::1/128"),
    interface("eth0", "fe80::2/64"),
    interface("eth0", "fd00::2/64"),
]


def announced(listeners: Sequence[str], interfaces: Sequence[InterfaceAddress]) -> list[str]:
    parsed = [TcpAddress.parse(text) for text in listeners]
    return [str(each) for each in concrete_addresses(parsed, interfaces)]


def test_concrete_when_wildcard_then_interfaces_useful_first_loopback_last() -> None:
    assert announced(["/ip4/0.0.0.0/tcp/9"], [LOOPBACK, DOCKER, LAN, *V6]) == [
        "/ip4/192.168.1.5/tcp/9",
        "/ip4/172.17.0.1/tcp/9",
        "/ip4/127.0.0.1/tcp/9",
    ]


def test_concrete_when_ipv6_wildcard_then_no_link_local() -> None:
    assert announced(["/ip6/::/tcp/9"], [LOOPBACK, LAN, *V6]) == [
        "/ip6/fd00::2/tcp/9",
        "/ip6/::1/tcp/9",
    ]


def test_concrete_when_one_address_is_listened_on_then_only_that() -> None:
    assert announced(["/ip4/192.168.1.5/tcp/9"], [LOOPBACK, LAN]) == ["/ip4/192.168.1.5/tcp/9"]


def test_announced_when_interfaces_change_then_noticed_after_the_cache() -> None:
    interfaces = [LOOPBACK]
    now = 0.0
    book = AnnouncedAddresses(
        [TcpAddress.parse("/ip4/0.0.0.0/tcp/9")],
        interfaces=lambda: list(interfaces),
        clock=lambda: now,
    )
    assert [each.host for each in book.current()] == ["127.0.0.1"]
    interfaces.append(LAN)
    assert [each.host for each in book.current()] == ["127.0.0.1"]
    now = CACHE_S
    assert [each.host for each in book.current()] == ["192.168.1.5", "127.0.0.1"]


def test_interface_addresses_when_asked_then_loopback_is_among_them() -> None:
    assert any(each.ip.is_loopback for each in interface_addresses())


def test_is_neighbour_when_in_the_network_then_true() -> None:
    assert LAN.is_neighbour(ipaddress.ip_address("192.168.1.77"))
    assert not LAN.is_neighbour(ipaddress.ip_address("192.168.2.77"))
    assert not LAN.is_neighbour(ipaddress.ip_address("fd00::1"))


def test_parse_bootstrap_when_two_addresses_of_a_peer_then_grouped() -> None:
    texts = [f"/dns4/boot/tcp/1/p2p/{PEER}", f"/ip4/10.0.0.1/tcp/1/p2p/{PEER_CID}"]
    assert parse_bootstrap(texts) == {PEER: (texts[0], f"/ip4/10.0.0.1/tcp/1/p2p/{PEER}")}


@pytest.mark.parametrize(
    "text", ["nonsense", "/ip4/10.0.0.1/tcp/1", f"/ip4/10.0.0.1/tcp/0/p2p/{PEER}"]
)
def test_parse_bootstrap_when_wrong_then_names_it(text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        parse_bootstrap([text])
    assert caught.value.key == "swarm.bootstrap"


@pytest.mark.parametrize(
    "text", ["0.0.0.0:4101", "/dns4/me/tcp/1", f"/ip4/0.0.0.0/tcp/1/p2p/{PEER}"]
)
def test_parse_listen_when_wrong_then_names_it(text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        parse_listen([text])
    assert caught.value.key == "swarm.listen"

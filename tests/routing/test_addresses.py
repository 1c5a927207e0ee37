"""Which addresses cross which link, and the bounded address book."""

from __future__ import annotations

import pytest

from mirrornode.routing.kad.addresses import (
    AddressBook,
    LanAddresses,
    Reach,
    bare_addresses,
    reach_of,
)
from support.virtual_swarm import make_peer_id

PEER = make_peer_id("peer")


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("/ip4/127.0.0.1/tcp/1", Reach.MACHINE),
        ("/ip6/::1/tcp/1", Reach.MACHINE),
        ("/ip6/::ffff:127.0.0.1/tcp/1", Reach.MACHINE),
        ("/ip4/10.1.2.3/tcp/1", Reach.LAN),
        ("/ip4/172.16.0.1/udp/1/quic-v1", Reach.LAN),
        ("/ip4/192.168.1.5/tcp/8443/tls/http", Reach.LAN),
        ("/ip4/100.64.0.1/tcp/1", Reach.LAN),
        ("/ip4/169.254.1.1/tcp/1", Reach.LAN),
        ("/ip6/fd00::1/tcp/1", Reach.LAN),
        ("/ip6zone/eth0/ip6/fe80::1/tcp/1", Reach.LAN),
        ("/ip4/8.8.8.8/tcp/1", Reach.WORLD),
        ("/ip6/2600::1/tcp/1", Reach.WORLD),
        ("/ip4/0.0.0.0/tcp/1", Reach.NOWHERE),
        ("/ip4/224.0.0.1/udp/1", Reach.NOWHERE),
        ("/dns4/intranet/tcp/1", Reach.NOWHERE),
        (f"/ip4/10.0.0.1/tcp/1/p2p/{PEER}/p2p-circuit", Reach.NOWHERE),
        ("nonsense", Reach.NOWHERE),
    ],
)
def test_reach_of(address: str, reach: Reach) -> None:
    assert reach_of(address) is reach


def test_select_lets_loopback_cross_loopback_links_only() -> None:
    lan = LanAddresses(list)
    addresses = ["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1"]
    assert lan.select(addresses, "/ip4/127.0.0.1/tcp/9") == addresses[:2]
    assert lan.select(addresses, "/ip4/10.0.0.7/tcp/9") == addresses[1:2]
    assert lan.select(addresses, "") == addresses[1:2]


def test_select_accepts_public_addresses_of_our_own_subnet() -> None:
    lan = LanAddresses(lambda: ["/ip4/141.20.5.7/tcp/1", "/ip6/2600:1:2:3::1/tcp/1"])
    near = ["/ip4/141.20.5.99/tcp/1", "/ip6/2600:1:2:3:4::5/tcp/1"]
    far = ["/ip4/141.20.6.1/tcp/1", "/ip6/2600:1:2:4::1/tcp/1"]
    assert lan.select(near + far, "/ip4/141.20.5.99/tcp/1") == near


def test_bare_addresses_leaves_out_those_of_others() -> None:
    assert bare_addresses(
        [
            f"/ip4/10.0.0.1/tcp/1/p2p/{PEER}",
            "/ip4/10.0.0.2/tcp/1",
            f"/ip4/10.0.0.3/tcp/1/p2p/{make_peer_id('other')}",
            f"/p2p/{PEER}",
            "nonsense",
        ],
        PEER,
    ) == ["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/1"]


def test_book_is_bounded_and_forgets_the_longest_unmentioned() -> None:
    book = AddressBook(max_peers=2)
    book.add("a", ["/ip4/10.0.0.1/tcp/1"])
    book.add("b", ["/ip4/10.0.0.2/tcp/1"])
    book.add("a", [f"/ip4/10.0.0.1/tcp/{port}" for port in range(2, 60)])
    book.add("c", ["/ip4/10.0.0.3/tcp/1"])
    assert list(book) == ["a", "c"]
    assert len(book.get("a")) == 20
    assert book.get("a")[0] == "/ip4/10.0.0.1/tcp/2"
    assert book.get("b") == ()


def test_book_does_not_remember_peers_without_addresses() -> None:
    book = AddressBook()
    book.add("a", [])
    assert len(book) == 0

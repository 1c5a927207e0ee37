"""The rules of the two DHTs: addresses, links, IP groups, links to strangers."""

from __future__ import annotations

import pytest

from mirrornode.routing.kad.addresses import LanAddresses, PublicAddresses, group_of
from mirrornode.routing.kad.dialled import DialledLinks
from mirrornode.routing.kad.diversity import GroupLimits, IpDiversity
from mirrornode.routing.kad.rules import lan_rules, public_rules

PRIVATE = [
    "/ip4/127.0.0.1/tcp/1",
    "/ip4/10.0.0.1/tcp/1",
    "/ip4/100.64.0.1/tcp/1",
    "/ip4/169.254.0.1/tcp/1",
    "/ip4/192.168.0.1/udp/1/quic-v1",
    "/ip4/203.0.113.7/tcp/1",  # documentation
    "/ip6/::1/tcp/1",
    "/ip6/fd00::1/tcp/1",
    "/ip6/fe80::1/tcp/1",
    "/ip6/::ffff:10.0.0.1/tcp/1",
    "/ip4/0.0.0.0/tcp/1",
    "/dns4/example.com/tcp/1",
]
PUBLIC = ["/ip4/8.8.8.8/tcp/1", "/ip6/2600::1/tcp/1", "/ip4/11.0.0.1/udp/1/quic-v1"]


@pytest.mark.parametrize("link", ["/ip4/10.0.0.9/tcp/1", "/ip4/8.8.8.8/tcp/1", ""])
def test_public_network_takes_and_tells_public_addresses_only(link: str) -> None:
    assert PublicAddresses().select(PRIVATE + PUBLIC, link) == PUBLIC


@pytest.mark.parametrize(
    ("link", "beside_public", "covered"),
    [
        ("/ip4/10.0.0.9/tcp/1", True, True),
        ("/ip4/127.0.0.1/tcp/1", True, True),
        ("/ip4/141.20.5.7/tcp/1", True, True),  # next to our own address
        ("/ip4/8.8.8.8/tcp/1", True, False),
        ("/dns4/example.com/tcp/1", True, False),
        ("/ip4/8.8.8.8/tcp/1", False, True),  # without the public DHT: a node the user named
    ],
)
def test_lan_beside_the_public_network_is_for_near_links(
    link: str, beside_public: bool, covered: bool
) -> None:
    rules = lan_rules(lambda: ["/ip4/141.20.5.1/tcp/1"], beside_public=beside_public)
    assert rules.addresses.covers(link) is covered


def test_rules_name_the_networks_and_their_protocols() -> None:
    assert [(r.name, r.protocol) for r in (lan_rules(list), public_rules())] == [
        ("lan", "/ipfs/lan/kad/1.0.0"),
        ("public", "/ipfs/kad/1.0.0"),
    ]
    assert isinstance(lan_rules(list).addresses, LanAddresses)


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("/ip4/11.22.33.44/tcp/1", "11.22.0.0/16"),
        ("/ip6/2600:1f18:1:2::3/tcp/1", "2600:1f18::/32"),
        ("/ip4/10.22.33.44/tcp/1", ""),
        ("/dns4/example.com/tcp/1", ""),
    ],
)
def test_group_of(address: str, group: str) -> None:
    assert group_of(address) == group


def _admitted(steps: list[tuple[str, int, str]]) -> list[bool]:
    diversity = IpDiversity(GroupLimits(per_table=3, per_bucket=2))
    return [diversity.admit(peer, bucket, [address]) for peer, bucket, address in steps]


@pytest.mark.parametrize(
    ("steps", "admitted"),
    [
        (  # two of a group in one bucket, three in all
            [(str(n), n // 3, f"/ip4/11.1.{n}.1/tcp/1") for n in range(6)],
            [True, True, False, True, False, False],
        ),
        ([(str(n), 0, f"/ip4/11.{n}.1.1/tcp/1") for n in range(6)], [True] * 6),
        ([("same", 0, "/ip4/11.1.1.1/tcp/1")] * 4, [True] * 4),
    ],
)
def test_diversity(steps: list[tuple[str, int, str]], admitted: list[bool]) -> None:
    assert _admitted(steps) == admitted


def test_diversity_gives_the_place_of_who_left_to_another() -> None:
    diversity = IpDiversity(GroupLimits(per_table=1))
    assert diversity.admit("a", 0, ["/ip4/11.1.1.1/tcp/1"])
    assert not diversity.admit("b", 0, ["/ip4/11.1.9.9/tcp/1"])
    diversity.remove("a")
    diversity.remove("a")
    assert diversity.admit("b", 0, ["/ip4/11.1.9.9/tcp/1"])


def test_diversity_without_limits_admits_all() -> None:
    diversity = IpDiversity(GroupLimits())
    assert all(diversity.admit(str(n), 0, ["/ip4/11.1.1.1/tcp/1"]) for n in range(50))


def test_dialled_links_end_the_longest_unused_and_none_in_use() -> None:
    links = DialledLinks(2)
    for peer in "abcd":
        links.add(peer)
    with links.using("a"), links.using("a"):
        assert links.take_excess() == ["b", "c"]
    links.add("e")
    links.add("f")
    links.forget("f")
    assert links.take_excess() == ["d"]  # a was used after it
    assert len(links) == 2


def test_dialled_links_without_a_limit_are_kept() -> None:
    links = DialledLinks(0)
    for number in range(50):
        links.add(str(number))
    assert links.take_excess() == []

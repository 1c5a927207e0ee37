"""What walks have shown of a network: never a wrong claim, and few walks for many keys."""

from __future__ import annotations

import heapq
import random

import pytest

from mirrornode.routing.kad.cover import Region, RegionCover, key_within
from mirrornode.routing.kad.keys import KEY_BITS, kad_id, peer_kad_id
from mirrornode.routing.kad.size import SizeEstimate
from support.virtual_swarm import make_peer_id

K = 20
PEERS = [make_peer_id(f"server {number}") for number in range(600)]


def _nearest(place: int, count: int = K, peers: list[str] = PEERS) -> list[str]:
    return heapq.nsmallest(count, peers, key=lambda peer: peer_kad_id(peer) ^ place)


def test_nothing_is_certain_before_a_walk() -> None:
    cover = RegionCover(K)
    assert cover.nearest(5, K) is None
    assert cover.gap_near(5) is None


def test_a_walk_makes_its_own_place_certain_once_its_region_is_known() -> None:
    cover = RegionCover(K)
    cover.add(place := kad_id(b"somewhere"), _nearest(place))
    for _ in range(8):
        if cover.nearest(place, K) is not None:
            break
        gap = cover.gap_near(place)
        assert gap is not None
        cover.add(gap.start, _nearest(gap.start))
    assert cover.nearest(place, K) == _nearest(place)


def test_what_is_said_to_be_nearest_is_nearest() -> None:
    rng = random.Random(5)
    cover = RegionCover(K)
    certain = 0
    for _ in range(40):
        target = rng.getrandbits(KEY_BITS)
        cover.add(target, _nearest(target))
        for _ in range(40):
            place = target ^ rng.getrandbits(KEY_BITS - rng.randrange(12))
            if (found := cover.nearest(place, 2 * K)) is not None:
                certain += 1
                assert found[:K] == _nearest(place)
    assert certain > 200


def test_exploring_the_whole_network_takes_about_one_walk_for_20_servers() -> None:
    rng = random.Random(6)
    cover = RegionCover(K)
    walks = 0
    for place in sorted(rng.getrandbits(KEY_BITS) for _ in range(3000)):
        while cover.nearest(place, K) is None:
            gap = cover.gap_near(place)
            target = place if gap is None else kad_id(key_within(gap))
            cover.add(target, _nearest(target))
            walks += 1
        assert cover.nearest(place, K) == _nearest(place)
    assert walks <= 2.5 * len(PEERS) / K


def test_fewer_than_k_servers_are_everybody() -> None:
    cover = RegionCover(K)
    cover.add(7, _nearest(7, peers=PEERS[:9]))
    place = kad_id(b"elsewhere")
    assert cover.nearest(place, K) == _nearest(place, peers=PEERS[:9])


def test_a_server_that_failed_is_no_longer_named() -> None:
    cover = RegionCover(K)
    cover.add(7, _nearest(7, peers=PEERS[:9]))
    cover.drop(gone := PEERS[3])
    cover.drop(gone)
    assert gone not in (cover.nearest(7, K) or [gone])


@pytest.mark.parametrize("bits", [0, 1, 5, 9, 13, 40, 256])
def test_key_within_lies_in_its_region_or_next_to_a_tiny_one(bits: int) -> None:
    region = Region.around(kad_id(b"anywhere"), bits)
    assert Region.around(kad_id(key_within(region)), min(bits, 13)) == Region.around(
        region.start, min(bits, 13)
    )


@pytest.mark.parametrize("servers", [0, 3, 19, 100, 600])
def test_size_is_learnt_from_a_dozen_walks(servers: int) -> None:
    rng = random.Random(servers)
    size = SizeEstimate(remembered=77)
    assert size.servers == 77
    for _ in range(16):
        target = rng.getrandbits(KEY_BITS)
        nearest = _nearest(target, peers=PEERS[:servers])
        size.walked([peer_kad_id(peer) ^ target for peer in nearest], K)
    assert 0.8 * servers <= size.servers <= 1.25 * servers

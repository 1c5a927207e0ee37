"""The lookup state machine: termination, order, and what liars can and cannot do."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrornode.routing.kad.keys import kad_id, peer_kad_id
from mirrornode.routing.kad.lookup import Lookup, LookupLimits
from support.virtual_swarm import make_peer_id

TARGET = kad_id(b"target")
PEERS = sorted(
    (make_peer_id(f"peer {number}") for number in range(200)),
    key=lambda peer: peer_kad_id(peer) ^ TARGET,
)
NEAREST_LAST = PEERS[::-1]


def _lookup(seeds: list[str], **limits: int) -> Lookup:
    return Lookup(TARGET, seeds, own_peer_id=make_peer_id("own"), limits=LookupLimits(**limits))


def test_next_queries_hands_out_at_most_alpha_nearest_first() -> None:
    lookup = _lookup(NEAREST_LAST)
    assert lookup.next_queries() == PEERS[:10]
    assert lookup.next_queries() == []
    lookup.answered(PEERS[9], [])
    assert lookup.next_queries() == [PEERS[10]]


def test_finished_when_the_beta_nearest_have_answered() -> None:
    lookup = _lookup(PEERS[:8])
    lookup.next_queries()
    lookup.answered(PEERS[0], [])
    lookup.answered(PEERS[2], [])
    assert not lookup.finished
    lookup.answered(PEERS[1], [])
    assert lookup.finished
    assert lookup.next_queries() == []


def test_finished_skips_the_dead_among_the_nearest() -> None:
    lookup = _lookup(PEERS[:8])
    lookup.next_queries()
    for peer in PEERS[3:6]:
        lookup.answered(peer, [])
    assert not lookup.finished
    for peer in PEERS[:3]:
        lookup.failed(peer)
    assert lookup.finished
    assert lookup.closest() == PEERS[3:8]


def test_answered_with_nearer_peers_goes_on() -> None:
    lookup = _lookup(PEERS[50:53])
    for peer in lookup.next_queries():
        lookup.answered(peer, PEERS[10:13])
    assert not lookup.finished
    assert lookup.next_queries() == PEERS[10:13]


def test_finished_when_nobody_is_left() -> None:
    lookup = _lookup(PEERS[:2])
    for peer in lookup.next_queries():
        lookup.failed(peer)
    assert lookup.finished
    assert lookup.closest() == []
    assert _lookup([]).finished


def test_answered_with_itself_forever_changes_nothing() -> None:
    lookup = _lookup(PEERS[:1])
    lookup.next_queries()
    lookup.answered(PEERS[0], [PEERS[0]] * 1000)
    assert lookup.finished
    assert lookup.queries == 1


def test_answered_with_ten_thousand_peers_counts_k_of_them() -> None:
    lookup = _lookup(PEERS[100:101])
    lookup.next_queries()
    lookup.answered(PEERS[100], (make_peer_id(f"liar {number}") for number in range(10_000)))
    assert len(lookup.closest()) == 21


def test_queries_end_when_liars_always_name_nearer_peers() -> None:
    fresh = iter(sorted((make_peer_id(f"sybil {n}") for n in range(9000)), reverse=True))
    lookup = _lookup(PEERS[:20], max_queries=64)
    while queries := lookup.next_queries():
        for peer in queries:
            lookup.answered(peer, [next(fresh) for _ in range(20)])
    assert lookup.finished
    assert lookup.queries <= 64
    assert len(lookup.closest()) <= 512


def test_answered_by_a_peer_that_was_not_asked_is_a_bug() -> None:
    lookup = _lookup(PEERS[:2])
    with pytest.raises(ValueError, match="not asked"):
        lookup.answered(PEERS[1], [])


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.integers(0, 40))
def test_lookup_over_a_random_network_ends_at_the_nearest_living_peers(
    seed: int, dead_percent: int
) -> None:
    rng = random.Random(seed)
    dead = {peer for peer in PEERS if rng.randrange(100) < dead_percent}
    knows = {peer: rng.sample(PEERS, 60) for peer in PEERS}
    for rank, peer in enumerate(PEERS):  # everybody knows its neighbours towards the target
        knows[peer] += PEERS[max(0, rank - 25) : rank]
    living = [peer for peer in PEERS if peer not in dead]
    lookup = _lookup(rng.sample(living, 3))
    asked: list[str] = []
    while not lookup.finished:
        asked += lookup.next_queries()
        peer = asked.pop(rng.randrange(len(asked)))
        if peer in dead:
            lookup.failed(peer)
        else:
            nearest = sorted(knows[peer], key=lambda other: peer_kad_id(other) ^ TARGET)
            lookup.answered(peer, nearest[:20])
    assert lookup.queries <= 80
    found = [peer for peer in lookup.closest() if peer not in dead]
    assert found[:3] == living[:3]

"""The routing table against a plain sorted list, and its buckets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirrornode.routing.kad.keys import common_prefix_bits, peer_kad_id
from mirrornode.routing.kad.table import K, RoutingTable
from support.virtual_swarm import make_peer_id

OWN = make_peer_id("own")
PEERS = [make_peer_id(f"peer {number}") for number in range(300)]


def _table(*peers: str) -> RoutingTable:
    table = RoutingTable(peer_kad_id(OWN))
    for peer in peers:
        table.add(peer)
    return table


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(PEERS[:60])), max_size=120))
def test_table_holds_what_was_added_and_not_removed(steps: list[tuple[bool, str]]) -> None:
    table = _table()
    model: set[str] = set()
    for is_add, peer in steps:
        if is_add:
            assert table.add(peer) == (peer in table)
            model |= {peer} if peer in table else set()
        else:
            assert table.remove(peer) == (peer in model)
            model.discard(peer)
        assert len(table) == len(model)
    assert set(table) == model


@given(st.sets(st.sampled_from(PEERS), max_size=40), st.integers(0, 2**256 - 1))
def test_closest_is_the_sorted_prefix(peers: set[str], target: int) -> None:
    table = _table(*peers)
    expected = sorted(table, key=lambda peer: peer_kad_id(peer) ^ target)
    assert table.closest(target, 7) == expected[:7]
    assert table.closest(target, 7, exclude=expected[:3]) == expected[3:10]


def test_add_when_bucket_is_full_refuses_newcomers_until_one_leaves() -> None:
    own = peer_kad_id(OWN)
    far = [peer for peer in PEERS if common_prefix_bits(own, peer_kad_id(peer)) == 0]
    table = _table(*far)
    assert len(table) == K
    assert set(table) == set(far[:K])
    assert not table.add(far[K])
    assert table.remove(far[0])
    assert table.add(far[K])


def test_add_refuses_ourselves() -> None:
    table = _table()
    assert not table.add(OWN)
    assert OWN not in table


def test_deepest_bucket_is_that_of_the_nearest_peer() -> None:
    own = peer_kad_id(OWN)
    assert _table().deepest_bucket() == -1
    assert _table(*PEERS).deepest_bucket() == max(
        common_prefix_bits(own, peer_kad_id(peer)) for peer in _table(*PEERS)
    )

"""The provider store: validity, quotas, sweeping."""

from __future__ import annotations

from mirrornode.routing.kad.records import (
    RECORD_VALIDITY_S,
    ProviderRecord,
    ProviderStore,
    RecordLimits,
)
from support.dht_room import multihash_of

KEY = multihash_of("key")
ADDRESSES = ["/ip4/10.0.0.1/tcp/1"]


def test_get_returns_records_until_they_run_out() -> None:
    store = ProviderStore()
    assert store.add(KEY, "a", ADDRESSES, now=0)
    assert store.get(KEY, RECORD_VALIDITY_S - 1) == [ProviderRecord("a", tuple(ADDRESSES))]
    assert store.get(KEY, RECORD_VALIDITY_S) == []


def test_add_again_renews_and_moves_first_with_new_addresses() -> None:
    store = ProviderStore()
    store.add(KEY, "a", ADDRESSES, now=0)
    store.add(KEY, "b", ADDRESSES, now=1)
    store.add(KEY, "a", ["/ip4/10.0.0.9/tcp/9"], now=2)
    assert [record.peer_id for record in store.get(KEY, 3)] == ["a", "b"]
    assert store.get(KEY, 3)[0].addresses == ("/ip4/10.0.0.9/tcp/9",)
    assert len(store.get(KEY, RECORD_VALIDITY_S + 1.5)) == 1


def test_add_when_full_refuses_newcomers_and_renews_the_known() -> None:
    limits = RecordLimits(max_keys=3, max_providers_per_key=2, max_keys_per_peer=2, max_peers=3)
    store = ProviderStore(limits)
    keys = [multihash_of(str(number)) for number in range(5)]
    assert store.add(keys[0], "a", ADDRESSES, 0)
    assert store.add(keys[1], "a", ADDRESSES, 0)
    assert not store.add(keys[2], "a", ADDRESSES, 0), "two keys a peer"
    assert store.add(keys[0], "b", ADDRESSES, 0)
    assert not store.add(keys[0], "c", ADDRESSES, 0), "two providers a key"
    assert store.add(keys[2], "c", ADDRESSES, 0)
    assert not store.add(keys[3], "c", ADDRESSES, 0), "three keys in all"
    assert not store.add(keys[1], "d", ADDRESSES, 0), "three peers in all"
    assert store.add(keys[0], "a", ADDRESSES, 5)
    assert len(store) == 3


def test_sweep_frees_what_has_run_out() -> None:
    store = ProviderStore(RecordLimits(max_keys=2, max_peers=1))
    store.add(KEY, "a", ADDRESSES, 0)
    for _ in store.sweep(RECORD_VALIDITY_S - 1):
        pass
    assert len(store) == 1
    for _ in store.sweep(RECORD_VALIDITY_S):
        pass
    assert len(store) == 0
    assert store.add(KEY, "b", ADDRESSES, RECORD_VALIDITY_S), "the peer's slot is free again"


def test_sweep_lets_others_run_between_steps() -> None:
    store = ProviderStore()
    for number in range(5_000):
        store.add(number.to_bytes(4, "big"), "a", ADDRESSES, 0)
    steps = 0
    for _ in store.sweep(RECORD_VALIDITY_S):
        steps += 1
        store.add(b"new", "b", ADDRESSES, RECORD_VALIDITY_S)
    assert steps == 2
    assert len(store) == 1

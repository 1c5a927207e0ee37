"""The store of values: what gets in, what comes out, and how much of it there may be."""

from __future__ import annotations

import pytest

from mirrornode.errors import RemoteProtocolError
from mirrornode.routing.kad.values import VALUE_VALIDITY_S, ValueLimits, ValueStore
from support.names import TWO, key_of, record_of

UNIX_NOW = 1_700_000_000.0


class Calendar:
    """Unix time as a test wants it."""

    def __init__(self) -> None:
        self.now = UNIX_NOW

    def __call__(self) -> float:
        return self.now


def _binary(name: str = "ann", sequence: int = 0, end: float = 1e6) -> bytes:
    return record_of(name, sequence=sequence, expires_at=UNIX_NOW + end).binary


def _value(store: ValueStore, name: str = "ann", now: float = 0.0) -> bytes | None:
    record = store.get(key_of(name), now)
    return record.value if record is not None else None


def test_store_keeps_the_newest_and_refuses_what_is_older() -> None:
    store = ValueStore(ValueLimits(), Calendar())
    store.put(key_of("ann"), _binary(sequence=1), "peer", 0)
    store.put(key_of("ann"), _binary(sequence=2), "other", 0)
    for old in (_binary(sequence=1), _binary(sequence=2, end=100)):
        with pytest.raises(RemoteProtocolError, match="older"):
            store.put(key_of("ann"), old, "peer", 0)
    store.put(key_of("ann"), _binary(sequence=2), "peer", 0)  # the same again renews it
    assert _value(store) == _binary(sequence=2)
    assert len(store) == 1


def test_store_refuses_what_its_name_did_not_sign_or_is_no_name() -> None:
    store = ValueStore(ValueLimits(), Calendar())
    for key, value in (
        (key_of("bob"), _binary()),
        (key_of("ann"), b"junk"),
        (b"/pk/" + key_of("ann")[6:], _binary()),
        (b"/ipns/not a name", _binary()),
        (b"", b""),
    ):
        with pytest.raises(RemoteProtocolError):
            store.put(key, value, "peer", 0)
    assert len(store) == 0


def test_value_when_its_time_is_over_then_not_given_and_swept() -> None:
    calendar = Calendar()
    store = ValueStore(ValueLimits(), calendar)
    store.put(key_of("ann"), _binary(end=10), "peer", 0)
    store.put(key_of("bob"), _binary("bob"), "peer", 0)
    calendar.now += 10
    assert _value(store) is None
    assert _value(store, "bob", VALUE_VALIDITY_S - 1) == _binary("bob")
    assert _value(store, "bob", VALUE_VALIDITY_S) is None
    list(store.sweep(0))
    assert len(store) == 1
    list(store.sweep(VALUE_VALIDITY_S))
    assert len(store) == 0


def test_store_when_full_then_refuses_new_names_and_renews_known_ones() -> None:
    store = ValueStore(ValueLimits(max_values=2), Calendar())
    store.put(key_of("ann"), _binary(), "peer", 0)
    store.put(key_of("bob"), _binary("bob"), "peer", 0)
    with pytest.raises(RemoteProtocolError, match="room"):
        store.put(key_of("eve"), _binary("eve"), "peer", 0)
    store.put(key_of("ann"), _binary(sequence=1), "peer", 0)
    assert _value(store) == _binary(sequence=1)


def test_store_when_a_giver_or_the_bytes_are_at_their_limit_then_refuses() -> None:
    size = len(_binary())
    store = ValueStore(ValueLimits(max_values_per_peer=1, max_bytes=3 * size), Calendar())
    store.put(key_of("ann"), _binary(), "peer", 0)
    with pytest.raises(RemoteProtocolError, match="room"):
        store.put(key_of("bob"), _binary("bob"), "peer", 0)
    store.put(key_of("bob"), _binary("bob"), "other", 0)
    with pytest.raises(RemoteProtocolError, match="room"):
        store.put(key_of("bob"), _binary("bob", 1), "peer", 0)  # nor takes it over another's
    store.put(key_of("ann"), _binary(sequence=1), "peer", 0)
    store.put(key_of("eve"), _binary("eve"), "third", 0)
    with pytest.raises(RemoteProtocolError, match="room"):
        store.put(key_of("zoe"), _binary("zoe"), "fourth", 0)
    wide = record_of("ann", TWO + "/" + "x" * 100, sequence=2, expires_at=UNIX_NOW + 9).binary
    with pytest.raises(RemoteProtocolError, match="room"):
        store.put(key_of("ann"), wide, "peer", 0)

"""Whom to ask for copies, whom to check, whom to let go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirrornode.mirror.keep_replicas import (
    ASK_AGAIN_S,
    CHECK_S,
    COMING_S,
    LEASE_S,
    Steps,
    next_steps,
)
from mirrornode.store.pins import COMING, KEPT, REFUSED, Replica

NOW = 1e9
AWAY_S = 86_400.0


def steps(wanted: int, replicas: list[Replica], connected: set[str], now: float = NOW) -> Steps:
    return next_steps(b"model", wanted, replicas, connected, now, AWAY_S)


def kept(peer: str, *, asked: float = NOW, seen: float = NOW) -> Replica:
    return Replica(peer, KEPT, "", asked, seen)


def test_steps_when_nobody_holds_it_then_as_many_are_asked_as_wanted() -> None:
    found = steps(2, [], {"a", "b", "c"})
    assert len(found.ask) == 2
    assert steps(2, [], {"c", "b", "a"}) == found
    assert steps(5, [], {"a"}).ask == ("a",)


def test_steps_when_enough_hold_it_then_nothing_but_checks() -> None:
    replicas = [kept("a"), kept("b", seen=NOW - CHECK_S)]
    assert steps(2, replicas, {"a", "b", "c"}) == Steps(check=("b",))
    assert steps(2, replicas, {"c"}) == Steps()


def test_steps_when_a_holder_is_away_too_long_then_another_is_asked() -> None:
    replicas = [kept("a", seen=NOW - AWAY_S - 1), kept("b")]
    assert steps(2, replicas, {"b", "c"}).ask == ("c",)
    assert steps(2, [kept("a", seen=NOW - AWAY_S), kept("b")], {"b", "c"}).ask == ()


def test_steps_when_it_comes_back_then_the_latest_copy_is_let_go() -> None:
    replicas = [kept("a", asked=1.0), kept("b", asked=2.0), kept("c", asked=3.0)]
    assert steps(2, replicas, {"a", "b", "c"}).release == ("c",)
    assert steps(2, replicas, {"a", "b"}).release == ("b",)


def test_steps_when_none_are_wanted_any_more_then_all_are_let_go() -> None:
    assert set(steps(0, [kept("a"), Replica("b", COMING, "", NOW, NOW)], {"a", "b"}).release) == {
        "a",
        "b",
    }


def test_steps_when_refused_then_asked_again_later_and_after_the_others() -> None:
    no = Replica("a", REFUSED, "no room", NOW, NOW)
    assert steps(1, [no], {"a", "b"}).ask == ("b",)
    assert steps(1, [no], {"a"}).ask == ()
    assert steps(1, [no], {"a"}, NOW + ASK_AGAIN_S).ask == ("a",)
    assert steps(1, [no], {"a", "b"}, NOW + ASK_AGAIN_S).ask == ("b",)


def test_steps_when_a_copy_never_arrives_then_another_is_asked() -> None:
    coming = Replica("a", COMING, "", NOW - COMING_S - 1, NOW)
    assert steps(1, [coming], {"a", "b"}).ask == ("b",)
    assert steps(1, [Replica("a", COMING, "", NOW, NOW)], {"a", "b"}).ask == ()


def test_steps_when_gone_for_good_then_forgotten() -> None:
    assert steps(1, [kept("a", seen=NOW - LEASE_S - 1)], set()).forget == ("a",)


REPLICAS = st.lists(
    st.builds(
        Replica,
        peer_id=st.sampled_from("abcdefgh"),
        state=st.sampled_from([KEPT, COMING, REFUSED]),
        reason=st.just(""),
        asked_at=st.floats(min_value=0, max_value=2e9),
        seen_at=st.floats(min_value=0, max_value=2e9),
    ),
    max_size=8,
    unique_by=lambda one: one.peer_id,
)


@given(
    wanted=st.integers(min_value=0, max_value=6),
    replicas=REPLICAS,
    connected=st.sets(st.sampled_from("abcdefghij")),
)
def test_steps_when_anything_is_known_then_only_the_connected_are_spoken_to(
    wanted: int, replicas: list[Replica], connected: set[str]
) -> None:
    found = steps(wanted, replicas, connected)
    assert {*found.ask, *found.check, *found.release} <= connected
    assert len(found.ask) <= wanted
    assert not set(found.ask) & set(found.release)
    known = {one.peer_id: one for one in replicas}
    left = [
        one
        for one in replicas
        if one.state == KEPT and one.peer_id not in found.release and NOW - one.seen_at <= AWAY_S
    ]
    released = [peer for peer in found.release if known[peer].state == KEPT]
    assert not released or len(left) >= wanted

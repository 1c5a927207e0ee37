"""Which nodes are to hold copies of a pin: whom to ask, whom to check, whom to let go. Pure.

A copy counts while its holder has said so lately. A holder that has been away for longer than a
bound is replaced; when it comes back and there are more copies than wanted, the latest are let go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mirrornode.store.pins import COMING, KEPT, REFUSED, Replica

DAY_S = 86_400.0
CHECK_S = 600.0  # how often a holder is asked whether it still has its copy
CHECK_COMING_S = 5.0
COMING_S = DAY_S  # a copy that has been on its way for so long does not count any more
ASK_AGAIN_S = 3600.0  # after a no
LEASE_S = 30 * DAY_S  # a copy is held for an asker that has not been heard of for so long


@dataclass(frozen=True, slots=True)
class Steps:
    """What is to be done now, by peer id; `forget` only takes rows out of the catalog."""

    ask: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()


def next_steps(
    key: bytes,
    wanted: int,
    replicas: Sequence[Replica],
    connected: Collection[str],
    now: float,
    away_s: float,
) -> Steps:
    """Return what to do about the copies of one pin.

    Args:
        key: What is pinned: spreads different pins over different nodes.
        wanted: How many other nodes are to hold it.
        connected: Nodes that can be asked now.
        now: Unix seconds.
        away_s: After so long without a word a holder's copy does not count.
    """
    counted = [one for one in replicas if _counts(one, now, away_s)]
    known = {one.peer_id for one in replicas}
    due = tuple(one.peer_id for one in replicas if one.peer_id in connected and _is_due(one, now))
    missing = wanted - len(counted)
    ask: list[str] = []
    if missing > 0:
        again = {
            one.peer_id
            for one in replicas
            if one.state == REFUSED and not 0 <= now - one.asked_at < ASK_AGAIN_S
        }
        fresh = [peer for peer in connected if peer not in known or peer in again]
        ask = sorted(fresh, key=lambda peer: (peer in again, _rank(key, peer)))[:missing]
    kept = [one for one in counted if one.state == KEPT]
    surplus = len(kept) - wanted
    latest_first = sorted(kept, key=lambda one: (-one.asked_at, one.peer_id))
    release = [
        one.peer_id for one in latest_first if one.peer_id in connected and one.peer_id not in due
    ][: max(0, surplus)]
    if len(kept) >= wanted:  # what is still on its way elsewhere is not needed
        release += [
            one.peer_id
            for one in counted
            if one.state == COMING and one.peer_id in connected and one.peer_id not in release
        ]
    forget = tuple(one.peer_id for one in replicas if now - one.seen_at > LEASE_S)
    return Steps(tuple(ask), due, tuple(release), forget)


def _counts(one: Replica, now: float, away_s: float) -> bool:
    if one.state == REFUSED or now - one.seen_at > away_s:
        return False
    return one.state == KEPT or now - one.asked_at <= COMING_S


def _is_due(one: Replica, now: float) -> bool:
    if one.state == REFUSED:
        return False
    since = now - one.seen_at
    return not 0 <= since < (CHECK_S if one.state == KEPT else CHECK_COMING_S)


def _rank(key: bytes, peer_id: str) -> bytes:
    return hashlib.sha256(key + peer_id.encode()).digest()

"""Rates and turns in virtual time: exact in the long run, smooth in the short, fair to peers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from mirrornode.transfer.limit import (
    BURST_S,
    MAX_KNOWN_PEERS,
    MIN_PIECE_BYTES,
    PIECE_S,
    SMALL_AHEAD_BYTES,
    FairTurns,
    TokenBucket,
    Turn,
    piece_bytes,
)

RATE = 50e6


def nothing() -> None:
    """Nobody is woken in virtual time."""


class Room:
    """Connections that each want one piece after the other, on a clock of their own."""

    def __init__(self, turns: FairTurns) -> None:
        self.turns = turns
        self.now = 0.0
        self.sent: list[tuple[float, Turn]] = []

    def ask(self, peer: str, size_bytes: int, *, is_small: bool = False) -> Turn:
        turn = Turn(peer, size_bytes, is_small, nothing)
        self.turns.ask(turn, self.now)
        return turn

    def run(self, seconds: float, *, asks_again: bool = True, sending_s: float = 0.0) -> None:
        """Let time pass; who got a turn asks for the next one after `sending_s`."""
        end = self.now + seconds
        again: list[tuple[float, Turn]] = []
        while True:
            for at, turn in list(again):
                if at <= self.now:
                    again.remove((at, turn))
                    self.ask(turn.peer, turn.size_bytes, is_small=turn.is_small)
            granted, wait_s = self.turns.grant(self.now)
            self.sent += [(self.now, turn) for turn in granted]
            if asks_again:
                again += [(self.now + sending_s, turn) for turn in granted]
            moments = [at for at, _ in again]
            if wait_s is not None:
                moments.append(self.now + max(wait_s, 1e-9))
            if not moments or min(moments) > end:
                self.now = end
                return
            self.now = max(self.now, min(moments))

    def bytes_by_peer(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for _, turn in self.sent:
            total[turn.peer] += turn.size_bytes
        return total


def most_in(sent: Sequence[tuple[float, Turn]], window_s: float) -> int:
    """Return the most bytes that went within any stretch of so many seconds."""
    most = inside = first = 0
    for at, turn in sent:
        inside += turn.size_bytes
        while sent[first][0] < at - window_s:
            inside -= sent[first][1].size_bytes
            first += 1
        most = max(most, inside)
    return most


@pytest.mark.parametrize("rate", [10_000, 1e6, 50e6, 3e9])
def test_bucket_when_never_idle_then_exactly_its_rate(rate: float) -> None:
    bucket, now, taken = TokenBucket(rate, 0.0), 0.0, 0
    size = piece_bytes(rate)
    while now < 100:
        now += bucket.reserve(size, now)
        taken += size
    burst = max(rate * BURST_S, MIN_PIECE_BYTES)
    assert rate * now - size <= taken <= rate * now + burst + size


def test_bucket_when_long_idle_then_only_one_burst() -> None:
    bucket = TokenBucket(RATE, 0.0)
    assert bucket.wait_s(int(RATE * BURST_S), 1000.0) == 0
    bucket.take(int(RATE * BURST_S), 1000.0)
    assert bucket.wait_s(1000, 1000.0) == pytest.approx(1000 / RATE)


def test_bucket_when_the_clock_steps_back_then_nothing_is_given_twice() -> None:
    bucket = TokenBucket(RATE, 100.0)
    bucket.take(int(RATE * BURST_S), 100.0)
    bucket.take(1000, 50.0)
    assert bucket.wait_s(1000, 100.0) == pytest.approx(2000 / RATE)


@pytest.mark.parametrize("rate", [10_000, 1e6, 50e6])
def test_piece_when_limited_then_a_fraction_of_the_burst(rate: float) -> None:
    assert piece_bytes(rate) <= max(MIN_PIECE_BYTES, rate * PIECE_S)
    assert piece_bytes(1e12) == 1 << 20


@pytest.mark.parametrize("sending_s", [0.0, 0.004])
def test_turns_when_eight_peers_with_few_and_many_connections_then_equal_shares(
    sending_s: float,
) -> None:
    room = Room(FairTurns(RATE, 0, 0.0))
    size = piece_bytes(RATE)
    for number in range(8):
        for _ in range(2**number if number < 5 else 1):
            room.ask(f"peer-{number}", size)
    room.run(10.0, sending_s=sending_s)
    sent = room.bytes_by_peer()
    assert sum(sent.values()) == pytest.approx(RATE * 10, rel=0.02)
    assert max(sent.values()) - min(sent.values()) <= 2 * size
    for window_s in (0.1, 0.5, 2.0):
        assert most_in(room.sent, window_s) <= RATE * (window_s + BURST_S) + size


def test_turns_when_two_peers_send_slowly_then_still_equal() -> None:
    """A peer with one connection is away while its piece is sent; it keeps its place."""
    room = Room(FairTurns(RATE, 0, 0.0))
    size = piece_bytes(RATE)
    room.ask("one", size)
    for _ in range(16):
        room.ask("many", size)
    room.run(10.0, sending_s=0.03)
    sent = room.bytes_by_peer()
    assert sent["one"] == pytest.approx(sent["many"], rel=0.05)


def test_turns_when_pieces_differ_then_bytes_are_shared_not_turns() -> None:
    room = Room(FairTurns(RATE, 0, 0.0))
    room.ask("large", 1_000_000)
    room.ask("tiny", 10_000)
    room.run(10.0)
    sent = room.bytes_by_peer()
    assert abs(sent["large"] - sent["tiny"]) <= 2_000_000


def test_turns_when_a_peer_comes_late_then_equal_shares_from_then_on() -> None:
    room = Room(FairTurns(RATE, 0, 0.0))
    size = piece_bytes(RATE)
    room.ask("greedy", size)
    room.run(5.0)
    alone = room.bytes_by_peer()["greedy"]
    assert alone == pytest.approx(RATE * 5, rel=0.03)
    room.ask("late", size)
    room.run(5.0)
    sent = room.bytes_by_peer()
    # The newcomer owes nothing and is owed nothing for the time before it came.
    assert sent["greedy"] - alone == pytest.approx(sent["late"], rel=0.1)


def test_turns_when_limited_per_peer_then_each_gets_that_and_no_more() -> None:
    room = Room(FairTurns(0, 1e6, 0.0))
    size = piece_bytes(1e6)
    for _ in range(4):
        room.ask("many", size)
    room.ask("one", size)
    room.run(10.0)
    sent = room.bytes_by_peer()
    assert sent["many"] == pytest.approx(10e6, rel=0.03)
    assert sent["one"] == pytest.approx(10e6, rel=0.03)


def test_turns_when_both_limits_then_the_lower_binds() -> None:
    room = Room(FairTurns(10e6, 8e6, 0.0))
    size = piece_bytes(8e6)
    room.ask("alone", size)
    room.run(5.0)
    assert room.bytes_by_peer()["alone"] == pytest.approx(40e6, rel=0.05)
    for name in ("b", "c", "d"):
        room.ask(name, size)
    before = room.bytes_by_peer()["alone"]
    room.run(5.0)
    sent = room.bytes_by_peer()
    sent["alone"] -= before
    assert sum(sent.values()) == pytest.approx(50e6, rel=0.05)
    assert max(sent.values()) <= 1.1 * min(sent.values())


def test_turns_when_an_answer_is_small_then_it_goes_before_large_ones() -> None:
    room = Room(FairTurns(RATE, 0, 0.0))
    size = piece_bytes(RATE)
    for number in range(8):
        for _ in range(4):
            room.ask(f"peer-{number}", size)
    room.run(1.0)
    for peer in ("newcomer", "peer-0"):
        asked_at = room.now
        small = room.ask(peer, 20_000, is_small=True)
        room.run(0.5)
        came_at = next(at for at, turn in room.sent if turn is small)
        assert came_at - asked_at <= 1.5 * PIECE_S


def test_turns_when_a_peer_asks_only_for_small_answers_then_no_more_than_its_share() -> None:
    room = Room(FairTurns(RATE, 0, 0.0))
    for _ in range(16):
        room.ask("small", 200_000, is_small=True)
    room.ask("large", piece_bytes(RATE))
    room.run(10.0)
    sent = room.bytes_by_peer()
    assert sent["small"] - sent["large"] <= SMALL_AHEAD_BYTES + 2_000_000


def test_turns_when_cancelled_then_nobody_waits_for_them() -> None:
    turns = FairTurns(RATE, 0, 0.0)
    room = Room(turns)
    room.ask("first", int(RATE * BURST_S))
    room.run(0.0, asks_again=False)
    gone = room.ask("gone", 1_000_000)
    kept = room.ask("kept", 1_000_000)
    turns.cancel(gone)
    turns.cancel(gone)
    room.run(1.0, asks_again=False)
    assert [turn for _, turn in room.sent[1:]] == [kept]
    assert turns.grant(room.now) == ([], None)


def test_turns_when_drained_then_all_that_wait_are_told() -> None:
    room = Room(FairTurns(RATE, 0, 0.0))
    waiting = [room.ask(f"peer-{number}", 1_000_000, is_small=number == 1) for number in range(3)]
    assert set(room.turns.drain()) == set(waiting)
    assert room.turns.grant(1000.0) == ([], None)


def test_turns_when_thousands_of_peers_came_and_went_then_the_waiting_keep_their_place() -> None:
    room = Room(FairTurns(RATE, 0, 0.0))
    waiting = [room.ask("patient", int(RATE * BURST_S)) for _ in range(3)]
    for number in range(3 * MAX_KNOWN_PEERS):
        room.ask(f"peer-{number}", 1000, is_small=True)
        room.run(0.0001, asks_again=False)
    room.run(2.0, asks_again=False)
    assert set(waiting) <= {turn for _, turn in room.sent}

"""What one peer is sent: priorities, presences, cancels, what comes late, and floods."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.content.cid import Cid
from mirrornode.wire.bitswap import Entry, WantType
from mirrornode.wire.bitswap_ledger import (
    AGAIN_FIRST_S,
    AGAIN_MAX_S,
    ENTRIES_BURST,
    ENTRIES_PER_S,
    FIRST_ANSWER_BYTES,
    HAVE_REPLACE_BYTES,
    MAX_ANSWER_BYTES,
    MAX_WANTS,
    MIN_ANSWER_BYTES,
    Answer,
    Ledger,
    WantFlood,
)

HAVE = WantType.HAVE


def cid(number: int) -> Cid:
    return Cid.raw_sha256(number.to_bytes(32, "big"))


def want(number: int, priority: int = 1, *, tell: bool = True, have: bool = False) -> Entry:
    return Entry(cid(number), priority, want=HAVE if have else WantType.BLOCK, send_dont_have=tell)


def take(ledger: Ledger, *entries: Entry, is_full: bool = False, now: float = 0.0) -> None:
    ledger.take(entries, is_full=is_full, now=now)


def look(ledger: Ledger, sizes: dict[int, int]) -> None:
    """Look up everything; what is not in `sizes` is not here."""
    known = {cid(number): size for number, size in sizes.items()}
    while asked := ledger.to_look(100):
        ledger.looked({each: known.get(each) for each in asked})


def numbers(found: Iterable[Cid]) -> list[int]:
    return [int.from_bytes(each.digest, "big") for each in found]


def drain(ledger: Ledger) -> Answer:
    """Return all answers as one."""
    whole = Answer()
    while not (answer := ledger.next_answer()).is_empty:
        whole.blocks += answer.blocks
        whole.haves += answer.haves
        whole.dont_haves += answer.dont_haves
    return whole


def test_blocks_go_by_priority_and_then_in_order() -> None:
    ledger = Ledger(0)
    take(ledger, want(1, 5), want(2, 9), want(3, 5), want(4, -3))
    look(ledger, {1: 10, 2: 10, 3: 10, 4: 10})
    assert numbers(drain(ledger).blocks) == [2, 1, 3, 4]
    assert ledger.wants == 0


def test_large_block_is_told_and_a_small_one_sent_where_only_have_was_asked() -> None:
    ledger = Ledger(0)
    take(ledger, want(1, have=True), want(2, have=True))
    look(ledger, {1: HAVE_REPLACE_BYTES, 2: HAVE_REPLACE_BYTES + 1})
    answer = drain(ledger)
    assert numbers(answer.blocks) == [1]
    assert numbers(answer.haves) == [2]
    assert ledger.wants == 0


def test_absent_block_is_told_once_and_only_who_asked_for_that() -> None:
    ledger = Ledger(0)
    take(ledger, want(1), want(2, tell=False), want(3, have=True))
    look(ledger, {})
    assert numbers(drain(ledger).dont_haves) == [1, 3]
    assert ledger.wants == 3
    ledger.look_again(AGAIN_FIRST_S)
    look(ledger, {})
    assert drain(ledger).is_empty


def test_absent_block_is_sent_when_it_comes() -> None:
    ledger = Ledger(0)
    take(ledger, want(1), want(2, have=True))
    look(ledger, {})
    drain(ledger)
    assert ledger.again_in_s(0.5) == pytest.approx(AGAIN_FIRST_S - 0.5)
    ledger.look_again(AGAIN_FIRST_S - 0.1)
    assert ledger.to_look(10) == []
    ledger.look_again(AGAIN_FIRST_S)
    look(ledger, {1: 5000, 2: 5000})
    answer = drain(ledger)
    assert numbers(answer.blocks) == [1]
    assert numbers(answer.haves) == [2]
    assert ledger.again_in_s(9.0) is None


def test_looking_again_becomes_rare_while_nothing_comes() -> None:
    ledger, now, times = Ledger(0), 0.0, []
    take(ledger, want(1))
    look(ledger, {})
    for _ in range(8):
        wait_s = ledger.again_in_s(now)
        assert wait_s is not None
        now += wait_s
        times.append(wait_s)
        ledger.look_again(now)
        look(ledger, {})
    assert times == sorted(times)
    assert times[-1] == AGAIN_MAX_S


def test_repeated_want_is_answered_again() -> None:
    ledger = Ledger(0)
    take(ledger, want(1))
    look(ledger, {})
    assert numbers(drain(ledger).dont_haves) == [1]
    take(ledger, want(1))
    look(ledger, {})
    assert numbers(drain(ledger).dont_haves) == [1]
    assert ledger.wants == 1


def test_want_have_becomes_want_block_and_not_the_other_way_round() -> None:
    ledger = Ledger(0)
    take(ledger, want(1, have=True), want(2))
    take(ledger, want(1), want(2, have=True))
    look(ledger, {1: 5000, 2: 5000})
    assert sorted(numbers(drain(ledger).blocks)) == [1, 2]


def test_cancelled_want_is_not_answered() -> None:
    ledger = Ledger(0)
    take(ledger, want(1), want(2), want(3))
    look(ledger, {1: 10, 2: 10})
    take(ledger, Entry(cid(1), is_cancel=True), Entry(cid(3), is_cancel=True))
    answer = drain(ledger)
    assert numbers(answer.blocks) == [2]
    assert answer.dont_haves == []
    assert ledger.wants == 0
    assert ledger.pending_bytes == 0


def test_full_wantlist_replaces_all_before() -> None:
    ledger = Ledger(0)
    take(ledger, want(1), want(2))
    look(ledger, {1: 10, 2: 10})
    take(ledger, want(3), is_full=True)
    look(ledger, {3: 7})
    assert ledger.pending_bytes == 7
    assert numbers(drain(ledger).blocks) == [3]


def test_answers_are_cut_and_say_what_is_pending() -> None:
    ledger = Ledger(0)
    size = FIRST_ANSWER_BYTES // 2
    take(ledger, *(want(number) for number in range(5)))
    look(ledger, dict.fromkeys(range(5), size))
    first = ledger.next_answer()
    assert (len(first.blocks), first.size_bytes) == (2, FIRST_ANSWER_BYTES)
    assert first.pending_bytes == 3 * size
    assert numbers(drain(ledger).blocks) == [2, 3, 4]


def test_one_large_block_goes_alone() -> None:
    ledger = Ledger(0)
    take(ledger, want(1), want(2), want(3))
    look(ledger, {1: 10, 2: 2 << 20, 3: 2 << 20})
    sizes = []
    while not (answer := ledger.next_answer()).is_empty:
        sizes.append(len(answer.blocks))
    assert sizes == [1, 1, 1]


def test_answers_grow_for_a_fast_peer_and_shrink_for_a_slow_one() -> None:
    ledger = Ledger(0)
    for _ in range(6):
        ledger.note_sent(ledger.answer_bytes, 0.001)
    assert ledger.answer_bytes == MAX_ANSWER_BYTES
    ledger.note_sent(100, 5.0)  # a small one says nothing about speed
    assert ledger.answer_bytes == MAX_ANSWER_BYTES
    ledger.note_sent(ledger.answer_bytes, 10.0)
    assert ledger.answer_bytes == MIN_ANSWER_BYTES


def test_wants_beyond_the_limit_are_not_noted_but_absent_ones_make_room() -> None:
    ledger = Ledger(0)
    take(ledger, *(want(number) for number in range(MAX_WANTS + 3)))
    assert (ledger.wants, ledger.overflow) == (MAX_WANTS, 3)
    look(ledger, dict.fromkeys(range(5, MAX_WANTS), 10))
    drain(ledger)
    assert ledger.wants == 5
    take(ledger, *(want(10_000 + number) for number in range(MAX_WANTS)))
    assert (ledger.wants, ledger.overflow) == (MAX_WANTS, 3)


def test_flood_of_wants_is_refused_and_a_steady_stream_is_not() -> None:
    ledger = Ledger(0)
    batch = [want(number % 50) for number in range(1000)]
    for part in range(3 * ENTRIES_BURST // 1000):
        take(ledger, *batch, now=part * 1000 / ENTRIES_PER_S)
        look(ledger, {})

    def flood() -> None:
        for _ in range(ENTRIES_BURST // 1000 + 1):
            take(ledger, *batch, now=100.0)

    with pytest.raises(WantFlood):
        flood()


@given(st.integers(0, 10_000))
def test_every_want_is_answered_whatever_comes_between(seed: int) -> None:
    rng = random.Random(seed)
    ledger, here, now = Ledger(0), dict[int, int](), 0.0
    wanted: dict[int, bool] = {}
    got: set[int] = set()

    def settle(answer: Answer) -> None:
        for number in numbers(answer.blocks) + numbers(answer.haves):
            assert number in here
            wanted.pop(number, None)
            got.add(number)

    for _ in range(40):
        now += 1
        number = rng.randrange(20)
        match rng.randrange(5):
            case 0:
                have = rng.random() < 0.5
                take(ledger, want(number, rng.randrange(9), have=have), now=now)
                wanted[number] = True
            case 1:
                take(ledger, Entry(cid(number), is_cancel=True), now=now)
                wanted.pop(number, None)
            case 2:
                here[number] = rng.choice([5, 2000, 400_000])
            case 3:
                look(ledger, here)
            case 4:
                settle(ledger.next_answer())
        assert ledger.wants == len(wanted)
        assert ledger.pending_bytes >= 0
    here.update(dict.fromkeys(range(20), 5000))
    ledger.look_again(now + AGAIN_MAX_S)
    look(ledger, here)
    settle(drain(ledger))
    assert wanted == {}
    assert ledger.wants == 0
    assert ledger.pending_bytes == 0

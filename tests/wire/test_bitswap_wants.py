"""What we ask one peer for: the window, claims, answers that are late, wrong or missing."""

from __future__ import annotations

from collections.abc import Iterable

from mirrornode.content.cid import Cid
from mirrornode.wire.bitswap import Entry, WantType
from mirrornode.wire.bitswap_wants import (
    AGAIN_S,
    MAX_ASKED,
    MAX_UNREQUESTED,
    SILENT_S,
    Fate,
    PeerWants,
)

WINDOW = 1000


def cid(number: int) -> Cid:
    return Cid.raw_sha256(number.to_bytes(32, "big"))


def hash_of(number: int) -> bytes:
    return cid(number).multihash


def wants_of(*numbers: int, size_bytes: int = 100) -> PeerWants:
    wants = PeerWants(0.0, window_bytes=WINDOW)
    for number in numbers:
        wants.claim(cid(number), size_bytes)
    return wants


def numbers(entries: Iterable[Entry], *, cancels: bool = False) -> list[int]:
    return [
        int.from_bytes(entry.cid.digest, "big") for entry in entries if entry.is_cancel is cancels
    ]


def test_blocks_are_asked_in_order_with_falling_priority_within_the_window() -> None:
    wants = wants_of(*range(15))
    entries = wants.outgoing(0.0)
    assert numbers(entries) == list(range(10))
    priorities = [entry.priority for entry in entries]
    assert priorities == sorted(priorities, reverse=True)
    assert all(entry.send_dont_have and entry.want is WantType.BLOCK for entry in entries)
    assert wants.under_way_bytes == WINDOW


def test_window_is_refilled_in_portions() -> None:
    wants = wants_of(*range(30))
    wants.outgoing(0.0)
    assert wants.came(hash_of(0), 0.1)
    assert wants.outgoing(0.1) == []
    for number in range(1, 4):
        assert wants.came(hash_of(number), 0.1)
    assert numbers(wants.outgoing(0.1)) == [10, 11, 12, 13]


def test_what_arrived_and_was_not_taken_counts_against_the_window() -> None:
    wants = wants_of(*range(30))
    wants.outgoing(0.0)
    for number in range(5):
        wants.came(hash_of(number), 0.1)
        wants.hold(100)
    assert wants.outgoing(0.1) == []
    wants.hold(-500)
    assert numbers(wants.outgoing(0.1)) == list(range(10, 15))


def test_one_block_is_asked_for_even_when_it_fills_the_window() -> None:
    wants = wants_of(1, 2, size_bytes=5 * WINDOW)
    wants.hold(2 * WINDOW)
    assert numbers(wants.outgoing(0.0)) == [1]
    assert wants.outgoing(0.0) == []


def test_small_wants_are_bounded_in_number() -> None:
    wants = wants_of(*range(3 * MAX_ASKED), size_bytes=0)
    assert len(wants.outgoing(0.0)) == MAX_ASKED


def test_block_claimed_twice_is_asked_once_and_cancelled_with_the_last_claim() -> None:
    wants = wants_of(1, 1)
    assert numbers(wants.outgoing(0.0)) == [1]
    wants.drop(cid(1))
    assert wants.outgoing(0.0) == []
    wants.drop(cid(1))
    assert numbers(wants.outgoing(0.0), cancels=True) == [1]
    assert wants.is_idle
    assert wants.under_way_bytes == 0


def test_want_that_was_never_sent_is_dropped_without_a_word() -> None:
    wants = wants_of(1)
    wants.drop(cid(1))
    assert wants.outgoing(0.0) == []
    assert wants.is_idle


def test_block_that_crossed_with_its_cancel_is_no_lie() -> None:
    wants = wants_of(1)
    wants.outgoing(0.0)
    wants.drop(cid(1))
    for _ in range(3 * MAX_UNREQUESTED):
        assert not wants.came(hash_of(1), 0.1)
    assert wants.unrequested == 0


def test_peer_that_sends_what_nobody_asked_for_is_caught() -> None:
    wants = wants_of(1)
    wants.outgoing(0.0)
    for number in range(MAX_UNREQUESTED):
        assert not wants.came(hash_of(50 + number), 0.1)
    assert not wants.is_lying
    wants.came(b"", 0.1)  # of a hash function that nobody uses
    assert wants.is_lying
    assert wants.came(hash_of(1), 0.2)


def test_have_answers_a_question_and_not_a_claim() -> None:
    wants = PeerWants(0.0)
    wants.ask(cid(1))
    (entry,) = wants.outgoing(0.0)
    assert entry.want is WantType.HAVE
    assert wants.told(hash_of(1), True, 0.1)
    assert wants.is_idle
    wants.claim(cid(1), 100)
    wants.outgoing(0.2)
    assert not wants.told(hash_of(1), True, 0.3)
    assert wants.came(hash_of(1), 0.4)


def test_question_becomes_a_claim_and_its_late_denial_is_not_the_claims() -> None:
    wants = PeerWants(0.0)
    wants.ask(cid(1))
    wants.outgoing(0.0)
    wants.claim(cid(1), 100)
    assert not wants.told(hash_of(1), False, 0.1)
    (entry,) = wants.outgoing(0.2)
    assert entry.want is WantType.BLOCK
    assert wants.told(hash_of(1), False, 0.3)
    assert numbers(wants.outgoing(0.4), cancels=True) == [1]


def test_presence_of_something_that_nobody_asked_is_ignored() -> None:
    wants = PeerWants(0.0)
    assert not wants.told(hash_of(1), True, 0.1)
    assert not wants.told(hash_of(1), False, 0.1)


def test_dropped_question_is_cancelled_but_not_while_the_block_is_claimed() -> None:
    wants = wants_of(1)
    wants.ask(cid(1))
    wants.outgoing(0.0)
    wants.drop(cid(1), is_question=True)
    assert wants.outgoing(0.0) == []
    wants.drop(cid(1))
    assert numbers(wants.outgoing(0.0), cancels=True) == [1]


def test_passed_over_want_is_asked_once_more_and_then_counts_as_lacking() -> None:
    wants = wants_of(1, 2, 3)
    wants.outgoing(0.0)
    wants.came(hash_of(3), 0.1)
    assert wants.overdue(AGAIN_S - 0.1) == []
    assert wants.outgoing(AGAIN_S - 0.1) == []
    assert wants.overdue(AGAIN_S) == []
    assert sorted(numbers(wants.outgoing(AGAIN_S))) == [1, 2]
    wants.claim(cid(4), 100)
    wants.outgoing(AGAIN_S)
    wants.came(hash_of(4), AGAIN_S + 0.1)
    wants.came(hash_of(2), AGAIN_S + 0.2)
    assert wants.overdue(2 * AGAIN_S) == [(hash_of(1), Fate.LACKING)]
    assert numbers(wants.outgoing(2 * AGAIN_S), cancels=True) == [1]


def test_silent_peer_loses_its_wants_but_not_while_bytes_arrive() -> None:
    wants = wants_of(1, 2)
    wants.outgoing(0.0)
    wants.heard(5.0)
    assert wants.overdue(SILENT_S) == []
    assert wants.overdue(5.0 + SILENT_S) == [
        (hash_of(1), Fate.SILENT),
        (hash_of(2), Fate.SILENT),
    ]
    assert wants.under_way_bytes == 0


def test_peer_that_was_asked_nothing_was_not_silent() -> None:
    wants = wants_of(1)
    wants.outgoing(100.0)
    assert wants.overdue(100.0 + SILENT_S - 0.1) == []


def test_all_is_asked_again_on_a_new_stream() -> None:
    wants = wants_of(1, 2)
    wants.outgoing(0.0)
    wants.ask_again()
    assert wants.under_way_bytes == 0
    assert numbers(wants.outgoing(0.1)) == [1, 2]


def test_forgotten_wants_are_gone_and_what_still_comes_is_no_lie() -> None:
    wants = wants_of(1, 2)
    wants.outgoing(0.0)
    wants.forget()
    assert wants.is_idle
    assert not wants.came(hash_of(1), 0.1)
    assert wants.unrequested == 0

"""What one peer wants of us, and what it is sent next. Pure: time and sizes are arguments.

A want is first looked up (`to_look`, `looked`), then answered (`next_answer`): with HAVE or the
block, the block also where only HAVE was asked and the block is small, with DONT_HAVE where the
peer asked to be told. What is not here stays, and is looked up again now and then (`look_again`),
until it is cancelled or the peer leaves.

Driven by: whoever serves the peer. How fast bytes may go is not decided here.
Spec: bitswap 1.2.0, "Bitswap server"; numbers of boxo's engine.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirrornode.errors import RemoteProtocolError
from mirrornode.wire.bitswap import Entry, WantType

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid

MAX_WANTS = 1024  # of one peer, as Kubo and Helia; what is asked beyond is not noted
HAVE_REPLACE_BYTES = 1024  # so small a block is sent at once where only HAVE was asked
MAX_TOLD = 1024  # presences in one answer
ENTRIES_PER_S = 10_000  # of lines in wantlists, sustained; a want and its cancel are two
ENTRIES_BURST = 50_000
FIRST_ANSWER_BYTES = 256 * 1024  # until the peer has shown how fast it takes them
MIN_ANSWER_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 1024 * 1024  # large writes are what makes a fast connection fast
ANSWER_S = 0.1  # an answer should be through in about this time
AGAIN_FIRST_S = 1.0
AGAIN_MAX_S = 30.0


class WantFlood(RemoteProtocolError):
    """More lines of wantlists than anybody can need."""


@dataclass(slots=True, eq=False)
class _Want:
    """Something the peer wants; `size_bytes` is None until it was looked up or if it lacks."""

    cid: Cid
    priority: int
    number: int
    want: WantType
    send_dont_have: bool
    size_bytes: int | None = None
    is_absent: bool = False
    is_told: bool = False  # DONT_HAVE was sent


@dataclass(slots=True)
class Answer:
    """What to send next."""

    blocks: list[Cid] = field(default_factory=list)
    haves: list[Cid] = field(default_factory=list)
    dont_haves: list[Cid] = field(default_factory=list)
    size_bytes: int = 0  # of the blocks
    pending_bytes: int = 0  # of blocks that are here and will be sent after these

    @property
    def is_empty(self) -> bool:
        return not (self.blocks or self.haves or self.dont_haves)


class Ledger:
    """The wants of one peer."""

    def __init__(self, now: float, *, max_wants: int = MAX_WANTS) -> None:
        self._max_wants = max_wants
        self._wants: dict[Cid, _Want] = {}
        # Heaps of (-priority, number, want); what was changed or answered meanwhile is skipped.
        self._unlooked: list[tuple[int, int, _Want]] = []
        self._ready: list[tuple[int, int, _Want]] = []
        self._absent: dict[Cid, _Want] = {}  # the oldest first
        self._number = 0
        self._pending_bytes = 0
        self._allowance = float(ENTRIES_BURST)
        self._allowance_at = now
        self._again_s = AGAIN_FIRST_S
        self._again_at = now + AGAIN_FIRST_S
        self._answer_bytes = FIRST_ANSWER_BYTES
        self.overflow = 0
        """How many wants were not noted because there were too many."""

    @property
    def wants(self) -> int:
        """How many wants are noted."""
        return len(self._wants)

    @property
    def pending_bytes(self) -> int:
        """Bytes of the blocks that are here and were not sent yet."""
        return self._pending_bytes

    @property
    def answer_bytes(self) -> int:
        """How much to put into one answer at this peer's speed."""
        return self._answer_bytes

    def take(self, entries: Iterable[Entry], *, is_full: bool, now: float) -> None:
        """Take over a wantlist.

        Raises:
            WantFlood: The peer sends more of them than anybody can need.
        """
        if is_full:
            for want in list(self._wants.values()):
                self._remove(want)
        spent = 0
        for entry in entries:
            spent += 1
            known = self._wants.get(entry.cid)
            if entry.is_cancel:
                if known is not None:
                    self._remove(known)
            elif known is not None:
                self._change(known, entry)
            elif len(self._wants) < self._max_wants or self._make_room():
                self._add(entry)
            else:
                self.overflow += 1
        self._spend(spent, now)

    def to_look(self, limit: int) -> list[Cid]:
        """Return wants to look up, the most urgent first; each is returned once."""
        found: list[Cid] = []
        while self._unlooked and len(found) < limit:
            _, _, want = heapq.heappop(self._unlooked)
            if self._wants.get(want.cid) is want and want.size_bytes is None:
                found.append(want.cid)
        return found

    def looked(self, sizes: Mapping[Cid, int | None]) -> None:
        """Learn which of the wants that were looked up are here, and how large they are."""
        for cid, size_bytes in sizes.items():
            want = self._wants.get(cid)
            if want is None or want.size_bytes is not None:
                continue
            want.is_absent = size_bytes is None
            if size_bytes is None:
                self._absent[cid] = want
            else:
                want.size_bytes = size_bytes
                self._pending_bytes += self._block_bytes(want)
                self._again_s = AGAIN_FIRST_S
            if not want.is_absent or (want.send_dont_have and not want.is_told):
                heapq.heappush(self._ready, _rank(want))

    def look_again(self, now: float) -> None:
        """Look up once more what was not here, if it is time for that."""
        if now < self._again_at:
            return
        self._again_s = min(2 * self._again_s, AGAIN_MAX_S)
        self._again_at = now + self._again_s
        for want in self._absent.values():
            want.is_absent = False
            heapq.heappush(self._unlooked, _rank(want))
        self._absent.clear()

    @property
    def has_answers(self) -> bool:
        """Whether `next_answer` is likely to have something."""
        return bool(self._ready)

    def again_in_s(self, now: float) -> float | None:
        """Return when to call `look_again`; None when nothing is missing."""
        if not self._absent:
            return None
        return max(0.0, self._again_at - now)

    def next_answer(self) -> Answer:
        """Return what to send next, empty when there is nothing; it is no longer wanted then."""
        answer = Answer()
        presences: list[_Want] = []
        while self._ready and answer.size_bytes < self._answer_bytes:
            if len(presences) >= MAX_TOLD:
                break
            _, _, want = heapq.heappop(self._ready)
            if self._wants.get(want.cid) is not want:
                continue
            if want.size_bytes is None:
                if want.is_absent and not want.is_told:
                    want.is_told = True
                    presences.append(want)
                    answer.dont_haves.append(want.cid)
                continue
            block_bytes = self._block_bytes(want)
            room = 2 * self._answer_bytes - answer.size_bytes
            if answer.blocks and block_bytes > room:
                heapq.heappush(self._ready, _rank(want))
                break
            self._remove(want)
            if not block_bytes and want.want is WantType.HAVE:
                presences.append(want)
                answer.haves.append(want.cid)
            else:
                answer.blocks.append(want.cid)
                answer.size_bytes += block_bytes
        answer.pending_bytes = self._pending_bytes
        return answer

    def note_sent(self, size_bytes: int, seconds: float) -> None:
        """Learn how long the peer took for an answer: fast ones get larger ones."""
        if size_bytes >= self._answer_bytes // 2:
            fitting = int(size_bytes * ANSWER_S / max(seconds, 0.001))
            grown = min(fitting, 2 * self._answer_bytes, MAX_ANSWER_BYTES)
            self._answer_bytes = max(MIN_ANSWER_BYTES, grown)

    # -- private ---------------------------------------------------------------------------------

    def _add(self, entry: Entry) -> None:
        self._number += 1
        want = _Want(entry.cid, entry.priority, self._number, entry.want, entry.send_dont_have)
        self._wants[entry.cid] = want
        heapq.heappush(self._unlooked, _rank(want))

    def _change(self, known: _Want, entry: Entry) -> None:
        """Take over a repeated want: HAVE may become BLOCK, and who asks again is told again."""
        want = WantType.BLOCK if known.want is WantType.BLOCK else entry.want
        self._remove(known)
        self._add(Entry(entry.cid, entry.priority, False, want, entry.send_dont_have))

    def _remove(self, want: _Want) -> None:
        del self._wants[want.cid]
        self._absent.pop(want.cid, None)
        if want.size_bytes is not None:
            self._pending_bytes -= self._block_bytes(want)

    def _make_room(self) -> bool:
        """Drop the oldest want that is not here: what can be served goes before it."""
        if not self._absent:
            return False
        self._remove(next(iter(self._absent.values())))
        return True

    def _spend(self, entries: int, now: float) -> None:
        grown = self._allowance + (now - self._allowance_at) * ENTRIES_PER_S
        self._allowance = min(grown, float(ENTRIES_BURST)) - entries
        self._allowance_at = now
        if self._allowance < 0:
            raise WantFlood("sends more wants than anybody can need")

    @staticmethod
    def _block_bytes(want: _Want) -> int:
        """Return how many bytes of block answer a want; 0 when HAVE does."""
        size = want.size_bytes or 0
        is_told = want.want is WantType.HAVE and size > HAVE_REPLACE_BYTES
        return 0 if is_told else size


def _rank(want: _Want) -> tuple[int, int, _Want]:
    return -want.priority, want.number, want

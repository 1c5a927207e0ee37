"""What we want of one peer: what is asked, what is under way, what came. Pure: time is an argument.

Blocks are asked for within a window of bytes, so that the peer is never idle and what has arrived
and was not taken yet stays bounded. A want has any number of claims (two runs may need the same
leaf); it is cancelled when the last one is dropped. An old want without an answer is asked for once
more, then counts as DONT_HAVE. Blocks that nobody asked for are counted: an honest peer sends at
most those that crossed with a CANCEL.

Driven by: `sources.bitswap_client`, which hashes what arrives and knows who claims it.
Spec: bitswap 1.2.0, "Bitswap client"; numbers of boxo's session.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from mirrornode.wire.bitswap import Entry, WantType

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid

WINDOW_BYTES = 8 * 1024 * 1024  # of blocks asked for and not here; 80 ms of 100 MB/s
MAX_ASKED = 256  # wants under way, however small; Kubo and Helia keep at most 1024
MAX_LINES = 1024  # of one wantlist
AGAIN_S = 3.0  # a want without an answer for so long, while others are answered, was lost
SILENT_S = 8.0  # a peer that says nothing for so long has a problem
MAX_PAST = 1024  # wants that are over, of which a block may still be under way
MAX_UNREQUESTED = 3  # blocks that nobody asked for; beyond, the peer lies or is broken
PRIORITY = 1 << 20  # of the first want; later ones have less, so that leaves come in order


class Fate(Enum):
    """How a want ended."""

    LACKING = "does not have it"
    SILENT = "gave no answer"


@dataclass(slots=True, eq=False)
class _Want:
    cid: Cid
    size_bytes: int
    claims: int = 0  # for the block
    questions: int = 0  # whether the peer has it
    asked: WantType | None = None  # what was sent last
    asked_at: float = 0.0
    number: int = 0  # of the sending
    is_repeated: bool = False

    @property
    def kind(self) -> WantType:
        return WantType.BLOCK if self.claims else WantType.HAVE


class PeerWants:
    """Our wants of one peer."""

    def __init__(self, now: float, *, window_bytes: int = WINDOW_BYTES) -> None:
        self._window_bytes = window_bytes
        self._wants: dict[bytes, _Want] = {}  # by multihash
        self._queue: deque[bytes] = deque()  # to be sent, in order; those that ended are skipped
        self._cancels: dict[bytes, Cid] = {}
        self._past: OrderedDict[bytes, None] = OrderedDict()
        self._under_way_bytes = 0
        self._held_bytes = 0
        self._asked = 0
        self._number = 0
        self._answered_number = 0
        self._heard_at = now
        self.unrequested = 0
        """Blocks that arrived and that nobody asked for."""

    @property
    def under_way_bytes(self) -> int:
        """Bytes of the blocks that were asked for and have not arrived."""
        return self._under_way_bytes

    @property
    def is_lying(self) -> bool:
        """Whether the peer sent more that nobody asked for than an honest one can."""
        return self.unrequested > MAX_UNREQUESTED

    @property
    def has_outgoing(self) -> bool:
        """Whether `outgoing` may have something to send."""
        return bool(self._cancels) or bool(self._queue and not self._is_filled)

    @property
    def _is_filled(self) -> bool:
        filled = self._under_way_bytes + self._held_bytes
        is_full = 4 * filled > 3 * self._window_bytes or 4 * self._asked > 3 * MAX_ASKED
        return is_full and bool(self._under_way_bytes)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is wanted and nothing is to be said."""
        return not (self._wants or self._cancels)

    def claim(self, cid: Cid, size_bytes: int) -> None:
        """Want a block of about `size_bytes`."""
        want = self._want(cid, size_bytes)
        want.claims += 1
        if want.claims == 1:
            self._queue.append(cid.multihash)

    def ask(self, cid: Cid) -> None:
        """Want to know whether the peer has a block."""
        want = self._want(cid, 0)
        want.questions += 1
        if want.questions == 1 and not want.claims:
            self._queue.append(cid.multihash)

    def drop(self, cid: Cid, *, is_question: bool = False) -> None:
        """Give up one claim or question; nothing when the want has ended."""
        want = self._wants.get(cid.multihash)
        if want is None:
            return
        if is_question:
            want.questions = max(0, want.questions - 1)
        else:
            want.claims = max(0, want.claims - 1)
        if not want.claims and not want.questions:
            if want.asked is not None:
                self._cancels[cid.multihash] = want.cid
            self._end(want)

    def hold(self, size_bytes: int) -> None:
        """Count bytes that have arrived and were not taken for the window; negative when freed."""
        self._held_bytes += size_bytes

    def outgoing(self, now: float) -> list[Entry]:
        """Return what to send now; it counts as sent.

        The window is refilled in portions: a message for each block that arrives would cost more
        than it brings.
        """
        entries = [Entry(cid, is_cancel=True) for cid in self._cancels.values()]
        self._cancels.clear()
        if self._is_filled:
            return entries
        while self._queue and len(entries) < MAX_LINES and self._asked < MAX_ASKED:
            want = self._wants.get(self._queue[0])
            if want is None or want.asked is want.kind:
                self._queue.popleft()
                continue
            is_block = want.kind is WantType.BLOCK
            filled = self._under_way_bytes + self._held_bytes + want.size_bytes
            is_full = filled > self._window_bytes
            if is_block and is_full and self._under_way_bytes:
                break
            self._queue.popleft()
            entries.append(self._send(want, now))
        return entries

    def came(self, multihash: bytes, now: float) -> bool:
        """Take note of a block that arrived; return whether it was wanted."""
        self._heard_at = now
        want = self._wants.get(multihash)
        if want is None or want.asked is None:
            if multihash not in self._past:
                self.unrequested += 1
            if want is None:
                return False
        self._answered_number = max(self._answered_number, want.number)
        self._end(want)
        return True

    def was_asked(self, multihash: bytes) -> bool:
        """Tell whether a block was asked for and given up lately: it may be under way."""
        return multihash in self._past

    def told(self, multihash: bytes, has: bool, now: float) -> bool:
        """Take note of HAVE or DONT_HAVE; return whether that ends the want.

        HAVE ends a mere question and tells nothing new of a block that was asked for.
        """
        self._heard_at = now
        want = self._wants.get(multihash)
        if want is None or want.asked is None:
            return False
        if has and want.claims:
            return False
        if not has and want.asked is not want.kind:
            return False  # the answer to the question; the block was asked for since
        self._answered_number = max(self._answered_number, want.number)
        if not has:
            self._cancels[multihash] = want.cid  # it stays in the peer's ledger otherwise
        self._end(want)
        return True

    def overdue(self, now: float) -> list[tuple[bytes, Fate]]:
        """Ask once more for what was not answered, and end what was in vain already."""
        ended: list[tuple[bytes, Fate]] = []
        silent_s = now - self._heard_at
        for multihash, want in list(self._wants.items()):
            if want.asked is None:
                continue
            age_s = now - want.asked_at
            is_passed = want.number < self._answered_number
            if age_s < (AGAIN_S if is_passed else SILENT_S):
                continue
            if not is_passed and silent_s < SILENT_S:
                continue
            if is_passed and not want.is_repeated:
                self._unsend(want)
                want.is_repeated = True
                self._queue.appendleft(multihash)  # blocks that follow may wait for it
                continue
            self._cancels[multihash] = want.cid
            self._end(want)
            ended.append((multihash, Fate.LACKING if is_passed else Fate.SILENT))
        return ended

    def ask_again(self) -> None:
        """Send everything once more: the stream on which it was asked for has ended."""
        for multihash, want in self._wants.items():
            if want.asked is not None:
                self._unsend(want)
                self._queue.append(multihash)

    def forget(self) -> None:
        """End all wants without a word to the peer; what still comes of them is no lie."""
        for want in list(self._wants.values()):
            self._end(want)
        self._queue.clear()
        self._cancels.clear()

    def heard(self, now: float) -> None:
        """Note that bytes are arriving: a block that takes long is no silence."""
        self._heard_at = now

    # -- private ---------------------------------------------------------------------------------

    def _want(self, cid: Cid, size_bytes: int) -> _Want:
        want = self._wants.get(cid.multihash)
        if want is None:
            want = self._wants[cid.multihash] = _Want(cid, size_bytes)
            self._cancels.pop(cid.multihash, None)
        elif want.asked is not WantType.BLOCK:
            want.size_bytes = max(want.size_bytes, size_bytes)
        return want

    def _send(self, want: _Want, now: float) -> Entry:
        if not self._asked:
            self._heard_at = now  # whoever was not asked anything was not silent
        self._number += 1
        self._unsend(want)
        want.asked, want.asked_at, want.number = want.kind, now, self._number
        self._asked += 1
        if want.asked is WantType.BLOCK:
            self._under_way_bytes += want.size_bytes
        priority = max(1, PRIORITY - self._number)
        return Entry(want.cid, priority, want=want.asked, send_dont_have=True)

    def _unsend(self, want: _Want) -> None:
        """Take a want out of what is under way."""
        if want.asked is None:
            return
        self._asked -= 1
        if want.asked is WantType.BLOCK:
            self._under_way_bytes -= want.size_bytes
        want.asked = None

    def _end(self, want: _Want) -> None:
        multihash = want.cid.multihash
        if want.asked is not None:
            self._past[multihash] = None
            self._past.move_to_end(multihash)
            if len(self._past) > MAX_PAST:
                self._past.popitem(last=False)
        self._unsend(want)
        del self._wants[multihash]

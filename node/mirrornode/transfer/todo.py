"""Which leaves nobody works on, and how rare each is among the sources. Pure.

Driven by: `transfer.plan`, which takes stretches out and gives back what was not brought.

One byte a leaf holds its rank: 0 = done or under way, else a level that grows with the number of
partial sources that have the leaf. Searching is `bytes.find`, so that a hundred thousand leaves in
any state of fragmentation cost microseconds; counting is one addition of integers with a byte for
each leaf. It knows nothing of lanes, rates or time beyond how often ranks are made anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mirrornode.transfer.territory import Territory

MAX_COUNTED = 250  # partial sources: a count must fit into a byte
RELEVEL_S = 0.2  # ranks may be as old as this; have-maps are older anyway
MAX_MISSES = 32  # stale entries looked at before a wish is made anew

# Few levels keep runs long: whether one source or two have a leaf matters, 20 or 30 does not.
_LEVEL_OF_COUNT = bytes(
    1 + sum(count >= bound for bound in (1, 2, 3, 4, 6, 9, 17, 65)) for count in range(256)
)
_ALL_ONES = bytes([0] + [255] * 255)
_MISSING = bytes([1] + [0] * 255)


@dataclass(slots=True, eq=False)
class Holding:
    """What one source has: one byte a leaf, 1 where it has it; None means everything."""

    source_id: str
    available: bytearray | None = None
    bits: int = 0  # `available` as an integer, for counting; 0 when it is not counted
    is_counted: bool = False
    wish: bytearray | None = None  # the ranks where it has the leaf; None = to be made anew

    def has(self, leaf: int) -> bool:
        return self.available is None or self.available[leaf] == 1


class Todo:
    """The leaves to do; not thread-safe."""

    def __init__(self, done: bytearray, *, own_id: str = "", in_order: bool = False) -> None:
        """Begin with every leaf that is not marked in `done`.

        Args:
            in_order: Only cursors count: neither rarity nor what other takers do.
        """
        self.leaves = len(done)
        self._in_order = in_order
        self._rank = bytearray(done.translate(_MISSING))
        self._levels: bytes | None = None  # of all leaves, done or not; None = all 1
        self._counts = 0  # a byte a leaf: how many of the counted sources have it
        self._holdings: list[Holding] = []
        self._counted = 0
        self._crowd = Territory(own_id)
        self._is_stale = False
        self._fresh_at = -math.inf
        self._low, self._top = 1, 1  # no leaf to do has a level outside of these

    # -- who has what ----------------------------------------------------------------------------

    def admit(self, source_id: str, available: bytearray | None) -> Holding:
        """Return the record of a new source."""
        holding = Holding(source_id)
        self._holdings.append(holding)
        self.set_available(holding, available)
        return holding

    def set_available(self, holding: Holding, available: bytearray | None) -> None:
        """Replace what a source is known to have."""
        if holding.available == available:
            return
        holding.available = available
        holding.wish = None
        self._crowd.change(holding.source_id, is_taker=available is not None)
        self._count(holding, 0 if available is None else int.from_bytes(available, "little"))

    def forget(self, holding: Holding) -> None:
        """Count a source no more: it is never asked again."""
        self._crowd.change(holding.source_id, is_taker=False)
        self._count(holding, 0)
        self._holdings.remove(holding)

    def lacks(self, holding: Holding, start: int, stop: int) -> None:
        """Note that a source has none of the leaves `[start, stop)`."""
        if holding.available is None:
            self.set_available(holding, bytearray(b"\x01") * self.leaves)
        assert holding.available is not None
        gone = int.from_bytes(holding.available[start:stop], "little") << (8 * start)
        holding.available[start:stop] = bytes(stop - start)
        if holding.wish is not None:
            holding.wish[start:stop] = bytes(stop - start)
        if holding.is_counted:
            self._count(holding, holding.bits - gone)

    def _count(self, holding: Holding, bits: int) -> None:
        if self._in_order:
            return
        if not holding.is_counted:
            if not bits or self._counted >= MAX_COUNTED:
                return
            holding.is_counted = True
            self._counted += 1
        self._counts += bits - holding.bits
        holding.bits = bits
        if not bits:
            holding.is_counted = False
            self._counted -= 1
        self._is_stale = True

    @property
    def has_partial_sources(self) -> bool:
        """Whether a crowd is at work: sources that have a part, and get more while we look."""
        return self._counted > 0

    # -- leaves ----------------------------------------------------------------------------------

    def find(self, holding: Holding, cursor: int, now: float) -> tuple[int, int] | None:
        """Return the leaf that a source should bring next, and where a run must end at the latest.

        It is the rarest, at the source's cursor if possible. Of a source that has everything other
        takers want the same: a crowd shares it by `Territory`.
        """
        if self._is_stale and now - self._fresh_at >= RELEVEL_S:
            self._relevel(now)
        if holding.available is not None:
            return self._find_held(holding, cursor)
        rank = self._rank
        for level in range(self._low, self._top + 1):
            if self._crowd.others and not self._in_order:
                order = self._crowd.stretches(self.leaves)
            else:
                order = ((cursor, self.leaves), (0, cursor))
            for lo, hi in order:
                leaf = rank.find(level, lo, hi)
                if leaf >= 0:
                    self._low = level
                    return leaf, hi
        self._low = self._top + 1
        return None

    def reach(self, holding: Holding, start: int, stop: int) -> int:
        """Return how far, at most to `stop`, a run from `start` may go on: equally rare leaves."""
        level = self._rank[start : start + 1]
        piece = self._rank[start:stop]
        reach = len(piece) - len(piece.lstrip(level))
        if holding.available is not None:
            piece = holding.available[start : start + reach]
            reach = len(piece) - len(piece.lstrip(b"\x01"))
        return start + reach

    def take(self, start: int, stop: int) -> None:
        """Take leaves out, because somebody works on them or has brought them."""
        self._rank[start:stop] = bytes(stop - start)

    def give_back(self, start: int, stop: int) -> None:
        """Put leaves back that nobody works on any more."""
        levels = self._levels[start:stop] if self._levels else b"\x01" * (stop - start)
        self._rank[start:stop] = levels
        self._low = 1
        for holding in self._holdings:
            if holding.wish is not None and holding.available is not None:
                holding.wish[start:stop] = _both(levels, holding.available[start:stop])

    def is_open(self, leaf: int) -> bool:
        """Tell whether a leaf waits for somebody."""
        return self._rank[leaf] != 0

    # -- private ---------------------------------------------------------------------------------

    def _find_held(self, holding: Holding, cursor: int) -> tuple[int, int] | None:
        if holding.wish is None:
            self._make_wish(holding)
        for level in range(self._low, self._top + 1):
            for lo, hi in ((cursor, self.leaves), (0, cursor)):
                leaf = self._meet(holding, level, lo, hi)
                if leaf >= 0:
                    return leaf, hi
        return None

    def _meet(self, holding: Holding, level: int, lo: int, hi: int) -> int:
        """Return the first leaf of a level that is both wished for and still to do, or -1."""
        rank, wish, start = self._rank, holding.wish, lo
        assert wish is not None
        for _ in range(MAX_MISSES):
            leaf = wish.find(level, start, hi)
            if leaf < 0 or rank[leaf] == level:
                return leaf
            start = rank.find(level, leaf, hi)
            if start < 0:
                return -1
        return self._make_wish(holding).find(level, lo, hi)

    def _make_wish(self, holding: Holding) -> bytearray:
        assert holding.available is not None
        holding.wish = wish = _both(self._rank, holding.available)
        return wish

    def _relevel(self, now: float) -> None:
        self._is_stale, self._fresh_at = False, now
        levels = self._counts.to_bytes(self.leaves, "little").translate(_LEVEL_OF_COUNT)
        self._levels = levels
        self._low = 1
        self._top = next(level for level in range(_LEVEL_OF_COUNT[-1], 0, -1) if level in levels)
        open_leaves = int.from_bytes(self._rank.translate(_ALL_ONES), "little")
        ranks = int.from_bytes(levels, "little") & open_leaves
        self._rank = bytearray(ranks.to_bytes(self.leaves, "little"))
        for holding in self._holdings:
            holding.wish = None


def _both(ranks: bytes | bytearray, available: bytes | bytearray) -> bytearray:
    """Return the ranks where `available` is 1, and 0 elsewhere."""
    mask = int.from_bytes(available, "little") * 255
    return bytearray((int.from_bytes(ranks, "little") & mask).to_bytes(len(available), "little"))

"""Which blocks a CAR has sent already, in bounded memory: 16 bytes a block, at most 64 MiB.

A table of 64-bit fingerprints with open addressing. The fingerprint is keyed with a secret of this
stream, so that nobody can make two blocks share one; by chance it happens to one stream of four
million blocks in two million. Then a block is left out, which its receiver sees, and nothing wrong
is sent.
"""

from __future__ import annotations

import hashlib
import os
from array import array

from mirrornode.errors import LimitExceeded

MAX_BLOCKS = 1 << 22  # four terabytes of 1 MiB leaves

_FIRST_SLOTS = 1 << 10


class SeenBlocks:
    """A set of multihashes that only grows."""

    def __init__(self, max_blocks: int = MAX_BLOCKS) -> None:
        self._key = os.urandom(16)
        self._max_blocks = max_blocks
        self._count = 0
        self._slots = array("Q", bytes(8 * _FIRST_SLOTS))

    def __len__(self) -> int:
        return self._count

    def add(self, multihash: bytes) -> bool:
        """Return True if the block was not there yet.

        Raises:
            LimitExceeded: There is no room for it.
        """
        digest = hashlib.blake2b(multihash, key=self._key, digest_size=8).digest()
        mark = int.from_bytes(digest, "little") or 1  # 0 is an empty slot
        if not _put(self._slots, mark):
            return False
        self._count += 1
        if self._count > self._max_blocks:
            raise LimitExceeded(f"a CAR of more than {self._max_blocks} different blocks")
        if 2 * self._count > len(self._slots):
            self._grow()
        return True

    def _grow(self) -> None:
        larger = array("Q", bytes(2 * 8 * len(self._slots)))
        for mark in self._slots:
            if mark:
                _put(larger, mark)
        self._slots = larger


def _put(slots: array[int], mark: int) -> bool:
    """Store a mark; False when it is there. At least half of the slots are empty."""
    last = len(slots) - 1
    place = mark & last
    while slots[place]:
        if slots[place] == mark:
            return False
        place = (place + 1) & last
    slots[place] = mark
    return True

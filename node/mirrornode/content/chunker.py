"""Cutting a stream of bytes into chunks, one leaf each.

`size-N` cuts every N bytes. `buzhash` cuts where a rolling hash of the last 32 bytes says so, which
finds the same cuts after an insertion; in Python it runs at a few MB/s and exists so that CIDs made
elsewhere can be reproduced. Hashing is done elsewhere.
Spec: the chunkers of `ipfs add`; buzhash parameters and byte table as in boxo.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mirrornode.content.buzhash_table import BUZHASH_TABLE
from mirrornode.errors import TargetError

BUZHASH = "buzhash"
BUZHASH_MIN_BYTES = 128 * 1024
BUZHASH_MAX_BYTES = 512 * 1024

_BUZHASH_MASK = (1 << 17) - 1
_WINDOW = 32
_WORD = 0xFFFFFFFF


def chunker_bytes(chunker: str) -> int:
    """Return N of a `size-N` chunker.

    Raises:
        TargetError: Another chunker, or no sensible number.
    """
    kind, _, number = chunker.partition("-")
    if kind != "size" or not (number.isascii() and number.isdigit()) or len(number) > 18:
        raise TargetError(f"chunker {chunker!r}: give size-N with N in bytes")
    if int(number) == 0:
        raise TargetError("chunker size-0: chunks must have at least one byte")
    return int(number)


def cut(pieces: Iterable[bytes], chunker: str) -> Iterator[bytes]:
    """Yield the chunks of a stream that arrives in pieces of any size.

    No bytes give no chunk with `size-N`. With `buzhash` the last chunk is always shorter than
    128 KiB and may be empty, as Kubo has it.

    Raises:
        TargetError: No such chunker.
    """
    if chunker == BUZHASH:
        return _cut_by_content(pieces)
    return _cut_by_size(pieces, chunker_bytes(chunker))


def _cut_by_size(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    pending = bytearray()
    for piece in pieces:
        if not pending and len(piece) == size:
            yield bytes(piece)  # no copy when it is bytes already
            continue
        start = 0
        if pending:
            start = min(size - len(pending), len(piece))
            pending += piece[:start]
            if len(pending) < size:
                continue
            yield bytes(pending)
            pending.clear()
        whole = start + (len(piece) - start) // size * size
        for offset in range(start, whole, size):
            yield bytes(piece[offset : offset + size])
        pending += piece[whole:]
    if pending:
        yield bytes(pending)


def _cut_by_content(pieces: Iterable[bytes]) -> Iterator[bytes]:
    pending = bytearray()
    for piece in pieces:
        # A cut looks at most BUZHASH_MAX_BYTES ahead, so with that many at hand it is final.
        for offset in range(0, len(piece), BUZHASH_MAX_BYTES):
            pending += piece[offset : offset + BUZHASH_MAX_BYTES]
            while len(pending) >= BUZHASH_MAX_BYTES:
                stop = _buzhash_cut(pending)
                yield bytes(pending[:stop])
                del pending[:stop]
    while len(pending) >= BUZHASH_MIN_BYTES:
        stop = _buzhash_cut(pending)
        yield bytes(pending[:stop])
        del pending[:stop]
    yield bytes(pending)


def _buzhash_cut(buffer: bytearray) -> int:
    """Return the length of the first chunk of a buffer of at least the minimum size."""
    table = BUZHASH_TABLE
    state = 0
    first = BUZHASH_MIN_BYTES - _WINDOW
    for byte in buffer[first:BUZHASH_MIN_BYTES]:
        state = (state << 1 & _WORD | state >> 31) ^ table[byte]
    limit = min(len(buffer), BUZHASH_MAX_BYTES)
    # A byte that leaves the 32-byte window has been rotated by 32 bits, i.e. not at all.
    leaving, entering = buffer[first : limit - _WINDOW], buffer[BUZHASH_MIN_BYTES:limit]
    for stop, (old, new) in enumerate(zip(leaving, entering, strict=True), BUZHASH_MIN_BYTES):
        if not state & _BUZHASH_MASK:
            return stop
        state = (state << 1 & _WORD | state >> 31) ^ table[old] ^ table[new]
    return limit

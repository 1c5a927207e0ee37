"""Making broken inputs out of valid ones: seeded, so that a number is all it takes to repeat one.

Each input starts from one valid encoding and gets one to four mutations, of the kinds that have
broken decoders before: flipped bits, lengths that lie, integers at their edges, parts cut off,
repeated, swapped or taken from another input. Texts get pieces of their own grammar as well.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

MAX_INPUT_BYTES = 32 * 1024
MAX_MUTATIONS = 4
MAX_REPEATS = 64

# Integers at which lengths, counts and shifts go wrong, as varints; the last ones are not minimal,
# too long, and without an end.
VARINTS: tuple[bytes, ...] = (
    b"\x00",
    b"\x01",
    b"\x7f",
    b"\x80\x01",
    b"\xff\x7f",
    b"\xff\xff\x03",
    b"\xff\xff\xff\xff\x07",  # 2**31 - 1
    b"\x80\x80\x80\x80\x08",  # 2**31
    b"\xff\xff\xff\xff\x0f",  # 2**32 - 1
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",  # 2**56 - 1
    b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # 2**63 - 1
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # 2**64 - 1
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02",  # 2**64
    b"\x80\x00",
    b"\x81\x80\x80\x00",
    b"\x80" * 16,
    b"\xff" * 16,
)
# CBOR: heads of huge strings, arrays and maps, indefinite lengths, tags, floats, reserved values.
HEADS: tuple[bytes, ...] = (
    b"\x5b" + b"\xff" * 8,
    b"\x7a\x7f\xff\xff\xff",
    b"\x9b\x00\x00\x00\x01\x00\x00\x00\x00",
    b"\xbb" + b"\x7f" * 8,
    b"\x9f",
    b"\xbf",
    b"\xff",
    b"\xd8\x2a",
    b"\xd8\x2a\x58\x25\x00",
    b"\xf9\x7e\x00",
    b"\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00",
    b"\x1b" + b"\xff" * 8,
    b"\x3b" + b"\xff" * 8,
    b"\x81" * 40,
    b"\xa1\x60" * 40,
)
BYTES: tuple[bytes, ...] = tuple(bytes((value,)) for value in (0, 1, 0x0A, 0x12, 0x7F, 0x80, 0xFF))
WORDS: tuple[bytes, ...] = (
    b"null", b"true", b"-1", b"0", b"1e999", b"-0.0", b"NaN", b"Infinity", b"1" * 5000, b"\"\"",
    b"\"\\ud800\"", b"\"\\u0000\"", b"[", b"]", b"{", b"}", b"[" * 400, b"{\"a\":" * 400, b",",
    b":", b"//", b"..", b"/../", b"./", b"%", b"%2", b"%2F", b"%2f..", b"%00", b"%ff", b"%c0%af",
    b"/", b"\\", b"\x00", b"\r\n", b"\t", b" ", b"@", b"#", b"?", b"&", b"=", b";", b"*", b"~",
    b"\xc3\xa9", b"\xe2\x80\xae", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xef\xbb\xbf",
    "\u0661\u0662".encode(), "\uff11".encode(), b"\xc2\xb2",  # digits that are not ASCII
    b"-", b"+", b"bytes=", b"0-0", b"-0", b"18446744073709551616", b"9223372036854775807",
    b"/p2p/", b"/ip4/", b"/ip6/", b"/tcp/", b"/udp/", b"/dns4/", b"/http-path/", b"z", b"k", b"Qm",
    b"b", b"u", b"f", b"1" * 200,
)  # fmt: skip


class Mutator:
    """Yields inputs; the same seed and corpus give the same ones."""

    def __init__(self, corpus: Sequence[bytes], seed: int, *, is_text: bool) -> None:
        """Prepare; the corpus is not empty."""
        self._corpus = corpus
        self._rng = random.Random(seed)
        self._pieces = (*WORDS, *BYTES) if is_text else (*VARINTS, *VARINTS, *HEADS, *BYTES)
        self._kinds: tuple[Callable[[bytearray], None], ...] = (
            self._flip,
            self._flip,
            self._set,
            self._insert_piece,
            self._insert_piece,
            self._replace_by_piece,
            self._nudge,
            self._nudge,
            self._truncate,
            self._delete,
            self._repeat,
            self._swap,
            self._splice,
            self._insert_noise,
        )

    def next(self) -> bytes:
        """Return the next input, of at most `MAX_INPUT_BYTES`."""
        rng = self._rng
        mutated = bytearray(rng.choice(self._corpus))
        for _ in range(1 + int(rng.random() * rng.random() * MAX_MUTATIONS)):
            rng.choice(self._kinds)(mutated)
        return bytes(mutated[:MAX_INPUT_BYTES])

    def _place(self, mutated: bytearray) -> int:
        """Return an offset; beginnings, where heads and lengths are, come up more often."""
        if not mutated:
            return 0
        limit = min(len(mutated), 64) if self._rng.random() < 0.3 else len(mutated)
        return int(self._rng.random() * limit)

    def _span(self, mutated: bytearray) -> tuple[int, int]:
        start = self._place(mutated)
        longest = min(len(mutated) - start, 1 << int(self._rng.random() * 12))
        return start, start + int(self._rng.random() * (longest + 1))

    def _flip(self, mutated: bytearray) -> None:
        if mutated:
            mutated[self._place(mutated)] ^= 1 << int(self._rng.random() * 8)

    def _set(self, mutated: bytearray) -> None:
        if mutated:
            mutated[self._place(mutated)] = int(self._rng.random() * 256)

    def _nudge(self, mutated: bytearray) -> None:
        """Make a byte, most likely a length, a little larger or smaller than it should be."""
        if mutated:
            place = self._place(mutated)
            mutated[place] = mutated[place] + self._rng.choice((-2, -1, 1, 2, 16, -16)) & 0xFF

    def _insert_piece(self, mutated: bytearray) -> None:
        place = self._place(mutated)
        mutated[place:place] = self._rng.choice(self._pieces)

    def _replace_by_piece(self, mutated: bytearray) -> None:
        piece = self._rng.choice(self._pieces)
        start, stop = self._span(mutated)
        mutated[start : stop if self._rng.random() < 0.5 else start + len(piece)] = piece

    def _truncate(self, mutated: bytearray) -> None:
        del mutated[self._place(mutated) :]

    def _delete(self, mutated: bytearray) -> None:
        start, stop = self._span(mutated)
        del mutated[start:stop]

    def _repeat(self, mutated: bytearray) -> None:
        start, stop = self._span(mutated)
        times = 1 + int(self._rng.random() * self._rng.random() * MAX_REPEATS)
        mutated[stop:stop] = mutated[start:stop] * times

    def _swap(self, mutated: bytearray) -> None:
        start, stop = self._span(mutated)
        part = mutated[start:stop]
        del mutated[start:stop]
        place = self._place(mutated)
        mutated[place:place] = part

    def _splice(self, mutated: bytearray) -> None:
        other = bytearray(self._rng.choice(self._corpus))
        start, stop = self._span(other)
        if self._rng.random() < 0.5:
            del mutated[self._place(mutated) :]
            mutated += other[start:]
        else:
            place = self._place(mutated)
            mutated[place:place] = other[start:stop]

    def _insert_noise(self, mutated: bytearray) -> None:
        place = self._place(mutated)
        mutated[place:place] = self._rng.randbytes(1 << int(self._rng.random() * 7))

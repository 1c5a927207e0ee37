"""Bytes that have arrived in pieces and are taken in others, each copied at most once.

Pieces are kept as they came, so that a large message of many frames is put together in one step.
Small pieces are copied together: a peer could else make us keep an object for every byte.
"""

from __future__ import annotations

from collections import deque

Buffer = bytes | bytearray | memoryview

SMALL_BYTES = 4096  # a piece below this is copied rather than kept


class ByteQueue:
    """First in, first out; who adds a view leaves its bytes as they are."""

    __slots__ = ("_at", "_pieces", "size")

    def __init__(self) -> None:
        self._pieces: deque[Buffer] = deque()
        self._at = 0  # taken of the first piece
        self.size = 0
        """Bytes that are there."""

    def add(self, piece: Buffer) -> None:
        """Put `piece` behind what is there."""
        size = len(piece)
        if not size:
            return
        self.size += size
        if size >= SMALL_BYTES:
            self._pieces.append(piece)
            return
        last = self._pieces[-1] if self._pieces else None
        if isinstance(last, bytearray) and len(last) < SMALL_BYTES:
            last += piece
        else:
            self._pieces.append(bytearray(piece))

    def take(self, size: int) -> bytes:
        """Remove and return the first `size` bytes, which must be there."""
        first, at = self._pieces[0] if self._pieces else b"", self._at
        self.size -= size
        if at + size < len(first):
            self._at = at + size
            return bytes(memoryview(first)[at : at + size])
        parts: list[Buffer] = []
        while size:
            first = self._pieces[0]
            part = memoryview(first)[self._at : self._at + size]
            size -= len(part)
            parts.append(part)
            self._at += len(part)
            if self._at == len(first):
                self._pieces.popleft()
                self._at = 0
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def peek(self, size: int) -> bytes:
        """Return the first `size` bytes, or as many as are there, and leave them."""
        found = b""
        at = self._at
        for piece in self._pieces:
            found += memoryview(piece)[at : at + size - len(found)]
            at = 0
            if len(found) == size:
                break
        return found

    def take_all(self, other: ByteQueue) -> int:
        """Move everything out of `other` to the end; return how many bytes that were."""
        moved, at = other.size, other._at
        for piece in other._pieces:
            self.add(memoryview(piece)[at:] if at else piece)
            at = 0
        other._pieces.clear()
        other._at = other.size = 0
        return moved

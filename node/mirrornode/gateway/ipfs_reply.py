"""What the IPFS gateway answers besides plain bodies: bodies that are made while they are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mirrornode.gateway.answers import Answer

if TYPE_CHECKING:
    from mirrornode.mirror.shelf import OpenFile


@dataclass(frozen=True, slots=True)
class FilePart:
    """The bytes `[start, stop)` of an open file; whoever is given it closes the file."""

    file: OpenFile
    start: int
    stop: int


Piece: TypeAlias = bytes | FilePart


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer whose body is made while it is sent.

    Attributes:
        open: Begins it; returns its length in bytes or None, and its pieces. May raise
            MirrorError; pieces that fail after the first leave only cutting the connection.
        size_bytes: The length where it is known without beginning, as HEAD needs it.
    """

    status: int
    headers: Mapping[str, str]
    open: Callable[[], tuple[int | None, Iterator[Piece]]]
    size_bytes: int | None = None


Reply: TypeAlias = Answer | Stream

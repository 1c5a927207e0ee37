"""What the fuzzer needs to know of a decoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decoder:
    """A function that reads what strangers sent.

    Attributes:
        name: For the command line.
        corpus: Makes valid inputs, each of which is accepted.
        decode: Reads one input.
        errors: What its docstring says it raises; anything else is a defect.
        check: Raises AssertionError when what was decoded is not what an accepted input means.
        is_text: Inputs are text or JSON, and are broken as such.
    """

    name: str
    corpus: Callable[[], list[bytes]]
    decode: Callable[[bytes], object]
    errors: tuple[type[Exception], ...] = ()
    check: Callable[[bytes, object], None] | None = None
    is_text: bool = False


def text(data: bytes) -> str:
    """Return bytes as a text as it would reach a decoder of texts, whatever the bytes are."""
    return data.decode("utf-8", "surrogateescape")

"""Sizes as people type them: "50MB", "6MiB", "800KB", plain bytes. Pure."""

from __future__ import annotations

import re
from typing import Final

_FACTORS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_FACTORS_BINARY: Final = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([kmgt]?)(i?)(b?)(?:/s)?", re.IGNORECASE)

FORMS: Final = "write bytes as 800KB, 50MB, 1.5GB, 6MiB or a plain number"


def parse_size(text: str) -> int:
    """Return the bytes that `text` means; "/s" after them is allowed.

    MB is a million bytes, MiB is 1024 x 1024.

    Raises:
        ValueError: Not a size; the message says how to write one.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(FORMS)
    number, prefix, binary, unit = match.groups()
    if unit == "b" and prefix.isupper():
        raise ValueError(f"{prefix}{binary}b may mean bits; {FORMS}")
    if binary and not prefix:
        raise ValueError(FORMS)
    factor = (_FACTORS_BINARY if binary else _FACTORS)[prefix.lower()]
    return round(float(number) * factor)

"""Which names a directory entry may have, so that writing it can never leave its folder.

The one check for names from outside (peers) and from inside (the user's disk).
"""

from __future__ import annotations

import os

from mirrornode.errors import UnsafeName

MAX_NAME_BYTES = 255  # NAME_MAX of every file system we write to

_FORBIDDEN = "/\0\\:" if os.name == "nt" else "/\0"


def check_name(name: str) -> str:
    """Return `name` if it is one plain path segment.

    Raises:
        UnsafeName: Empty, `.`, `..`, longer than 255 bytes, not UTF-8, or with `/` or NUL in it
            (on Windows also a backslash or a colon).
    """
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise UnsafeName(f"entry {name!a} is not UTF-8") from error
    if name in ("", ".", ".."):
        raise UnsafeName(f"entry {name!r} is not a file name")
    if any(letter in name for letter in _FORBIDDEN):
        raise UnsafeName(f"entry {name!a} contains a character that is not allowed in a file name")
    if size > MAX_NAME_BYTES:
        raise UnsafeName(
            f"entry {name[:40]!r}… is {size} bytes long; the limit is {MAX_NAME_BYTES}"
        )
    return name


def name_from_bytes(raw: bytes) -> str:
    """Decode and check a name as it stands in a block.

    Raises:
        UnsafeName: As `check_name`.
    """
    try:
        return check_name(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UnsafeName(f"entry {raw[:40]!r} is not UTF-8") from error

"""The keys that names are signed with: `<home>/keys/<name>.key`, and `self`, the node's own.

Made when first used, in the form of the node's key, mode 0600. A damaged one is an error and never
replaced: a new key would be a new name. Keys are not given away, renamed or removed here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from mirrornode.errors import PathRefused, TargetError
from mirrornode.swarm.identity import Identity, load_or_create_identity

SELF: Final = "self"
FOLDER: Final = "keys"
MAX_KEYS: Final = 1000

_SUFFIX = ".key"
# No dot, so that a key is never taken for a domain; the first letters are those of no name.
_KEY_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,39}", re.ASCII)


def key_path(home: Path, key_name: str) -> Path:
    """Return where a key lies."""
    return home / FOLDER / f"{key_name}{_SUFFIX}"


class NameKeys:
    """The keys of one home; blocking.

    Args:
        node: The node's own key.
    """

    def __init__(self, home: Path, node: Identity) -> None:
        self._home = home
        self._folder = home / FOLDER
        self._node = node

    def names(self) -> list[str]:
        """Return what the keys are called, `self` first."""
        try:
            found = sorted(path.name for path in self._folder.iterdir())
        except FileNotFoundError:
            found = []
        except OSError as exc:
            raise PathRefused(self._folder, "read", exc.strerror or str(exc)) from exc
        stems = [name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX)]
        return [SELF, *(stem for stem in stems if _KEY_NAME.fullmatch(stem) and stem != SELF)]

    def find(self, key_name: str) -> Identity | None:
        """Return a key, None when there is none of that name.

        Raises:
            StoreError: Its file is damaged, or cannot be read.
        """
        if key_name == SELF:
            return self._node
        if not _KEY_NAME.fullmatch(key_name) or not key_path(self._home, key_name).exists():
            return None
        return load_or_create_identity(key_path(self._home, key_name))

    def open(self, key_name: str) -> tuple[Identity, bool]:
        """Return a key, made now if need be, and whether it was.

        Raises:
            TargetError: No key may be called so, or there are too many.
            StoreError: Its file is damaged, or cannot be made.
        """
        found = self.find(key_name)
        if found is not None:
            return found, False
        if not _KEY_NAME.fullmatch(key_name):
            raise TargetError(
                f"a key cannot be called {key_name[:80]!r}: give at most 40 letters, digits, - or _"
            )
        if len(self.names()) > MAX_KEYS:
            raise TargetError(f"there are {MAX_KEYS} keys already in {self._folder}")
        return load_or_create_identity(key_path(self._home, key_name)), True

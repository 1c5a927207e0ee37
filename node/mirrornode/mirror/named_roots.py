"""Which roots peers name for the SHA-256 of a whole file, and who named each.

A name is a claim: it is proven only when the whole file has come. So every root that was named is
tried, the most named first, until one is right; whoever named a wrong one has lied.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid

MAX_ROOTS = 8  # each may cost a download; honest peers differ by their recipe only
MAX_NAMERS = 64  # kept of one root


class NamedRoots:
    """The claims of one `get`; belongs to its event loop."""

    def __init__(self) -> None:
        self._namers: dict[Cid, list[str]] = {}
        self._wrong: set[Cid] = set()
        self._changed = asyncio.Event()

    def add(self, root: Cid, source_id: str) -> None:
        """Note that a source names `root`."""
        if root not in self._namers and len(self._namers) >= MAX_ROOTS:
            return
        namers = self._namers.setdefault(root, [])
        if source_id not in namers and len(namers) < MAX_NAMERS:
            namers.append(source_id)
        self._changed.set()

    def reject(self, root: Cid) -> list[str]:
        """Never return this root again; return who named it."""
        self._wrong.add(root)
        return self._namers.get(root, [])

    def best(self) -> Cid | None:
        """Return the root that most sources name and that was not rejected."""
        left = [root for root in self._namers if root not in self._wrong]
        return max(left, key=lambda root: len(self._namers[root]), default=None)

    async def wait(self) -> Cid:
        """Return a root as soon as one is named."""
        while (root := self.best()) is None:
            self._changed.clear()
            await self._changed.wait()
        return root

"""What may be announced now: everything when the node is idle, what matters most while it is busy.

Announcing shares a core with transfers, and nobody waits for the record of a small file in a
folder while the folder's own record is out. Here is what to hold back, not how long to pause.

Driven by: `routing.announce` and `routing.newcomers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mirrornode.store.announcements import LARGE_FILE_PRIORITY, REST_PRIORITY


class Pace:
    """Looks at whether the node is busy whenever it is asked.

    Args:
        is_busy: Whether a transfer runs or was served lately; cheap, called about once a second.
        patience_s: How long the rest may be held back: a mirror may be busy for days, and records
            run out.
    """

    def __init__(self, is_busy: Callable[[], bool], *, patience_s: float) -> None:
        self.is_busy = is_busy
        self._patience_s = patience_s
        self._busy_since: float | None = None  # loop time; None while idle

    def min_priority(self) -> int:
        """Return the lowest priority that may be announced now."""
        if not self.is_busy():
            self._busy_since = None
            return REST_PRIORITY
        now = asyncio.get_running_loop().time()
        if self._busy_since is None:
            self._busy_since = now
        is_patient = now - self._busy_since < self._patience_s
        return LARGE_FILE_PRIORITY if is_patient else REST_PRIORITY

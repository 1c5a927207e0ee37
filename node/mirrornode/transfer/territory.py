"""Who of a crowd fetches which part of a file from the source that has everything. Pure.

Takers of one seed exchange what they have, so each should ask the seed for something else.
Have-maps say what the others had a while ago, not what they fetch now: takers that go by them alone
follow each other. So each part of the row has a first taker, a second and so on, by a hash of the
part and the taker's name, which all compute alike without a word. A taker fetches the parts where
it is first, then those where it is second: that is where the first is slow, or not there at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

PARTS = 128  # of the row: small enough to even out, large enough for runs that a disk likes
MAX_OTHERS = 250


class Territory:
    """The order in which one taker goes through the parts of a row."""

    def __init__(self, own_id: str) -> None:
        """Begin alone.

        Args:
            own_id: The source ID under which the others know this taker. Only sources of the same
                kind are takers: a mirror or a disk that has a part fetches nothing.
        """
        self._kind = own_id.partition(":")[0]
        self._own = _votes(own_id)
        self.others: dict[str, list[int]] = {}
        self._stretches: list[tuple[int, int]] | None = None

    def change(self, source_id: str, *, is_taker: bool) -> None:
        """Note whether a source is a taker as well: one that has a part and gets more."""
        if source_id.partition(":")[0] != self._kind:
            return
        if is_taker and source_id not in self.others and len(self.others) < MAX_OTHERS:
            self.others[source_id] = _votes(source_id)
            self._stretches = None
        elif not is_taker and self.others.pop(source_id, None) is not None:
            self._stretches = None

    def stretches(self, leaves: int) -> Sequence[tuple[int, int]]:
        """Return the parts of a row of so many leaves, as half-open ranges, the own ones first."""
        if self._stretches is None:
            others = self.others.values()
            places = [
                sum(votes[part] > own for votes in others) for part, own in enumerate(self._own)
            ]
            # From the end where another is first: it comes from the start.
            order = sorted(
                range(PARTS), key=lambda part: (places[part], -part if places[part] else part)
            )
            stretches: list[tuple[int, int]] = []
            for part in order:
                lo, hi = part * leaves // PARTS, (part + 1) * leaves // PARTS
                if stretches and stretches[-1][1] == lo:
                    stretches[-1] = (stretches[-1][0], hi)
                elif lo < hi:
                    stretches.append((lo, hi))
            self._stretches = stretches
        return self._stretches


def _votes(taker_id: str) -> list[int]:
    """Return a taker's number for each part; the highest number of all takers is first."""
    seed = taker_id.encode()
    return [
        int.from_bytes(blake2b(seed + b"/%d" % part, digest_size=8).digest(), "big")
        for part in range(PARTS)
    ]
